package ingestor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// setupFrame is a SETUP of 20 s keepalive with composite metadata and JSON data, with its length.
var setupFrame = frame("00000000 0400 0001 0000 00004e20 00015f90" +
	"27" + hex.EncodeToString([]byte(rsocket.MIMEComposite)) + "10" + hex.EncodeToString([]byte("application/json")))

// frame is the bytes of a frame, given in hexadecimal, behind their length.
func frame(body string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	if err != nil {
		panic(err)
	}
	return string([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}) + string(b)
}

// TestHostileBytes sends what no client sends. The connection is told or closed; the process and others go on.
func TestHostileBytes(t *testing.T) {
	h := start(t, nil)
	other := h.open(h.dial(), rsocket.NewPayload(nil, route(protocol.RouteStream)))
	sent := int64(0)
	for name, bytes := range map[string]string{
		"HTTP":                     "GET / HTTP/1.1\r\nHost: weir\r\n\r\n",
		"16 MiB length":            "\xff\xff\xff",
		"2 GiB length":             "\x7f\xff\xff\xff\xff\xff\xff",
		"truncated SETUP":          setupFrame[:20],
		"SETUP twice":              setupFrame + setupFrame,
		"no SETUP":                 frame("00000001 1100 00000001"),
		"length shorter than head": setupFrame + "\x00\x00\x02\x00\x00",
		"metadata beyond frame":    setupFrame + frame("00000001 1d00 00000001 ffffff"),
		"unknown frame type":       setupFrame + frame("00000001 f000 00000001"),
		"REQUEST_N 0":              setupFrame + frame("00000001 1d00 00000001 000000") + frame("00000001 2000 00000000"),
		"even stream id":           setupFrame + frame("00000002 1100 00000001"),
	} {
		reply := h.raw(bytes)
		t.Logf("%-25s %d bytes back: %.90q", name, len(reply), reply)
		other.send(`{"alive":true}`)
		sent++
		if m := other.ackTo(sent); m.Records != sent {
			t.Fatalf("after %s the other connection got %+v", name, m)
		}
	}
}

// raw writes bytes on a new connection, ends it and returns what comes back.
func (h *harness) raw(bytes string) string {
	h.Helper()
	var d net.Dialer
	c, err := d.DialContext(h.Context(), "tcp", h.addr)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = c.Close() }() // the peer may have closed it
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		h.Fatal(err)
	}
	_, werr := io.WriteString(c, bytes)
	if tcp, ok := c.(*net.TCPConn); ok && werr == nil {
		_ = tcp.CloseWrite() // as above
	}
	reply, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.Errorf("after %.40q the connection stays open", bytes)
	}
	return string(reply)
}

// TestHostileEvents sends what no table can hold. Each is rejected with a reason that names the trouble, or kept in
// _rescued; the stream goes on.
func TestHostileEvents(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Decode.MaxEventBytes = 64 << 10 })
	s, _ := h.openNamed(h.dial(), 1, 0)
	s.send(`{"n":1,"s":"x"}`)
	s.ackTo(1)
	seq := int64(1)
	for _, tc := range []struct{ name, event, says string }{
		{"not UTF-8", "{\"s\":\"\xff\xfe\"}", "UTF-8"},
		{"over the limit", `{"s":"` + strings.Repeat("x", 70<<10) + `"}`, "limit"},
		{"10,000 deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "deep"},
		{"10,000 lists", `{"a":` + strings.Repeat(`[`, 10_000) + strings.Repeat("]", 10_000) + "}", "deep"},
		{"cut short", `{"n":`, "ends"},
		{"a number", `42`, "object"},
		{"a list", `[{"n":1}]`, "list"},
		{"empty", ``, "empty"},
		{"NaN", `{"n":NaN}`, "byte 5"},
		{"trailing", `{"n":1} x`, "byte 8"},
	} {
		s.send(tc.event)
		seq++
		m := s.ackTo(seq)
		if len(m.Rejected) != 1 || !strings.Contains(m.Rejected[0].Reason, tc.says) || len(m.Rejected[0].Reason) > 256 {
			t.Errorf("%s: %+v", tc.name, m.Rejected)
		}
	}
	for i, event := range []string{`{"n":"many"}`, `{"n":1.5}`, `{"s":7}`, `{"n":` + strings.Repeat("9", 400) + `}`, `{"n":{"a":1}}`} {
		s.send(event)
		seq++
		if m := s.ackTo(seq); m.Records != int64(i+2) {
			t.Errorf("%s is not kept: %+v", event, m)
		}
	}
	rescued := 0
	for _, row := range h.rows() {
		if strings.Contains(row, `"_rescued":"`) {
			rescued++
		}
	}
	if rescued != 5 {
		t.Errorf("%d of 5 misfits are in _rescued: %s", rescued, strings.Join(h.rows(), "\n"))
	}
	manyKeys := &strings.Builder{}
	for i := range 3000 {
		fmt.Fprintf(manyKeys, `,"k%d":%d`, i, i)
	}
	s.send(`{"n":2` + manyKeys.String() + `}`)
	if m := s.ackTo(seq + 1); m.Records != 7 {
		t.Errorf("3,000 new keys: %+v", m)
	}
}

// TestErrorsThatNobodyReads: a client that sends rubbish and reads no answer holds up nobody else's commits.
func TestErrorsThatNobodyReads(t *testing.T) {
	ln := rsocket.NewMemoryListener() // its connections buffer nothing
	start(t, func(c *Config) { c.RSocket = ln })
	rude, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	md := route(protocol.RouteRequest)
	all := []byte(setupFrame)
	for i := range 3 * 4096 {
		all = append(all, frame(fmt.Sprintf("%08x 1100 %06x %x %x", 2*i+1, len(md), md, strings.Repeat("x", 100)))...)
	}
	var writing sync.WaitGroup
	writing.Go(func() { _, _ = rude.Write(all) }) // until the connection is closed
	defer writing.Wait()
	defer rude.Close()
	conn, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := rsocket.NewClient(conn, rsocket.ClientOptions{DataMIME: "application/json"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 30 {
		if _, err := c.RequestResponse(ctx, rsocket.NewPayload([]byte(`{"a":1}`), md)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
