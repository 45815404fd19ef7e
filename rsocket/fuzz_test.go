package rsocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// target is a server with all handlers, in memory, that fuzzing throws bytes at.
type target struct {
	l *MemoryListener
	s *Server
	m *Metrics
	b *limit
}

func newTarget(tb testing.TB) *target {
	tb.Helper()
	x := &target{l: NewMemoryListener(), m: new(Metrics), b: &limit{max: 8 << 20}}
	h := echoHandlers()
	h.FireAndForget = func(context.Context, *Request) {}
	h.MetadataPush = func(context.Context, *Conn, []byte) {}
	x.s = NewServer(ServerOptions{
		Handlers: h, Metrics: x.m, Budget: x.b, MaxStreamsPerConn: 50, MaxPayload: 1 << 20, Limits: Limits{MaxFrame: 2 << 20},
	})
	served := make(chan error, 1)
	go func() { served <- x.s.Serve(context.Background(), x.l) }()
	tb.Cleanup(func() {
		if err := x.s.Shutdown(context.Background()); err != nil {
			tb.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			tb.Errorf("Serve: %v", err)
		}
	})
	return x
}

// attack sends the bytes on a connection of its own, discards the answers, closes it and checks what is left.
func (x *target) attack(tb testing.TB, b []byte) {
	tb.Helper()
	nc, err := x.l.Dial(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, nc)
	}()
	if _, err := nc.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		tb.Error(err)
	}
	_ = nc.Close()
	<-drained
	eventually(tb, func() bool { return x.s.Conns() == 0 }, "connection ended")
	if n := x.m.Panics.Load(); n > 0 {
		tb.Fatalf("%d panics", n)
	}
	if n := x.b.held(); n != 0 {
		tb.Fatalf("%d bytes still charged", n)
	}
}

// mutate breaks a frame in one of the ways that broken and hostile peers do.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	switch r.IntN(8) {
	case 0: // bit flips
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	case 1: // wrong length field
		n := r.IntN(1 << (1 + r.IntN(24)))
		b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
	case 2: // cut, length field as it was
		b = b[:1+r.IntN(len(b)-1)]
	case 3: // cut, with a length field that fits
		b = b[:lengthSize+r.IntN(len(b)-lengthSize)]
		copy(b, appendUint24(nil, len(b)-lengthSize))
	case 4: // other type and flags
		b[7], b[8] = byte(r.Uint32()), byte(r.Uint32())
	case 5: // other stream
		b[6] = byte(r.IntN(16))
	case 6: // bytes inserted
		b = append(b, make([]byte, r.IntN(64))...)
		copy(b, appendUint24(nil, len(b)-lengthSize))
	}
	return b
}

func TestMutatedFrames(t *testing.T) {
	x := newTarget(t)
	r := rand.New(rand.NewPCG(1, 2))
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	for range rounds {
		b := goodSetup()
		if r.IntN(10) == 0 {
			b = mutate(r, b)
		}
		for range r.IntN(20) {
			b = append(b, mutate(r, unhex(t, golden[r.IntN(len(golden))].hex))...)
		}
		x.attack(t, b)
		if t.Failed() {
			t.Fatalf("after % x", b)
		}
	}
}

func FuzzServer(f *testing.F) {
	x := newTarget(f)
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	var all []byte
	for _, g := range golden {
		all = append(all, unhex(f, g.hex)...)
	}
	f.Add(all)
	f.Add(append(opened(FrameRequestChannel, 1, 5, FlagFollows, data("a")), opened(FramePayload, 1, 0, FlagNext, data("b"))...))
	f.Fuzz(func(t *testing.T, b []byte) { x.attack(t, append(goodSetup(), b...)) })
}

// FuzzClient throws bytes at a client with requests in progress.
func FuzzClient(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Add(append(opened(FramePayload, 1, 0, FlagNext, data("a")), opened(FramePayload, 3, 0, FlagNext|FlagComplete, data("b"))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		m := new(Metrics)
		c, err := NewClient(near, ClientOptions{Metrics: m, Handlers: echoHandlers(), Limits: Limits{MaxFrame: 1 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, far)
		}()
		ctx := context.Background()
		r, err := c.RequestStream(ctx, data("s"), 3)
		if err == nil {
			_, _, _ = c.RequestChannel(ctx, data("c"), 3, ChannelOptions{}) // may fail: the peer is hostile
			_, _ = far.Write(b)                                             // as above
		}
		_ = far.Close()
		<-drained
		if r != nil {
			for _, err := range r.All(ctx) {
				if err != nil {
					break
				}
			}
		}
		_ = c.Close()
		if m.Panics.Load() > 0 {
			t.Error("panic")
		}
	})
}
