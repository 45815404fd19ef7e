package rsocket

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden are frames as the protocol draws them: length field, stream id, type with flags, body.
var golden = []struct {
	name string
	hex  string
	enc  func() []byte
	want frame
}{
	{
		"SETUP", "00001c 00000000 0400 0001 0000 00004e20 00015f90 01 6d 02 6464 68656c6c6f",
		func() []byte {
			return encodeSetup(0, &setupFields{major: 1, keepAlive: 20000, maxLifetime: 90000, metadataMIME: []byte("m"), dataMIME: []byte("dd")}, &Payload{Data: []byte("hello")})
		},
		frame{FrameHeader: FrameHeader{Type: FrameSetup}, data: []byte("hello"), setup: setupFields{major: 1, keepAlive: 20000, maxLifetime: 90000, metadataMIME: []byte("m"), dataMIME: []byte("dd")}},
	},
	{
		"SETUP with lease, token and metadata", "00001f 00000000 05c0 0001 0000 00000001 00000002 0003 746f6b 00 01 64 000001 78 79",
		func() []byte {
			return encodeSetup(FlagLease, &setupFields{major: 1, keepAlive: 1, maxLifetime: 2, token: []byte("tok"), dataMIME: []byte("d")}, &Payload{Data: []byte("y"), Metadata: []byte("x"), HasMetadata: true})
		},
		frame{
			FrameHeader: FrameHeader{Type: FrameSetup, Flags: FlagMetadata | FlagResume | FlagLease}, data: []byte("y"), metadata: []byte("x"), hasMetadata: true,
			setup: setupFields{major: 1, keepAlive: 1, maxLifetime: 2, token: []byte("tok"), metadataMIME: []byte{}, dataMIME: []byte("d")},
		},
	},
	{
		"LEASE", "00000e 00000000 0800 000003e8 00000005",
		func() []byte { return appendLease(nil, 1000, 5, nil) },
		frame{FrameHeader: FrameHeader{Type: FrameLease, N: 5}, ttl: 1000, metadata: []byte{}},
	},
	{
		"LEASE with metadata", "000010 00000000 0900 000003e8 00000005 6162",
		func() []byte { return appendLease(nil, 1000, 5, []byte("ab")) },
		frame{FrameHeader: FrameHeader{Type: FrameLease, N: 5, Flags: FlagMetadata}, ttl: 1000, metadata: []byte("ab"), hasMetadata: true},
	},
	{
		"KEEPALIVE", "000010 00000000 0c80 0000000000000007 7879",
		func() []byte { return appendKeepAlive(nil, true, 7, []byte("xy")) },
		frame{FrameHeader: FrameHeader{Type: FrameKeepAlive, Flags: FlagRespond}, position: 7, data: []byte("xy")},
	},
	{
		"REQUEST_RESPONSE", "00000a 00000001 1000 64617461",
		func() []byte { return opened(FrameRequestResponse, 1, 0, 0, NewPayload([]byte("data"), nil)) },
		frame{FrameHeader: FrameHeader{Type: FrameRequestResponse, StreamID: 1}, data: []byte("data")},
	},
	{
		"REQUEST_FNF with metadata", "00000b 00000003 1500 000001 6d 64",
		func() []byte { return opened(FrameRequestFNF, 3, 0, 0, NewPayload([]byte("d"), []byte("m"))) },
		frame{FrameHeader: FrameHeader{Type: FrameRequestFNF, StreamID: 3, Flags: FlagMetadata}, hasMetadata: true, metadata: []byte("m"), data: []byte("d")},
	},
	{
		"REQUEST_STREAM", "00000c 00000005 1800 00000010 6162",
		func() []byte { return opened(FrameRequestStream, 5, 16, 0, NewPayload([]byte("ab"), nil)) },
		frame{FrameHeader: FrameHeader{Type: FrameRequestStream, StreamID: 5, N: 16}, data: []byte("ab")},
	},
	{
		"REQUEST_CHANNEL complete", "00000b 00000007 1c40 7fffffff 61",
		func() []byte {
			return opened(FrameRequestChannel, 7, maxCredit, FlagComplete, NewPayload([]byte("a"), nil))
		},
		frame{FrameHeader: FrameHeader{Type: FrameRequestChannel, StreamID: 7, N: maxCredit, Flags: FlagComplete}, data: []byte("a")},
	},
	{
		"REQUEST_N", "00000a 00000007 2000 00000005",
		func() []byte { return appendRequestN(nil, 7, 5) },
		frame{FrameHeader: FrameHeader{Type: FrameRequestN, StreamID: 7, N: 5}},
	},
	{
		"CANCEL", "000006 00000007 2400",
		func() []byte { return appendCancel(nil, 7) },
		frame{FrameHeader: FrameHeader{Type: FrameCancel, StreamID: 7}},
	},
	{
		"PAYLOAD next complete", "00000a 00000007 2960 000000 64",
		func() []byte {
			return opened(FramePayload, 7, 0, FlagNext|FlagComplete, NewPayload([]byte("d"), []byte{}))
		},
		frame{FrameHeader: FrameHeader{Type: FramePayload, StreamID: 7, Flags: FlagMetadata | FlagNext | FlagComplete}, hasMetadata: true, metadata: []byte{}, data: []byte("d")},
	},
	{
		"ERROR", "00000d 00000007 2c00 00000202 626164",
		func() []byte { return encodeError(7, &Error{Code: CodeRejected, Message: "bad"}) },
		frame{FrameHeader: FrameHeader{Type: FrameError, StreamID: 7, N: 0x202}, data: []byte("bad")},
	},
	{
		"METADATA_PUSH", "000008 00000000 3100 6d64",
		func() []byte { return appendMetadataPush(nil, []byte("md")) },
		frame{FrameHeader: FrameHeader{Type: FrameMetadataPush, Flags: FlagMetadata}, hasMetadata: true, metadata: []byte("md")},
	},
	{
		"RESUME", "00001f 00000000 3400 0001 0000 0003 746f6b 0000000000000009 0000000000000004",
		func() []byte { return encodeResume([]byte("tok"), 9, 4) },
		frame{FrameHeader: FrameHeader{Type: FrameResume}, setup: setupFields{major: 1, token: []byte("tok")}, position: 9, available: 4},
	},
	{
		"RESUME_OK", "00000e 00000000 3800 0000000000000009",
		func() []byte { return appendResumeOK(nil, 9) },
		frame{FrameHeader: FrameHeader{Type: FrameResumeOK}, position: 9},
	},
	{
		"EXT", "00000c 00000000 fe00 00000001 6162",
		func() []byte { return appendExt(nil, FlagIgnore, 0, 1, []byte("ab")) },
		frame{FrameHeader: FrameHeader{Type: FrameExt, Flags: FlagIgnore, N: 1}, data: []byte("ab")},
	},
}

