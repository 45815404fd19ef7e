package rsocket

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// smallBuffers is a listener whose sockets take little at once.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// All models at once through a connection that is cut at random: nothing is lost, nothing comes twice or in another order.
func TestResumeUnderLoad(t *testing.T) {
	for name, halfOpen := range map[string]bool{"both sides notice": false, "the server does not notice": true} {
		t.Run(name, func(t *testing.T) { newResumeStress(t).run(halfOpen) })
	}
}

const (
	stressSenders, stressEvents   = 4, 6000 // of fire-and-forget
	stressCallers, stressRequests = 8, 1500
	stressChannels, stressNumbers = 2, 20_000
)

type resumeStress struct {
	*testing.T

	ctx    context.Context //nolint:containedctx // of the test
	budget *limit
	server *Server
	served chan error
	cut    *cutter
	c      *Conn
	next   [stressSenders]atomic.Uint64 // the event of each sender that the server expects
}

func newResumeStress(t *testing.T) *resumeStress {
	t.Helper()
	x := &resumeStress{T: t, ctx: testContext(t), budget: &limit{max: 64 << 20}, served: make(chan error, 1)}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{WriteBuffer: 64 << 10}
	x.server = NewServer(ServerOptions{
		Budget: x.budget, Resume: &ResumeOptions{Buffer: 256 << 10}, Limits: limits,
		Handlers: Handlers{FireAndForget: x.onEvent, RequestResponse: echoSometimesLate, RequestChannel: x.echoInOrder},
	})
	go func() { x.served <- x.server.Serve(context.Background(), smallBuffers{ln}) }()
	x.cut = newCutter(t, ln.Addr().String())
	redial := func(ctx context.Context) (Transport, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", x.cut.l.Addr().String())
		if err != nil {
			return nil, err
		}
		return nc, nc.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	nc, err := redial(x.ctx)
	if err != nil {
		t.Fatal(err)
	}
	x.c, err = NewClient(nc, ClientOptions{
		Budget: x.budget, Limits: limits,
		Resume: &ClientResume{Buffer: 256 << 10, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Redial: redial},
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *resumeStress) onEvent(_ context.Context, r *Request) {
	sender, i := binary.BigEndian.Uint32(r.Data), binary.BigEndian.Uint64(r.Data[4:])
	if want := x.next[sender].Add(1) - 1; want != i {
		x.Errorf("sender %d: got event %d, want %d", sender, i, want)
	}
}

func echoSometimesLate(_ context.Context, r *Request, reply *Reply) {
	n := binary.BigEndian.Uint64(r.Data)
	if n%3 != 0 {
		_ = reply.Send(r.Payload)
		return
	}
	own := r.Clone()
	r.Conn.handlers.Go(func() {
		time.Sleep(time.Duration(n%500) * time.Microsecond) //nolint:forbidigo // work
		_ = reply.Send(own)
	})
}

// echoInOrder checks the numbers of a channel and sends them back.
func (x *resumeStress) echoInOrder(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
	in.Grant(500)
	var batch Batch
	defer batch.Release()
	for want := uint64(0); ; {
		if err := in.RecvBatch(ctx, &batch); err != nil {
			return nil // it is over
		}
		for _, p := range batch.Payloads {
			if n := binary.BigEndian.Uint64(p.Data); n != want {
				x.Errorf("channel up: got %d, want %d", n, want)
			}
			want++
		}
		if _, err := out.SendBatch(ctx, batch.Payloads); err != nil {
			return err
		}
		in.Grant(len(batch.Payloads))
	}
}

func (x *resumeStress) run(halfOpen bool) {
	var work, cutting sync.WaitGroup
	over := make(chan struct{})
	cutting.Go(func() { x.cutAtRandom(halfOpen, over) })
	for i := range stressSenders {
		work.Go(func() { x.sendEvents(i) })
	}
	for i := range stressCallers {
		work.Go(func() { x.request(i) })
	}
	for i := range stressChannels {
		work.Go(func() { x.channel(i) })
	}
	work.Wait()
	close(over)
	cutting.Wait()
	for i := range x.next {
		eventually(x.T, func() bool { return x.next[i].Load() == stressEvents }, "all events")
	}
	_ = x.c.Close()
	if err := x.server.Shutdown(x.ctx); err != nil {
		x.Error(err)
	}
	if err := <-x.served; !errors.Is(err, ErrServerClosed) {
		x.Error(err)
	}
	if n := x.budget.held(); n != 0 {
		x.Errorf("%d bytes are still held", n)
	}
}

func (x *resumeStress) cutAtRandom(halfOpen bool, over chan struct{}) {
	r := rand.New(rand.NewPCG(1, 9))
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Duration(5+r.IntN(60)) * time.Millisecond):
			x.cut.cut(halfOpen)
		}
	}
}

func (x *resumeStress) sendEvents(sender int) {
	for i := range stressEvents {
		p := make([]byte, 12+(i*7)%400)
		binary.BigEndian.PutUint32(p, uint32(sender))
		binary.BigEndian.PutUint64(p[4:], uint64(i))
		if err := x.c.FireAndForget(x.ctx, Payload{Data: p}); err != nil {
			x.Errorf("event %d: %v", i, err)
			return
		}
	}
}

// request has a quarter of its requests cancelled.
func (x *resumeStress) request(caller int) {
	r := rand.New(rand.NewPCG(1, uint64(caller)))
	for i := range stressRequests {
		ctx, cancel := x.ctx, func() {}
		if r.IntN(4) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(1500))*time.Microsecond)
		}
		n := uint64(caller*stressRequests + i)
		p, err := x.c.RequestResponse(ctx, Payload{Data: binary.BigEndian.AppendUint64(nil, n)})
		switch {
		case err != nil && ctx.Err() == nil:
			x.Errorf("request %d: %v", n, err)
		case err == nil && binary.BigEndian.Uint64(p.Data) != n:
			x.Errorf("request %d: got the answer %x", n, p.Data)
		}
		cancel()
	}
}

func (x *resumeStress) channel(i int) {
	out, in, err := x.c.RequestChannel(x.ctx, Payload{}, 300, ChannelOptions{})
	if err != nil {
		x.Errorf("channel: %v", err)
		return
	}
	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() { x.sendNumbers(out, uint64(i)) })
	for want := range uint64(stressNumbers) {
		p, err := in.Recv(x.ctx)
		if err != nil {
			x.Errorf("channel down: %v, want %d", err, want)
			return
		}
		if n := binary.BigEndian.Uint64(p.Data); n != want {
			x.Errorf("channel down: got %d, want %d", n, want)
			return
		}
		in.Grant(1)
	}
}

func (x *resumeStress) sendNumbers(out *Sender, seed uint64) {
	r := rand.New(rand.NewPCG(1, 100+seed))
	for i := 0; i < stressNumbers; {
		ps := make([]Payload, min(1+r.IntN(200), stressNumbers-i))
		for j := range ps {
			ps[j].Data = binary.BigEndian.AppendUint64(make([]byte, 0, 300), uint64(i+j))[:8+r.IntN(292)]
		}
		n, err := out.SendBatch(x.ctx, ps)
		if err != nil {
			x.Errorf("channel up: %d of a batch from %d on: %v", n, i, err)
			return
		}
		i += n
	}
	_ = out.Complete()
}
