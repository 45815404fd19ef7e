package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Weir is a running `weir run`.
type Weir struct {
	RSocket, HTTP, Metrics string // host:port
	Name                   string // of the pipeline
	Table                  string // directory

	cmd  *exec.Cmd
	log  logBuffer
	done chan struct{} // closed when the process has ended; err is set then
	err  error
}

// Pipeline is what the tests vary of a Pipeline; all else is default.
type Pipeline struct {
	Name        string // default "events"
	Table       string // directory of the table
	PartitionBy []string
	Memory      string   // spec.flow.memory
	Spec, Sink  string   // more lines of spec, and of spec.sink.delta, indented as they stand there
	Args        []string // more of them for weir run
	File        string   // the whole file, in place of what the other fields make
}

// YAML returns the file for `weir run`, with free ports.
func (p Pipeline) YAML() string {
	if p.File != "" {
		return p.File
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: weir.dev/v1alpha1\nkind: Pipeline\nmetadata:\n  name: %s\nspec:\n", p.Name)
	b.WriteString("  ingress:\n    rsocket: {port: 0}\n    http: {port: 0}\n  observability: {metricsPort: 0}\n")
	if p.Memory != "" {
		fmt.Fprintf(&b, "  flow: {memory: %s}\n", p.Memory)
	}
	fmt.Fprintf(&b, "  sink:\n    delta:\n      uri: %q\n", p.Table)
	if len(p.PartitionBy) > 0 {
		fmt.Fprintf(&b, "      partitionBy: [%s]\n", strings.Join(p.PartitionBy, ", "))
	}
	b.WriteString(p.Sink)
	b.WriteString(p.Spec)
	return b.String()
}

// Build returns the weir binary: WEIR_BIN, or one that is built once per process into dir.
func Build(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("WEIR_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "weir")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/weir")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := Output(cmd); err != nil {
		return "", fmt.Errorf("build weir: %w", err)
	}
	return bin, nil
}

// Run starts bin with a pipeline, in dir, and waits until its doors are open.
func Run(ctx context.Context, bin, dir string, p Pipeline) (*Weir, error) {
	if p.Name == "" {
		p.Name = "events"
	}
	file, ports := filepath.Join(dir, "pipeline.yaml"), filepath.Join(dir, "ports.json")
	if err := os.WriteFile(file, []byte(p.YAML()), 0o600); err != nil {
		return nil, fmt.Errorf("run weir: %w", err)
	}
	if err := os.Remove(ports); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("run weir: %w", err)
	}
	w := &Weir{Name: p.Name, Table: p.Table, done: make(chan struct{})}
	args := append([]string{"run", file, "--ports-file", ports}, p.Args...)
	w.cmd = exec.CommandContext(context.WithoutCancel(ctx), bin, args...) // Stop or Kill end it
	w.cmd.Stderr = &w.log
	w.cmd.Stdout = &w.log
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run weir: %w", err)
	}
	go func() {
		w.err = w.cmd.Wait()
		close(w.done)
	}()
	if err := w.ready(ctx, ports); err != nil {
		w.Kill()
		return nil, fmt.Errorf("run weir: %w\n%s", err, w.Log())
	}
	return w, nil
}

func (w *Weir) ready(ctx context.Context, ports string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := Poll(ctx, 20*time.Millisecond, func() (bool, error) {
		select {
		case <-w.done:
			return false, fmt.Errorf("it ended: %w", w.err)
		default:
		}
		_, err := os.Stat(ports)
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	b, err := os.ReadFile(ports)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &struct{ RSocket, HTTP, Metrics *string }{&w.RSocket, &w.HTTP, &w.Metrics})
}

// Port returns the port of the RSocket door.
func (w *Weir) Port() string { return w.RSocket[strings.LastIndexByte(w.RSocket, ':')+1:] }

// PID returns the process id.
func (w *Weir) PID() int { return w.cmd.Process.Pid }

// Log returns what the process has printed.
func (w *Weir) Log() string { return w.log.String() }

// Stop sends SIGTERM and waits for the end, which must come within a minute and with status 0.
func (w *Weir) Stop() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop weir: %w", err)
	}
	select {
	case <-w.done:
	case <-time.After(time.Minute):
		w.Kill()
		return fmt.Errorf("stop weir: it went on for a minute after SIGTERM\n%s", w.Log())
	}
	if w.err != nil {
		return fmt.Errorf("stop weir: %w\n%s", w.err, w.Log())
	}
	return nil
}

// Kill ends the process at once. It may have ended already.
func (w *Weir) Kill() {
	w.cmd.Process.Kill() //nolint:errcheck // it fails only if the process has ended
	<-w.done
}

// Metric returns the sum of all series of a metric.
func (w *Weir) Metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.Metrics+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("metric %s: %w", name, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("metric %s: %w", name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, fmt.Errorf("metric %s: %w", name, err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("metric %s: not exported", name)
	}
	return sum, nil
}

// Poll calls done at once and then every interval until it is true or fails, or ctx ends.
func Poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logBuffer keeps the end of what a process prints.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const keep = 1 << 20
	if l.b.Len() > keep {
		l.b.Next(keep / 2)
	}
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
