package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// stack is one implementation. Its server counts payloads; its client drives a load of n payloads and returns when the
// server is known to have taken, or the client to have received, all of them.
type stack struct {
	name  string
	serve func(ctx context.Context, ln net.Listener) error
	// command starts a server that is not this program; it prints its address as the first line.
	command func() (*exec.Cmd, error)
	dial    func(ctx context.Context, addr string) (client, error)
	doors   int // addresses that its server prints, 0 means 1
}

// client drives loads over one connection. A load that the stack does not have is errNotOffered.
type client interface {
	up(ctx context.Context, n int, payload []byte) error
	forget(ctx context.Context, n int, payload []byte) error
	down(ctx context.Context, n, size int) error
	respond(ctx context.Context, n, inFlight int, payload []byte) error
	io.Closer
}

var errNotOffered = errors.New("not offered")

// loads by name; request-response with 1, 64 and 256 in flight.
var loads = []struct {
	name string
	run  func(ctx context.Context, c client, n, size int) error
}{
	{"channel-up", func(ctx context.Context, c client, n, size int) error { return c.up(ctx, n, make([]byte, size)) }},
	{"fnf", func(ctx context.Context, c client, n, size int) error { return c.forget(ctx, n, make([]byte, size)) }},
	{"stream-down", func(ctx context.Context, c client, n, size int) error { return c.down(ctx, n, size) }},
	{"rr-1", respond(1)},
	{"rr-64", respond(64)},
	{"rr-256", respond(256)},
}

func respond(inFlight int) func(context.Context, client, int, int) error {
	return func(ctx context.Context, c client, n, size int) error {
		return c.respond(ctx, n, inFlight, make([]byte, size))
	}
}

func loadNames() []string {
	var names []string
	for _, l := range loads {
		names = append(names, l.name)
	}
	return names
}

func stackNames() []string {
	var names []string
	for _, s := range stacks {
		names = append(names, s.name)
	}
	return names
}

// result is what one load took on one stack: the median round.
type result struct {
	Stack   string  `json:"stack"`
	Load    string  `json:"load"`
	Size    int     `json:"size"`
	Rate    float64 `json:"eventsPerSecond"`
	Server  float64 `json:"serverMicrosPerEvent"` // CPU
	Client  float64 `json:"clientMicrosPerEvent"` // CPU
	Mallocs float64 `json:"clientAllocsPerEvent"`
	Deaths  int     `json:"failures"` // rounds that were begun anew because the stack failed
}

// measure drives a load in processes of their own, since some stacks do not survive it, and returns the median round.
func measure(ctx context.Context, stackName, loadName string, size int, seconds float64, rounds int, pin bool) (result, error) {
	var all []result
	deaths := 0
	for len(all) < rounds {
		r, err := driveElsewhere(ctx, stackName, loadName, size, seconds, pin)
		if errors.Is(err, errNotOffered) || ctx.Err() != nil {
			return result{}, err
		}
		if err != nil {
			if deaths++; deaths > maxDeaths {
				return result{}, fmt.Errorf("failed %d times: %w", deaths, err)
			}
			continue
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.Rate, b.Rate) })
	r := all[len(all)/2]
	r.Deaths = deaths
	return r, nil
}

// driveElsewhere runs this program with -drive.
func driveElsewhere(ctx context.Context, stackName, loadName string, size int, seconds float64, pin bool) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := []string{"-drive", fmt.Sprintf("%s,%s,%d", stackName, loadName, size), "-seconds", fmt.Sprint(seconds), fmt.Sprintf("-pin=%t", pin)}
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := startOn(cmd, clientCPU, pin); err != nil {
		return result{}, err
	}
	err := cmd.Wait()
	out := stdout.Bytes()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.ExitCode() == exitNotOffered {
			return result{}, errNotOffered
		}
		return result{}, fmt.Errorf("%w: %.300s", exit, stderr.Bytes())
	}
	if err != nil {
		return result{}, err
	}
	var r result
	return r, json.Unmarshal(out, &r)
}

// The processors of the two sides. On a machine with two, threads of both are else moved from one to the other all the time,
// and what is measured is mostly that.
const (
	clientCPU = 0
	serverCPU = 1
)

// exitNotOffered is how a driving process says that the stack does not have the load.
const exitNotOffered = 3

