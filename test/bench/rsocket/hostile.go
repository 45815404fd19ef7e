package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/coder/websocket"

	"github.com/weir-dev/weir/rsocket"
)

// A good client sends at a steady pace, well below what the machine can do, turn by turn with and without hostile peers.
// What is measured is whether the server gives it its pace: on two cores a client that takes all it can get would measure
// how the machine divides its cores between processes.

// Bars: the least part of its pace that the good client keeps, and how far the server's memory may grow.
const (
	siegeBar    = 0.90
	siegeMemory = 256 << 20
)

const (
	pace      = 100_000 // events a second of the good client, 1 KiB each
	attackers = 8       // connections of an attack, unless it needs more
	budget    = 64 << 20
)

// byteBudget bounds the payload bytes of all connections.
type byteBudget struct{ left atomic.Int64 }

func (b *byteBudget) Reserve(n int) bool {
	if b.left.Add(-int64(n)) >= 0 {
		return true
	}
	b.left.Add(int64(n))
	return false
}

func (b *byteBudget) Release(n int) { b.left.Add(int64(n)) }

// hostileServe is weirServe with a budget, over WebSocket too, whose handlers block when they are asked to.
func hostileServe(ctx context.Context, ln net.Listener) error {
	b := new(byteBudget)
	b.left.Store(budget)
	s := rsocket.NewServer(rsocket.ServerOptions{
		Budget: b, MaxStreamsPerConn: 1000, SetupTimeout: 2 * time.Second, Limits: rsocket.Limits{MaxFragments: budget / 4},
		Handlers: rsocket.Handlers{
			FireAndForget:   func(ctx context.Context, _ *rsocket.Request) { <-ctx.Done() },
			RequestResponse: func(_ context.Context, r *rsocket.Request, reply *rsocket.Reply) { _ = reply.Send(r.Payload) },
			RequestStream: func(ctx context.Context, _ *rsocket.Request, out *rsocket.Sender) error {
				p := rsocket.Payload{Data: make([]byte, 1024)}
				for {
					if err := out.Send(ctx, p); err != nil {
						return err
					}
				}
			},
			RequestChannel: func(ctx context.Context, r *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
				if len(r.Data) > 0 { // asked to stall
					in.Grant(credit)
					<-ctx.Done()
					return nil
				}
				n, err := weirCount(ctx, in)
				if err != nil {
					return err
				}
				return out.Send(ctx, rsocket.Payload{Data: binary.BigEndian.AppendUint64(nil, uint64(n))})
			},
		},
	})
	ws, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.WebSocket(rsocket.WebSocketOptions{}), ReadHeaderTimeout: time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = web.Serve(ws) })
	fmt.Println(ws.Addr())
	err = s.Serve(ctx, ln)
	_ = web.Close()
	wg.Wait()
	return err
}

// besiegedStack serves over TCP and WebSocket.
var besiegedStack = stack{name: "weir-hostile", serve: hostileServe, doors: 2}

// attacks by name. Each returns when ctx ends.
var attacks = []struct {
	name string
	run  func(ctx context.Context, tcp, ws string) error
}{
	{"credit ignored", flood(func(w io.Writer) error {
		return repeat(w, frame(typeChannel, 0, 1, []byte{0, 0, 0, 1}, []byte("stall")), frames(100, typePayload, flagNext, 1, make([]byte, 1000)))
	})},
	{"unfinished fragments", flood(func(w io.Writer) error {
		return numbered(w, func(id uint32) []byte { return frame(typeResponse, flagFollows, id, nil, make([]byte, 10_000)) })
	})},
	{"100,000 streams", flood(func(w io.Writer) error {
		return numbered(w, func(id uint32) []byte { return frame(typeStream, 0, id, []byte{0, 0, 0, 1}, []byte("x")) })
	})},
	{"slow reader", deaf},
	{"half-open connections", silent(setupFrame(), 500)},
	{"SETUP never sent", silent(nil, 500)},
	{"WebSocket frame flood", webSocketFlood},
	{"fire-and-forget to a blocked handler", flood(func(w io.Writer) error {
		return numbered(w, func(id uint32) []byte { return frame(typeForget, 0, id, nil, make([]byte, 1000)) })
	})},
}

