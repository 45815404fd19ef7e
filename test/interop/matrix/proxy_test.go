package matrix

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// proxy forwards TCP connections to a port and damages them.
type proxy struct {
	l      *net.TCPListener
	target string
	every  int64        // bytes of a connection, both directions, after which it is cut
	left   atomic.Int64 // cuts to make
	cuts   atomic.Int64 // cuts made
	back   atomic.Int64 // bytes from the target
	frozen atomic.Bool  // take no bytes any more, and leave connections open
	tasks  sync.WaitGroup
	ctx    context.Context //nolint:containedctx // of the test
	stop   context.CancelFunc
}

// newProxy starts a proxy that cuts connections so many times.
func newProxy(ctx context.Context, target int, cuts, every int64) (*proxy, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(target)), every: every}
	p.left.Store(cuts)
	p.ctx, p.stop = context.WithCancel(ctx)
	p.tasks.Go(p.accept)
	return p, nil
}

func (p *proxy) port() int { return p.l.Addr().(*net.TCPAddr).Port }

// close ends the proxy and its connections.
func (p *proxy) close() {
	p.stop()
	p.l.Close()
	p.tasks.Wait()
}

func (p *proxy) accept() {
	for {
		a, err := p.l.AcceptTCP()
		if err != nil {
			return
		}
		var d net.Dialer
		b, err := d.DialContext(p.ctx, "tcp", p.target)
		if err != nil {
			a.Close()
			continue
		}
		p.forward(a, b.(*net.TCPConn))
	}
}

// forward starts the two directions of a connection. A cut loses what is under way.
func (p *proxy) forward(a, b *net.TCPConn) {
	var bytes atomic.Int64
	cut := sync.OnceFunc(func() {
		a.SetLinger(0) //nolint:errcheck // best effort
		b.SetLinger(0) //nolint:errcheck // best effort
		a.Close()
		b.Close()
	})
	unwatch := context.AfterFunc(p.ctx, cut)
	var both sync.WaitGroup
	both.Go(func() { p.pump(a, b, &bytes, nil, cut) })
	both.Go(func() { p.pump(b, a, &bytes, &p.back, cut) })
	p.tasks.Go(func() {
		both.Wait()
		unwatch()
		cut()
	})
}

func (p *proxy) pump(from, to *net.TCPConn, bytes, back *atomic.Int64, cut func()) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if p.frozen.Load() && err != nil {
			<-p.ctx.Done() // nobody learns of the end
			return
		}
		if err != nil {
			to.CloseWrite() //nolint:errcheck // the other direction may go on
			if p.every > 0 {
				cut()
			}
			return
		}
		if p.frozen.Load() {
			continue
		}
		if p.every > 0 && bytes.Add(int64(n)) > p.every && p.left.Add(-1) >= 0 {
			p.cuts.Add(1)
			cut()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if back != nil {
			back.Add(int64(n))
		}
	}
}
