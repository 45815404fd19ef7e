package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMessagesByteForByte(t *testing.T) {
	for want, m := range map[string]Message{
		`{"type":"opened","epoch":1,"resumeFrom":1}`:                                    {Type: TypeOpened, Epoch: 1, ResumeFrom: 1},
		`{"type":"ack","level":"committed","sequence":1000,"records":1000,"version":5}`: {Type: TypeAck, Level: LevelCommitted, Sequence: 1000, Records: 1000, Version: 5},
		`{"type":"ack","level":"committed","sequence":0,"records":0,"version":0}`:       {Type: TypeAck, Level: LevelCommitted},
		`{"type":"drain"}`:                                        {Type: TypeDrain},
		`{"type":"staleEpoch","highest":3}`:                       {Type: TypeStaleEpoch, Highest: 3},
		`{"type":"outOfRange","expected":5}`:                      {Type: TypeOutOfRange, Expected: 5},
		`{"type":"fenced"}`:                                       {Type: TypeFenced},
		`{"type":"error","code":"badHeader","message":"a \"b\""}`: {Type: TypeError, Code: CodeBadHeader, Message: `a "b"`},
		`{"type":"ack","level":"committed","sequence":9,"records":7,"version":2,"rejected":[{"sequence":7,"row":0,"reason":"x\ny"},{"sequence":8,"row":3,"reason":"ü"}]}`: {
			Type: TypeAck, Level: LevelCommitted, Sequence: 9, Records: 7, Version: 2,
			Rejected: []Reject{{7, 0, "x\ny"}, {8, 3, "ü"}},
		},
	} {
		got := string(m.Append(nil))
		if got != want {
			t.Errorf("encoded\n%s\nwant\n%s", got, want)
		}
		back, err := ParseMessage([]byte(got))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, back); diff != "" {
			t.Errorf("%s read back: %s", got, diff)
		}
	}
}

func TestParseHeader(t *testing.T) {
	good := Header{Producer: "p", Incarnation: "i", Stream: "s", Epoch: 1, Ack: LevelCommitted}
	for name, tc := range map[string]struct {
		change func(*Header)
		code   string
	}{
		"good":           {func(*Header) {}, ""},
		"no stream":      {func(h *Header) { h.Stream = "" }, CodeBadHeader},
		"long stream":    {func(h *Header) { h.Stream = strings.Repeat("s", 257) }, CodeBadHeader},
		"no incarnation": {func(h *Header) { h.Incarnation = "" }, CodeBadHeader},
		"epoch 0":        {func(h *Header) { h.Epoch = 0 }, CodeBadHeader},
		"huge k":         {func(h *Header) { h.Acked = 1<<63 - 1 }, CodeBadHeader},
		"huge epoch":     {func(h *Header) { h.Epoch = 1<<63 - 1 }, CodeBadHeader},
		"negative k":     {func(h *Header) { h.Acked = -1 }, CodeBadHeader},
		"durable":        {func(h *Header) { h.Ack = "durable" }, CodeUnsupportedAckLevel},
		"no level":       {func(h *Header) { h.Ack = "" }, CodeUnsupportedAckLevel},
		"reopen":         {func(h *Header) { h.Reopen = true }, CodeUnsupportedReopen},
		"too large":      {func(h *Header) { h.Producer = strings.Repeat("p", 5000) }, CodeBadHeader},
	} {
		h := good
		tc.change(&h)
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseHeader(b)
		refused, ok := errors.AsType[*Error](err)
		if ok != (tc.code != "") || ok && refused.Code != tc.code {
			t.Errorf("%s: %v, want code %q", name, err, tc.code)
		}
	}
	if _, err := ParseHeader([]byte(`[1]`)); err == nil {
		t.Error("an array passed as header")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"ack","sequence":1}`))
	f.Add([]byte(`{"stream":"s","incarnation":"i","epoch":1,"ack":"committed"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHeader(b); err == nil && (h.Epoch < 1 || h.Stream == "") {
			t.Errorf("accepted %+v", h)
		}
		if m, err := ParseMessage(b); err == nil && m.Type == "" {
			t.Errorf("accepted %+v", m)
		}
	})
}
