// Package conformance runs package delta beside deltalake and Spark on the same tables: each writes what the others read.
package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/test/harness"
)

// peer is a process that does to tables what it is told; see ../interop/java/SparkPeer.java. One serves all tests.
type peer struct {
	name  string
	start func(p *harness.Peers) (*exec.Cmd, error)

	mu  sync.Mutex // guards the fields below, and a question with its answer
	cmd *exec.Cmd  // nil: not started
	in  io.WriteCloser
	out *bufio.Reader
	log *os.File // what the process says on stderr
}

var deltalake = &peer{name: "deltalake", start: func(p *harness.Peers) (*exec.Cmd, error) {
	return p.Python(context.Background(), "delta_peer.py"), nil
}}

var spark = &peer{name: "Spark", start: func(p *harness.Peers) (*exec.Cmd, error) {
	return p.Java(context.Background(), "SparkPeer")
}}

func TestMain(m *testing.M) {
	if job := os.Getenv(writerEnv); job != "" {
		if err := writeAsChild(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	for _, p := range []*peer{deltalake, spark} {
		if err := p.stop(); err != nil {
			fmt.Fprintln(os.Stderr, p.name, err)
			code = 1
		}
	}
	os.Exit(code)
}

// command says what a peer shall do to which table.
type command map[string]any

// answer is a table as the peer then sees it.
type answer struct {
	Error   string
	Version int64
	Schema  string // as in the log
	Rows    []json.RawMessage
}

// peerError is what a peer said instead of doing it.
type peerError struct{ peer, text string }

func (e *peerError) Error() string { return e.peer + ": " + e.text }

// require starts the peer, unless it runs.
func (p *peer) require(t *testing.T) {
	t.Helper()
	peers := harness.RequirePeers(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return
	}
	if err := p.run(peers); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
}

func (p *peer) run(peers *harness.Peers) error {
	cmd, err := p.start(peers)
	if err != nil {
		return err
	}
	if p.log, err = os.CreateTemp("", "weir-conformance-"); err != nil {
		return err
	}
	cmd.Stderr = p.log
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	if _, err := p.out.ReadBytes('\n'); err != nil { // it says when it is ready
		return p.died(err)
	}
	return nil
}

// died adds to err what the process said last.
func (p *peer) died(err error) error {
	said, _ := os.ReadFile(p.log.Name())
	return fmt.Errorf("%w: %s", err, said[max(0, len(said)-4000):])
}

func (p *peer) stop() error {
	if p.cmd == nil {
		return nil
	}
	return errors.Join(p.in.Close(), p.cmd.Wait(), p.log.Close(), os.Remove(p.log.Name()))
}

// do has the peer do something. The error is a *peerError if the peer refuses; then the answer is empty.
func (p *peer) do(c command) (*answer, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, p.died(err)
	}
	said, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, p.died(err)
	}
	a := &answer{}
	if err := json.Unmarshal(said, a); err != nil {
		return nil, fmt.Errorf("%s said %.200q: %w", p.name, said, err)
	}
	if a.Error != "" {
		return nil, &peerError{p.name, a.Error}
	}
	return a, nil
}

// must is do for what has to work.
func (p *peer) must(t *testing.T, c command) *answer {
	t.Helper()
	a, err := p.do(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sql has Spark run statements.
func sql(t *testing.T, path string, statements ...string) *answer {
	t.Helper()
	return spark.must(t, command{"op": "sql", "path": path, "sql": statements})
}

// columns are the names and types that a peer sees.
func (a *answer) columns() (string, error) {
	s, err := schema.Parse(a.Schema)
	if err != nil {
		return "", err
	}
	return s.String(), nil
}
