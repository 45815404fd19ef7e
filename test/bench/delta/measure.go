package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// usage is what a process took.
type usage struct {
	CPU, Wall time.Duration
	Peak      int64 // bytes of resident memory
}

// run runs a contestant and reads what it prints, a JSON object, into out.
func run(cmd *exec.Cmd, out any) (usage, error) {
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%v: %w", cmd.Args[1:], err)
	}
	u := usage{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.Peak = r.Maxrss << 10
	}
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], out); err != nil {
		return u, fmt.Errorf("%v: %w: %s", cmd.Args[1:], err, stdout.String())
	}
	return u, nil
}

// self is this program with other arguments.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	bin, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, bin, args...), nil
}

// report prints a contestant's results as JSON.
func report(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// cloneTable makes a table that shares the data files of another: they never change.
func cloneTable(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case filepath.Ext(path) == ".parquet":
			return os.Link(path, target) //nolint:gosec // the tree is of this run alone
		default:
			return copyFile(path, target)
		}
	})
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// The kinds of bytes that a table's store takes.
const (
	dataBytes = iota
	vectorBytes
	logBytes
	checkpointBytes
	tombstoneBytes
	kinds
)

var kindNames = [kinds]string{"data", "deletion vectors", "log", "checkpoints", "tombstones"}

func kindOf(key string) int {
	switch {
	case strings.HasPrefix(key, "_delta_log/") && strings.HasSuffix(key, ".json"):
		return logBytes
	case strings.HasPrefix(key, "_delta_log/"):
		return checkpointBytes
	case strings.HasPrefix(key, "_weir/tombstones/"):
		return tombstoneBytes
	case strings.HasPrefix(key, "deletion_vector_"):
		return vectorBytes
	}
	return dataBytes
}

// counting is a store that counts the bytes written to it.
type counting struct {
	store.Store
	written [kinds]atomic.Int64
}

// written are bytes by kind.
type written [kinds]int64

func (w written) all() (n int64) {
	for _, bytes := range w {
		n += bytes
	}
	return n
}

func (c *counting) soFar() (out written) {
	for i := range out {
		out[i] = c.written[i].Load()
	}
	return out
}

func (c *counting) Put(ctx context.Context, key string, data []byte) error {
	c.written[kindOf(key)].Add(int64(len(data)))
	return c.Store.Put(ctx, key, data)
}

func (c *counting) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	c.written[kindOf(key)].Add(int64(len(data)))
	return c.Store.PutIfAbsent(ctx, key, data)
}

func (c *counting) Create(ctx context.Context, key string) (store.Writer, error) {
	w, err := c.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &countingWriter{w, &c.written[kindOf(key)]}, nil
}

type countingWriter struct {
	store.Writer
	written *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.written.Add(int64(n))
	return n, err
}

// python is the interpreter that has deltalake.
func python() (string, error) {
	for _, path := range []string{os.Getenv("WEIR_PYTHON"), ".cache/venv/bin/python"} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Python with deltalake: run make peers, or set WEIR_PYTHON")
}

// out is where the report goes.
func out(file string) (io.Writer, func() error, error) {
	if file == "" {
		return os.Stdout, func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, nil, err
	}
	return io.MultiWriter(os.Stdout, f), f.Close, nil
}

// withReport runs do with where its report goes and with a directory for its tables.
func withReport(file string, do func(w io.Writer, dir string) error) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, done, err := out(file)
	if err != nil {
		return err
	}
	return errors.Join(do(w, dir), done())
}

// contestant is the process of weir or of another in a part of the benchmark.
func contestant(ctx context.Context, who, part string, args ...string) (*exec.Cmd, error) {
	if who == "weir" {
		return self(ctx, append([]string{"-" + part}, args...)...)
	}
	py, err := python()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, py, append([]string{"test/bench/delta/peer.py", part}, args...)...), nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