// opened encodes a frame that carries a payload.
func opened(typ FrameType, id, n uint32, flags Flags, p Payload) []byte {
	f := fragmenter{typ: typ, id: id, n: n, flags: flags, p: p, mtu: maxFrameSize}
	b, _, _ := f.next(nil)
	return b
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestGoldenFrames(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want := unhex(t, g.hex)
			if got := g.enc(); !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, want\n%x", got, want)
			}
			var f frame
			if err := f.parse(want[lengthSize:]); err != nil {
				t.Fatal(err)
			}
			g.want.Length = len(want) - lengthSize
			if diff := cmp.Diff(g.want, f, cmp.AllowUnexported(frame{}, setupFields{})); diff != "" {
				t.Error(diff)
			}
			if n := int(uint24(want)); n != len(want)-lengthSize {
				t.Errorf("length field %d, frame has %d", n, len(want)-lengthSize)
			}
		})
	}
}

// Every proper prefix of a frame either parses or is refused; none may panic or read beyond its end.
func TestTruncatedFrames(t *testing.T) {
	for _, g := range golden {
		whole := unhex(t, g.hex)[lengthSize:]
		for n := range whole {
			var f frame
			b := append([]byte(nil), whole[:n]...)
			err := f.parse(b[:n:n])
			if n < headerSize && err == nil {
				t.Errorf("%s cut to %d bytes was accepted", g.name, n)
			}
		}
	}
}

