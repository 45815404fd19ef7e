package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, s)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// eachRecord opens an input and reads it.
func eachRecord(r io.Reader, format string, csvStrings bool, do func([]byte) error) error {
	in, err := openInput(r, format)
	if err != nil {
		return err
	}
	return in.each(csvStrings, do)
}

func TestEachInput(t *testing.T) {
	long := `{"s":"` + strings.Repeat("x", 200_000) + `"}`
	for name, tc := range map[string]struct {
		in, format string
		strings    bool
		want       []string
		err        string
	}{
		"lines":             {in: "{\"a\":1}\r\n\n  {\"a\":2}  \n{\"a\":3}", want: []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}},
		"a bad line":        {in: "{\"a\":\nnull\n", want: []string{`{"a":`, `null`}},
		"long lines":        {in: long + "\n{}\n" + long, want: []string{long, "{}", long}},
		"too long a line":   {in: "{}\n{" + strings.Repeat("x", maxLine+100_000), want: []string{"{}"}, err: "read line 2: it has more than 16 MiB: is this NDJSON?"},
		"gzip":              {in: zipped(t, "{}\n{}\n"), want: []string{"{}", "{}"}},
		"half a gzip":       {in: zipped(t, strings.Repeat("{}\n", 3))[:20], want: []string{"{}", "{}", "{}"}, err: "read line 4: unexpected EOF"},
		"byte order mark":   {in: "\xef\xbb\xbf{}\n", want: []string{"{}"}},
		"nothing":           {in: ""},
		"blanks":            {in: " \n\t \n"},
		"array":             {in: " [\n{\"a\": 1},\n 2, [3]]\n", want: []string{`{"a": 1}`, `2`, `[3]`}},
		"empty array":       {in: "[]"},
		"open array":        {in: `[{"a":1},`, want: []string{`{"a":1}`}, err: "read JSON value 2: unexpected EOF"},
		"unclosed array":    {in: `[1`, want: []string{`1`}, err: "read the end of the JSON array: unexpected EOF"},
		"values":            {in: "{\n\"a\": 1\n}\n{}", format: inputJSON, want: []string{"{\n\"a\": 1\n}", "{}"}},
		"cut values":        {in: "{} {", format: inputJSON, want: []string{"{}"}, err: "read JSON value 2: unexpected EOF"},
		"csv quotes":        {in: "id,a \"b\",c\n1,x,true\n", err: `read CSV header: `},
		"csv types":         {in: "id,n,c\n1,x,true\n-2.5e3,,\n01,\"q\"\"\n\",False\n", want: []string{`{"id":1,"n":"x","c":true}`, `{"id":-2.5e3,"n":null,"c":null}`, `{"id":"01","n":"q\"\n","c":"False"}`}},
		"csv strings":       {in: "id,n\n1,\n", strings: true, want: []string{`{"id":"1","n":""}`}},
		"csv one column":    {in: "id\n1\n2\n", want: []string{`{"id":1}`, `{"id":2}`}},
		"csv uneven":        {in: "a,b\n1,2\n3\n", want: []string{`{"a":1,"b":2}`}, err: "read CSV: record on line 3: wrong number of fields"},
		"not text":          {in: "\xff\xfe\x00", err: "this is neither NDJSON, nor a JSON array, nor CSV in UTF-8"},
		"csv that is lines": {in: "{\"a\":1}\n", format: inputCSV, err: `read CSV header: `},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.format == "" {
				tc.format = inputAuto
			}
			var got []string
			err := eachRecord(strings.NewReader(tc.in), tc.format, tc.strings, func(r []byte) error {
				got = append(got, string(r))
				return nil
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

// Whatever the input, reading ends, and what CSV and arrays give is JSON.
func FuzzEachInput(f *testing.F) {
	for _, seed := range []string{"{\"a\":1}\n{}\n", `[{"a":1},2]`, "a,b\n1,x\n,true\n", "\x1f\x8b\x08", "\xef\xbb\xbf{}"} {
		f.Add([]byte(seed), inputAuto)
	}
	f.Add([]byte("1 2 {"), inputJSON)
	f.Fuzz(func(t *testing.T, in []byte, format string) {
		lines := false
		_ = eachRecord(bytes.NewReader(in), format, false, func(r []byte) error { // any error will do
			lines = lines || !json.Valid(r)
			if lines && (format == inputCSV || format == inputJSON) {
				return fmt.Errorf("%q is no JSON", r)
			}
			return nil
		})
		if lines && (format == inputCSV || format == inputJSON) {
			t.Error("a record is no JSON")
		}
	})
}

// kept is a way that keeps what it is given.
type kept struct{ payloads []string }

func (k *kept) send(_ context.Context, data []byte, records int) error {
	k.payloads = append(k.payloads, fmt.Sprintf("%d:%s", records, data))
	return nil
}
func (k *kept) finish(context.Context) error { return nil }
func (k *kept) totals() sendTotals           { return sendTotals{} }

func TestBatcher(t *testing.T) {
	var k kept
	var sent atomic.Int64
	b := batcher{size: 2, pace: newPace(0), way: &k, sent: &sent}
	for _, r := range []string{"{\n \"a\": 1\n}", "{}", "3"} {
		if err := b.add(t.Context(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2:{\"a\":1}\n{}", "1:3"}, k.payloads); diff != "" || sent.Load() != 3 {
		t.Error(diff, sent.Load())
	}
}

// tableless runs a server that acknowledges whatever comes on a stream.
func tableless(t *testing.T) (addr string, received *atomic.Int64) {
	t.Helper()
	received = new(atomic.Int64)
	mux := new(rsocket.Mux)
	mux.HandleChannel(protocol.RouteStream, func(ctx context.Context, _ *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
		m := protocol.Message{Type: protocol.TypeOpened, Epoch: 1, ResumeFrom: 1}
		if err := out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); err != nil {
			return err
		}
		in.Grant(1 << 30)
		for {
			if _, err := in.Recv(ctx); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			n := received.Add(1)
			m = protocol.Message{Type: protocol.TypeAck, Level: protocol.LevelCommitted, Sequence: n, Records: n, Version: 1}
			if err := out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); err != nil {
				return err
			}
		}
	})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := rsocket.NewServer(rsocket.ServerOptions{Handlers: mux.Handlers()})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // streams may be cut off
		if err := <-served; !errors.Is(err, rsocket.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String(), received
}

// An interrupt stops a read that would never end; what was read before is acknowledged and reported.
func TestSendInterrupted(t *testing.T) {
	addr, received := tableless(t)
	in, typed := io.Pipe()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		_, _ = io.WriteString(typed, "{}\n{}\n{}\n") // fails only if send has ended, which the test sees
		for received.Load() < 3 {
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		interrupt()
	}()
	cmd := newSendCommand()
	var out, talk bytes.Buffer
	cmd.SetIn(in)
	cmd.SetOut(&out)
	cmd.SetErr(&talk)
	cmd.SetArgs([]string{"--to", addr, "-o", "json"})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	_ = in.Close() // lets the reader go
	var s sendSummary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Records != 3 || s.Accepted != 3 || s.Unacked != 0 || !strings.Contains(talk.String(), "weir: interrupted: no more is read") {
		t.Errorf("%+v\n%s", s, talk.String())
	}
}

func TestProgressLine(t *testing.T) {
	o := &sendOptions{mode: modeChannel}
	got := progressLine(o, sendTotals{Records: 123_400, Accepted: 120_000, Rejected: 3, Credit: 512, AckDelay: 1234567 * time.Microsecond}, 98_765.4)
	want := "sent 123,400  acknowledged 120,003  rejected 3  98,765/s  acks after 1.235s  credit 512"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o.mode = modeFireAndForget
	if got := progressLine(o, sendTotals{Records: 100, Unsettled: true}, 0); got != "sent 100  0/s" {
		t.Error(got)
	}
}

// The pace makes up for a stall, by a second's worth at most.
func TestPace(t *testing.T) {
	p := newPace(10)
	p.next = time.Now().Add(-time.Hour)
	if err := p.wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(p.next); ahead > -800*time.Millisecond || ahead < -time.Second {
		t.Errorf("the next record may go %v from now", ahead)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.next = time.Now().Add(time.Hour)
	if err := p.wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSendTargets(t *testing.T) {
	o := sendOptions{to: "h:1", pipeline: "p", mode: modeChannel, format: inputAuto, batch: 2, inFlight: 1, buffer: 1, overflow: "block"}
	if err := o.check(); err != nil || o.target() != "h:1/p" {
		t.Errorf("%v %s", err, o.target())
	}
	o.to = "weir://h:1/q"
	if err := o.check(); err == nil {
		t.Error("two pipelines are accepted")
	}
}
