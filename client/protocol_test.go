package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// blocks returns the lines of all fenced blocks of a language.
func blocks(t *testing.T, doc, language string) (lines []string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		switch {
		case line == "```"+language:
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside:
			lines = append(lines, line)
		}
	}
	return lines
}

// TestProtocolPage checks that every example of docs/protocol.md is, byte for byte, what is written and read.
func TestProtocolPage(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var header []byte
	seen := map[protocol.Type]bool{}
	for _, line := range blocks(t, string(doc), "json") {
		var back []byte
		switch {
		case strings.HasPrefix(line, `{"type":`):
			m, err := protocol.ParseMessage([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			seen[m.Type] = true
			back = m.Append(nil)
		case strings.HasPrefix(line, `{"producer":`):
			h, err := protocol.ParseHeader([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			header = encoded(t, h)
			back = header
		case strings.HasPrefix(line, `{"pipeline":`):
			back = again[Status](t, line)
		case strings.HasPrefix(line, `{"pods":`):
			back = again[protocol.Cluster](t, line)
		case strings.HasPrefix(line, `{"records":`):
			back = again[struct {
				Records  int64             `json:"records"`
				Version  int64             `json:"version"`
				Rejected []protocol.Reject `json:"rejected,omitempty"`
			}](t, line)
		case strings.HasPrefix(line, `{"error":`):
			back = again[struct {
				Error string `json:"error"`
			}](t, line)
		}
		if string(back) != line {
			t.Errorf("the page has\n%s\nwritten is\n%s", line, back)
		}
	}
	for _, typ := range []protocol.Type{
		protocol.TypeOpened, protocol.TypeAck, protocol.TypeDrain, protocol.TypeStaleEpoch, protocol.TypeOutOfRange,
		protocol.TypeFenced, protocol.TypeError,
	} {
		if !seen[typ] {
			t.Errorf("the page has no example of %s", typ)
		}
	}
	checkOpening(t, blocks(t, string(doc), "hex"), header)
	for _, name := range []string{
		protocol.RouteStream, protocol.RouteRequest, protocol.RouteFireAndForget, protocol.RouteStatus,
		protocol.RouteCluster, protocol.RouteSelf, barrierRoute,
		protocol.MIMEStream, rsocket.MIMEComposite, rsocket.MIMERouting, rsocket.MIMEPerStreamData, JSON, NDJSON,
		protocol.CodeBadHeader, protocol.CodeUnsupportedAckLevel, protocol.CodeUnsupportedReopen, protocol.CodeUnsupportedMIME,
		protocol.CodeUnavailable, protocol.CodeFailed,
	} {
		if !bytes.Contains(doc, []byte("`"+name+"`")) {
			t.Errorf("the page does not mention %s", name)
		}
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// again decodes line, in which T must know every field, and encodes it.
func again[T any](t *testing.T, line string) []byte {
	t.Helper()
	var v T
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return encoded(t, v)
}

// checkOpening compares the metadata of the page with that of a stream with its header.
func checkOpening(t *testing.T, lines []string, header []byte) {
	t.Helper()
	want, err := hex.DecodeString(strings.ReplaceAll(strings.Join(lines, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var h protocol.Header
	if err := json.Unmarshal(header, &h); err != nil {
		t.Fatal(err)
	}
	c := &Client{o: Options{Producer: h.Producer, Incarnation: h.Incarnation, MIME: JSON}}
	c.route("")
	l := newLane(newStream(c, StreamOptions{Name: h.Stream, MIME: JSON}), nil, h.Stream)
	l.epoch = h.Epoch
	p, err := l.opening()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Metadata, want) || len(p.Data) > 0 {
		t.Errorf("the page has\n%x\nthe client sends\n%x", want, p.Metadata)
	}
}
