package harness

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// NameServer answers A questions over UDP on a loopback address, for one name, as it is told.
type NameServer struct {
	conn net.PacketConn
	done chan struct{}

	mu    sync.Mutex // guards what follows
	addrs []netip.Addr
	code  dnsmessage.RCode
}

// NewNameServer starts one that knows no address.
func NewNameServer(ctx context.Context) (*NameServer, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &NameServer{conn: conn, done: make(chan struct{})}
	go n.serve()
	return n, nil
}

// Close ends it.
func (n *NameServer) Close() error {
	err := n.conn.Close()
	<-n.done
	return err
}

// Answer has every name answered with addrs from now on; none is an answer without records.
func (n *NameServer) Answer(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs, n.code = nil, dnsmessage.RCodeSuccess
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddr(a))
	}
}

// Fail has every question answered with SERVFAIL from now on.
func (n *NameServer) Fail() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs, n.code = nil, dnsmessage.RCodeServerFailure
}

// Resolver returns a resolver that asks n alone.
func (n *NameServer) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func (n *NameServer) serve() {
	defer close(n.done)
	buf := make([]byte, 1500)
	for {
		k, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, err := n.answer(buf[:k]); err == nil {
			_, _ = n.conn.WriteTo(answer, from) // who asked asks again
		}
	}
}

func (n *NameServer) answer(question []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(question)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: n.code},
		Questions: []dnsmessage.Question{q},
	}
	for _, a := range n.addrs {
		if q.Type != dnsmessage.TypeA {
			break
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: a.As4()},
		})
	}
	return m.Pack()
}
