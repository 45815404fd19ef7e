package rsocket

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The bytes are those of the extension documents.
func TestAuth(t *testing.T) {
	simple := AppendAuthSimple(nil, "user", "pass")
	if want := append([]byte{0x80, 0, 4}, "userpass"...); !bytes.Equal(simple, want) {
		t.Errorf("simple is % x", simple)
	}
	a, err := ParseAuth(simple)
	if err != nil {
		t.Fatal(err)
	}
	if u, p, ok := a.Simple(); u != "user" || p != "pass" || !ok {
		t.Errorf("%q %q %v", u, p, ok)
	}
	if _, ok := a.Bearer(); ok {
		t.Error("simple taken for bearer")
	}
	bearer := AppendAuthBearer(nil, "tok")
	if want := append([]byte{0x81}, "tok"...); !bytes.Equal(bearer, want) || !bytes.Equal(AppendAuth(nil, AuthBearer, []byte("tok")), want) {
		t.Errorf("bearer is % x", bearer)
	}
	if a, err = ParseAuth(bearer); err != nil {
		t.Fatal(err)
	}
	if tok, ok := a.Bearer(); tok != "tok" || !ok {
		t.Errorf("%q %v", tok, ok)
	}
	if a, err = ParseAuth(AppendAuth(nil, "own", []byte("x"))); err != nil || a.Type != "own" || string(a.Payload) != "x" {
		t.Errorf("own type: %+v %v", a, err)
	}
	if a, err = ParseAuth([]byte{0xFF, 1}); err != nil || a.Type != "" {
		t.Errorf("unknown id: %+v %v", a, err)
	}
	for _, bad := range [][]byte{nil, {5, 'a'}} {
		if _, err := ParseAuth(bad); !errors.Is(err, ErrMetadata) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	for _, bad := range [][]byte{{0x80}, {0x80, 0, 9, 'a'}} {
		a, err := ParseAuth(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := a.Simple(); ok {
			t.Errorf("% x: accepted", bad)
		}
	}
}

func TestTrace(t *testing.T) {
	for _, c := range []struct {
		trace Trace
		bytes int
		flags byte
	}{
		{Trace{}, 1, 0},
		{Trace{Sampling: SamplingNo}, 1, 0x10},
		{Trace{Sampling: SamplingDebug, HasIDs: true, TraceID: 1, SpanID: 2}, 17, 0xC0},
		{Trace{Sampling: SamplingYes, HasIDs: true, TraceHigh: 9, TraceID: 1, SpanID: 2, ParentID: 3, HasParent: true}, 33, 0xAC},
	} {
		b := AppendTrace(nil, c.trace)
		if len(b) != c.bytes || b[0] != c.flags {
			t.Errorf("%+v is % x", c.trace, b)
		}
		got, err := ParseTrace(b)
		if err != nil || got != c.trace {
			t.Errorf("got %+v, want %+v, %v", got, c.trace, err)
		}
		if c.trace.HasIDs {
			if _, err := ParseTrace(b[:len(b)-1]); !errors.Is(err, ErrMetadata) {
				t.Errorf("cut: %v", err)
			}
		}
	}
	if _, err := ParseTrace(nil); !errors.Is(err, ErrMetadata) {
		t.Errorf("empty: %v", err)
	}
}

func TestStreamMIMEs(t *testing.T) {
	for mime, want := range map[string][]byte{"application/json": {0x85}, "a/b": append([]byte{2}, "a/b"...)} {
		b := AppendStreamMIME(nil, mime)
		if got, ok := StreamMIME(b); !bytes.Equal(b, want) || got != mime || !ok {
			t.Errorf("%s: % x, back %q %v", mime, b, got, ok)
		}
	}
	for _, bad := range [][]byte{nil, {0xC0}, {9, 'a'}, {0x85, 0x85}} {
		if s, ok := StreamMIME(bad); ok {
			t.Errorf("% x: %q", bad, s)
		}
	}
	b := AppendAcceptedMIMEs(nil, "application/json", "a/b", strings.Repeat("x", 129))
	if got, err := AcceptedMIMEs(append(b, 0xC0)); err != nil || !slices.Equal(got, []string{"application/json", "a/b"}) {
		t.Errorf("got %v %v", got, err)
	}
	if _, err := AcceptedMIMEs([]byte{9, 'a'}); !errors.Is(err, ErrMetadata) {
		t.Errorf("cut: %v", err)
	}
}

func FuzzExtensions(f *testing.F) {
	f.Add(AppendAuthSimple(nil, "u", "p"))
	f.Add(AppendTrace(nil, Trace{HasIDs: true, TraceHigh: 1, HasParent: true}))
	f.Add(AppendAcceptedMIMEs(nil, "a/b", "application/json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAuth(b); err == nil {
			u, p, ok := a.Simple()
			if ok && len(u)+len(p) > len(b) {
				t.Error("longer than its source")
			}
		}
		if x, err := ParseTrace(b); err == nil {
			if y, err := ParseTrace(AppendTrace(nil, x)); err != nil || (x.HasIDs && x != y) {
				t.Errorf("%+v became %+v, %v", x, y, err)
			}
		}
		_, _ = AcceptedMIMEs(b)
		_, _ = StreamMIME(b)
	})
}