// drive measures one round of "stack,load,size" against a new server and prints it.
func drive(ctx context.Context, what string, seconds float64, pin bool) error {
	parts := strings.Split(what, ",")
	if len(parts) != 3 {
		return fmt.Errorf("-drive %q: want stack,load,size", what)
	}
	s, ok := find(stacks, func(s stack) bool { return s.name == parts[0] })
	if !ok {
		return fmt.Errorf("unknown stack %q: use %s", parts[0], strings.Join(stackNames(), ", "))
	}
	i := slices.Index(loadNames(), parts[1])
	if i < 0 {
		return fmt.Errorf("unknown load %q: use %s", parts[1], strings.Join(loadNames(), ", "))
	}
	size, err := strconv.Atoi(parts[2])
	if err != nil {
		return err
	}
	srv, err := startServer(ctx, s, pin)
	if err != nil {
		return err
	}
	defer srv.stop()
	c, err := s.dial(ctx, srv.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	do := func(n int) error { return loads[i].run(ctx, c, n, size) }
	n, err := calibrate(do, seconds)
	if err != nil {
		return err
	}
	own := ownCPU
	if elsewhere, ok := c.(interface{ cpu() (time.Duration, error) }); ok {
		own = elsewhere.cpu
	}
	r, err := round(srv.cmd.Process.Pid, own, n, do)
	if err != nil {
		return err
	}
	r.Stack, r.Load, r.Size = parts[0], parts[1], size
	return json.NewEncoder(os.Stdout).Encode(r)
}

// maxDeaths is how often a stack may fail before its load is given up.
const maxDeaths = 10

func find[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var none T
	return none, false
}

// warmUp is how long a load runs before it is measured: a virtual machine has to compile its code first.
const warmUp = 3 * time.Second

// calibrate warms up and finds how many payloads take about the time.
func calibrate(do func(int) error, seconds float64) (int, error) {
	n := 500
	for begin := time.Now(); ; {
		start := time.Now()
		if err := do(n); err != nil {
			return 0, err
		}
		took := time.Since(start).Seconds()
		if time.Since(begin) >= warmUp && took >= seconds/8 {
			return int(float64(n) * seconds / took), nil
		}
		if took < seconds/4 {
			n *= 2
		}
	}
}

// round drives n payloads and counts what they took: the server's CPU time by its process id, the client's by client.
func round(pid int, client func() (time.Duration, error), n int, do func(int) error) (result, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	server, err := cpuOf(pid)
	if err != nil {
		return result{}, err
	}
	own, err := client()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	if err := do(n); err != nil {
		return result{}, err
	}
	took := time.Since(start)
	ownAfter, err := client()
	if err != nil {
		return result{}, err
	}
	serverAfter, err := cpuOf(pid)
	if err != nil {
		return result{}, err
	}
	runtime.ReadMemStats(&after)
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }
	return result{
		Rate: float64(n) / took.Seconds(), Server: per(serverAfter - server), Client: per(ownAfter - own),
		Mallocs: float64(after.Mallocs-before.Mallocs) / float64(n),
	}, nil
}

func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// cpuOf reads the CPU time of another process, which the kernel counts in hundredths of a second.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

type server struct {
	cmd    *exec.Cmd
	addr   string
	second string // of the WebSocket door, if the stack has one
	stdin  io.Closer
}

// startServer runs the stack's server in a process that ends with its standard input.
func startServer(ctx context.Context, s stack, pin bool) (*server, error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-serve", s.name)
	if s.command != nil {
		var err error
		if cmd, err = s.command(); err != nil {
			return nil, err
		}
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, serverCPU, pin); err != nil {
		return nil, err
	}
	srv := &server{cmd: cmd, stdin: stdin}
	lines := bufio.NewScanner(stdout)
	for _, to := range []*string{&srv.addr, &srv.second}[:cmp.Or(s.doors, 1)] {
		if !lines.Scan() {
			srv.stop()
			return nil, fmt.Errorf("the server printed no address: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
		}
		*to = strings.TrimSpace(lines.Text())
	}
	return srv, nil
}

func (s *server) stop() {
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
}

// serveStack is the server process.
func serveStack(ctx context.Context, name string) error {
	s, ok := find(append(slices.Clone(stacks), besiegedStack), func(s stack) bool { return s.name == name })
	if !ok || s.serve == nil {
		return fmt.Errorf("no server for %q here", name)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the driver goes
		cancel()
		os.Exit(0)
	}()
	return s.serve(ctx, ln)
}

// report prints rates, CPU and the ratios to weir.
func report(w io.Writer, results []result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\tbytes\tstack\tevents/s\tserver µs\tclient µs\tallocs\tweir's rate ×\tweir's server CPU ÷\tfailed\t")
	for _, r := range results {
		rate, cpu := "", ""
		if ours, ok := find(results, func(o result) bool { return o.Stack == "weir" && o.Load == r.Load && o.Size == r.Size }); ok {
			rate = fmt.Sprintf("%.2f", ours.Rate/r.Rate)
			cpu = fmt.Sprintf("%.2f", r.Server/ours.Server)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%d\t\n", r.Load, r.Size, r.Stack, r.Rate, r.Server, r.Client, r.Mallocs, rate, cpu, r.Deaths)
	}
	_ = t.Flush()
}
