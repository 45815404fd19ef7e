package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// settle is how long the servers may take to give back what the handshakes needed.
const settle = 3 * time.Second

// idleCost is what idle connections cost a server.
type idleCost struct {
	stack string
	conns int
	rss   int64 // bytes, of the server's process
}

// compareIdle opens n connections to each stack's server and leaves them alone.
func compareIdle(ctx context.Context, n int, names []string, w io.Writer) error {
	var costs []idleCost
	for _, name := range names {
		s, ok := find(stacks, func(s stack) bool { return s.name == name })
		if !ok || !keepsConnections[name] {
			continue
		}
		cost, err := idle(ctx, s, n)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		costs = append(costs, cost)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "stack\tidle connections\tserver RSS KiB each\t")
	over := false
	for _, c := range costs {
		each := float64(c.rss) / float64(c.conns) / 1024
		fmt.Fprintf(t, "%s\t%d\t%.1f\t\n", c.stack, c.conns, each)
		over = over || (c.stack == "weir" && each > idleBar)
	}
	_ = t.Flush()
	if over {
		return fmt.Errorf("an idle connection costs more than %d KiB", idleBar)
	}
	return nil
}

// idleBar is what one idle connection may cost our server, in KiB.
const idleBar = 10

// keepsConnections are the stacks whose dial opens a connection at once and whose session stands.
var keepsConnections = map[string]bool{"weir": true, "rsocket-go": true, "grpc-go": true}

func idle(ctx context.Context, s stack, n int) (idleCost, error) {
	srv, err := startServer(ctx, s, false)
	if err != nil {
		return idleCost{}, err
	}
	defer srv.stop()
	open := make([]client, 0, n)
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	connect := func() error {
		c, err := s.dial(ctx, srv.addr)
		if err != nil {
			return err
		}
		open = append(open, c)
		return c.respond(ctx, 1, 1, []byte("is the session up?"))
	}
	if err := connect(); err != nil {
		return idleCost{}, err
	}
	before, err := settled(ctx, srv.cmd.Process.Pid)
	if err != nil {
		return idleCost{}, err
	}
	for range n {
		if err := connect(); err != nil {
			return idleCost{}, fmt.Errorf("connection %d: %w", len(open), err)
		}
	}
	after, err := settled(ctx, srv.cmd.Process.Pid)
	return idleCost{s.name, n, after - before}, err
}

func settled(ctx context.Context, pid int) (int64, error) {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return rss(pid)
}

// rss reads the resident memory of a process in bytes.
func rss(pid int) (int64, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kib, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}