func TestLengthsInsideFrames(t *testing.T) {
	for name, s := range map[string]string{
		"resume token":                "00000000 0480 0001 0000 00000001 00000002 ffff 74",
		"resume token length cut":     "00000000 0480 0001 0000 00000001 00000002 00",
		"metadata MIME type":          "00000000 0400 0001 0000 00000001 00000002 ff 6d 00",
		"data MIME type":              "00000000 0400 0001 0000 00000001 00000002 00 ff",
		"data MIME type missing":      "00000000 0400 0001 0000 00000001 00000002 00",
		"setup metadata":              "00000000 0500 0001 0000 00000001 00000002 00 00 ffffff",
		"setup without times":         "00000000 0400 0001 0000 0000",
		"payload metadata":            "00000001 2920 ffffff 00",
		"payload metadata length cut": "00000001 2920 0000",
		"request n":                   "00000001 2000 0000",
		"initial request n":           "00000001 1800 0000",
		"error code":                  "00000001 2c00 0000",
		"lease":                       "00000000 0800 00000001",
		"keepalive":                   "00000000 0c00 00000000",
		"resume":                      "00000000 3400 0001 0000 ffff 00",
		"resume positions":            "00000000 3400 0001 0000 0001 00 00000000",
		"resume ok":                   "00000000 3800 00000000",
		"extended type":               "00000000 fc00 0000",
	} {
		var f frame
		if err := f.parse(unhex(t, s)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFragmentsRespectMTUAndOrder(t *testing.T) {
	md, body := bytes.Repeat([]byte("m"), 150), bytes.Repeat([]byte("d"), 333)
	for _, mtu := range []int{64, 65, 100, 200, 491, 492, 1000} {
		f := fragmenter{typ: FrameRequestChannel, id: 1, n: 9, flags: FlagComplete, p: NewPayload(body, md), mtu: mtu}
		var gotM, gotD []byte
		for i, last := 0, false; !last; i++ {
			var b []byte
			b, _, last = f.next(nil)
			var g frame
			if err := g.parse(b[lengthSize:]); err != nil {
				t.Fatal(err)
			}
			if len(b)-lengthSize > mtu {
				t.Errorf("mtu %d: frame of %d bytes", mtu, len(b)-lengthSize)
			}
			if (i == 0) != (g.Type == FrameRequestChannel) || (g.Flags&FlagFollows == 0) != last || (g.Flags&FlagComplete != 0) != last {
				t.Errorf("mtu %d: fragment %d is %v with flags %x", mtu, i, g.Type, g.Flags)
			}
			if g.hasMetadata && len(gotD) > 0 {
				t.Errorf("mtu %d: metadata after data", mtu)
			}
			gotM, gotD = append(gotM, g.metadata...), append(gotD, g.data...)
		}
		if !bytes.Equal(gotM, md) || !bytes.Equal(gotD, body) {
			t.Errorf("mtu %d: payload changed", mtu)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex)[lengthSize:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x frame
		if x.parse(b) != nil {
			return
		}
		if len(x.metadata)+len(x.data) > len(b) {
			t.Errorf("%d bytes of metadata and %d of data from %d", len(x.metadata), len(x.data), len(b))
		}
	})
}

func FuzzComposite(f *testing.F) {
	f.Add(AppendComposite(AppendComposite(nil, MIMERouting, AppendRoute(nil, "a", "b")), "x/y", []byte("z")))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for e, err := range EachComposite(b) {
			if err == nil {
				n += len(e.Content) + 4
			}
		}
		if n > len(b) {
			t.Errorf("entries of %d bytes from %d", n, len(b))
		}
		_, _ = Route(MIMEComposite, b)
		_, _ = RouteTags(b)
	})
}
