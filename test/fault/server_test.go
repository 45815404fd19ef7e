package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/rsocket"
)

// snapshot is what the server says ten times a second.
type snapshot struct {
	Addr      string           `json:"addr"`
	Stalled   bool             `json:"stalled"`
	Committed int64            `json:"committed"` // records
	InFlight  int64            `json:"inFlight"`  // records taken and not committed
	Held      int64            `json:"held"`      // bytes of the pool
	Promised  int64            `json:"promised"`  // bytes of credit
	Conns     map[uint64]flows `json:"conns"`
}

// taken returns how many records weir has taken so far.
func (s snapshot) taken() int64 { return s.Committed + s.InFlight }

// flows counts the frames of a connection.
type flows struct {
	RequestN     int   `json:"requestN"` // frames sent
	Granted      int64 `json:"granted"`  // sum of their n
	Payloads     int   `json:"payloads"` // frames received
	Fired        int   `json:"fired"`    // fire-and-forget frames received
	KeepAliveIn  int   `json:"keepAliveIn"`
	KeepAliveOut int   `json:"keepAliveOut"`
}

// frameLog is the server's recorder of frames.
type frameLog struct {
	mu    sync.Mutex // guards conns
	conns map[uint64]flows
}

func (l *frameLog) record(conn uint64, dir rsocket.Direction, h rsocket.FrameHeader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.conns[conn]
	switch {
	case h.Type == rsocket.FrameRequestN && dir == rsocket.Out:
		f.RequestN++
		f.Granted += int64(h.N)
	case h.Type == rsocket.FramePayload && dir == rsocket.In && h.Flags&rsocket.FlagNext != 0:
		f.Payloads++
	case h.Type == rsocket.FrameRequestFNF && dir == rsocket.In:
		f.Fired++
	case h.Type == rsocket.FrameKeepAlive && dir == rsocket.In:
		f.KeepAliveIn++
	case h.Type == rsocket.FrameKeepAlive:
		f.KeepAliveOut++
	}
	l.conns[conn] = f
}

func (l *frameLog) copy() map[uint64]flows {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.conns)
}

// server runs an ingestor over a store that stalls on demand.
type server struct {
	ingestor *ingestor.Ingestor
	gate     *gate
	frames   frameLog
	addr     string
}

// serve runs the server: TABLE MEMORY. It prints snapshots, obeys the lines "stall" and "resume" of its standard input, and
// stops when that ends.
func serve(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("arguments are TABLE MEMORY, got %q", args)
	}
	memory, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	s, err := newServer(ctx, args[0], memory)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go s.obey(stop)
	go s.report(ctx)
	return s.ingestor.Run(ctx)
}

func newServer(ctx context.Context, table string, memory int64) (*server, error) {
	local, err := store.OpenURI(ctx, table)
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	debug.SetMemoryLimit(memory + 32<<20) // as weir run does
	s := &server{gate: newGate(), frames: frameLog{conns: map[uint64]flows{}}, addr: ln.Addr().String()}
	s.ingestor, err = ingestor.New(ctx, ingestor.Config{
		Pipelines: []ingestor.Settings{{
			Name:   "events",
			Store:  stallingStore{local, s.gate},
			Decode: decode.Options{MaxDepth: 64, MaxColumns: 1000, MaxEventBytes: 1 << 20},
			Batch:  batch.Settings{MaxRecords: 1000, MaxAge: 5 * time.Second, MaxBytes: 64 << 20},
			Memory: memory,
		}},
		RSocket:  ln,
		Registry: prometheus.NewRegistry(),
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Tap:      s.frames.record,
	})
	return s, errors.Join(err)
}

func (s *server) obey(stop func()) {
	defer stop()
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		switch commands.Text() {
		case "stall":
			s.gate.stall()
		case "resume":
			s.gate.resume()
		}
	}
}

func (s *server) report(ctx context.Context) {
	out := json.NewEncoder(os.Stdout)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status := s.ingestor.Status()[0]
		err := out.Encode(snapshot{
			Addr: s.addr, Stalled: s.gate.stalled(), Committed: status.Committed, InFlight: status.InFlight,
			Held: status.Memory.Held, Promised: status.Memory.Promised, Conns: s.frames.copy(),
		})
		if err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