// besiege measures the good client beside each attack.
func besiege(ctx context.Context, seconds float64, rounds int, w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "attack\tpace kept\talone\tserver RSS grew MiB\t")
	var failed []error
	for _, a := range attacks {
		r, err := siege(ctx, a.name, seconds, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.3f of the pace\n", a.name, r.beside)
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%d\t\n", a.name, r.beside, r.alone, r.grown>>20)
		if r.beside < siegeBar*r.alone {
			failed = append(failed, fmt.Errorf("%s: a good client keeps %.2f of its rate", a.name, r.beside/r.alone))
		}
		if r.grown > siegeMemory {
			failed = append(failed, fmt.Errorf("%s: the server's memory grew by %d MiB", a.name, r.grown>>20))
		}
	}
	_ = t.Flush()
	return errors.Join(failed...)
}

// besieged is the part of its pace that the good client kept, the median of the turns, and the server's memory.
type besieged struct {
	beside, alone float64
	grown         int64
}

func siege(ctx context.Context, name string, seconds float64, rounds int) (besieged, error) {
	srv, err := startServer(ctx, besiegedStack, false)
	if err != nil {
		return besieged{}, err
	}
	defer srv.stop()
	good, err := rsocket.Dial(ctx, "tcp", srv.addr, rsocket.ClientOptions{})
	if err != nil {
		return besieged{}, err
	}
	defer good.Close()
	if _, err := paced(ctx, good, seconds); err != nil {
		return besieged{}, err
	}
	before, err := rss(srv.cmd.Process.Pid)
	if err != nil {
		return besieged{}, err
	}
	var beside, alone []float64
	var r besieged
	for range rounds {
		kept, err := paced(ctx, good, seconds)
		if err != nil {
			return besieged{}, err
		}
		alone = append(alone, kept)
		stop, err := startAttack(ctx, name, srv)
		if err != nil {
			return besieged{}, err
		}
		kept, err = paced(ctx, good, seconds)
		now, rssErr := rss(srv.cmd.Process.Pid)
		r.grown = max(r.grown, now-before)
		stop()
		if err := errors.Join(err, rssErr); err != nil {
			return besieged{}, err
		}
		beside = append(beside, kept)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	r.alone, r.beside = alone[len(alone)/2], beside[len(beside)/2]
	return r, nil
}

// paced sends at the pace for a while and returns which part of it the server took. Each hundredth of a second has its
// share; one that comes late is made up for, so that only a server that does not keep up loses.
func paced(ctx context.Context, c *rsocket.Conn, seconds float64) (float64, error) {
	out, in, err := c.RequestChannel(ctx, rsocket.Payload{}, 1, rsocket.ChannelOptions{})
	if err != nil {
		return 0, err
	}
	run := make([]rsocket.Payload, 256)
	for i := range run {
		run[i].Data = make([]byte, 1024)
	}
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	start, sent := time.Now(), 0
	for time.Since(start).Seconds() < seconds {
		for due := int(time.Since(start).Seconds() * pace); sent < due; {
			k, err := out.SendBatch(ctx, run[:min(due-sent, len(run))])
			if err != nil {
				return 0, err
			}
			sent += k
		}
		<-ticks.C
	}
	if err := out.Complete(); err != nil {
		return 0, err
	}
	answer, err := in.Recv(ctx)
	if err != nil {
		return 0, err
	}
	took := time.Since(start).Seconds()
	return float64(sent) / (took * pace), wantCount(answer.Data, sent)
}

// startAttack runs this program with -attack until stop is called.
func startAttack(ctx context.Context, name string, srv *server) (stop func(), err error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-attack", strings.Join([]string{name, srv.addr, srv.second}, ";"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}, nil
}

// attack is the attacking process; it ends with its standard input.
func attack(ctx context.Context, what string) error {
	parts := strings.Split(what, ";")
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for _, a := range attacks {
		if len(parts) == 3 && a.name == parts[0] {
			return a.run(ctx, parts[1], parts[2])
		}
	}
	return fmt.Errorf("unknown attack %q", what)
}

// flood attacks over several connections at once: each sends SETUP and then what write writes, and begins anew when the
// server closes it, at most a hundred times a second.
func flood(write func(io.Writer) error) func(context.Context, string, string) error {
	return func(ctx context.Context, addr, _ string) error {
		var wg sync.WaitGroup
		for range attackers {
			wg.Go(func() {
				for ctx.Err() == nil {
					floodOnce(ctx, addr, write)
					select {
					case <-time.After(10 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
		wg.Wait()
		return nil
	}
}

func floodOnce(ctx context.Context, addr string, write func(io.Writer) error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
	if _, err := c.Write(setupFrame()); err == nil {
		_ = write(c) // fails when the server closes the connection, as it should
	}
}

// silent opens n connections, sends first on each and then nothing, reading nothing either.
func silent(first []byte, n int) func(context.Context, string, string) error {
	return func(ctx context.Context, addr, _ string) error {
		var d net.Dialer
		for range n {
			c, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				break
			}
			defer c.Close()
			if _, err := c.Write(first); err != nil {
				break
			}
		}
		<-ctx.Done()
		return nil
	}
}

// deaf asks for endless streams and reads nothing of them.
func deaf(ctx context.Context, addr, _ string) error {
	ask := setupFrame()
	for id := uint32(1); id < 100; id += 2 {
		ask = append(ask, frame(typeStream, 0, id, []byte{0x7f, 0xff, 0xff, 0xff}, []byte("x"))...)
	}
	return silent(ask, attackers)(ctx, addr, "")
}

// webSocketFlood sends empty and tiny WebSocket messages.
func webSocketFlood(ctx context.Context, _, addr string) error {
	var wg sync.WaitGroup
	for i := range attackers {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, _, err := websocket.Dial(ctx, "ws://"+addr, nil)
				if err != nil {
					return
				}
				for err == nil {
					err = c.Write(ctx, websocket.MessageBinary, make([]byte, i%3))
				}
				_ = c.CloseNow()
			}
		})
	}
	wg.Wait()
	return nil
}

// The frames of an attacker are made here: our own encoder would not make them.

const (
	typeSetup    = 0x01
	typeResponse = 0x04
	typeForget   = 0x05
	typeStream   = 0x06
	typeChannel  = 0x07
	typePayload  = 0x0a

	flagFollows = 0x80
	flagNext    = 0x20
)

// frame is a frame with its length; body comes after the header, and data after that.
func frame(typ, flags uint16, id uint32, body, data []byte) []byte {
	n := 6 + len(body) + len(data)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n)}
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint16(b, typ<<10|flags)
	return append(append(b, body...), data...)
}

func frames(n int, typ, flags uint16, id uint32, data []byte) []byte {
	return bytes.Repeat(frame(typ, flags, id, nil, data), n)
}

func setupFrame() []byte {
	body := []byte{0, 1, 0, 0, 0, 0, 0x75, 0x30, 0, 1, 0x5f, 0x90} // version 1.0, keepalive 30 s, lifetime 90 s
	for range 2 {
		body = append(append(body, 10), "text/plain"...)
	}
	return frame(typeSetup, 0, 0, body, nil)
}

// repeat writes first and then again and again more.
func repeat(w io.Writer, first, more []byte) error {
	_, err := w.Write(first)
	for err == nil {
		_, err = w.Write(more)
	}
	return err
}

// numbered writes frames with the odd stream ids one after the other, a hundred at once.
func numbered(w io.Writer, make func(id uint32) []byte) error {
	var b []byte
	for id := uint32(1); ; id += 2 {
		if b = append(b, make(id)...); id%200 == 199 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
}
