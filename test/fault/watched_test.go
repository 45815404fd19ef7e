package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/harness"
)

// watched is the server's process with what it has said.
type watched struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr strings.Builder
	table  string

	mu    sync.Mutex // guards seen and ended
	more  *sync.Cond // seen has grown, or ended is true
	seen  []snapshot
	ended bool
}

func startServer(t *testing.T) *watched {
	t.Helper()
	w := &watched{table: filepath.Join(t.TempDir(), "table")}
	w.more = sync.NewCond(&w.mu)
	var err error
	if w.cmd, err = play(context.WithoutCancel(t.Context()), "server", w.table, strconv.Itoa(memory)); err != nil {
		t.Fatal(err)
	}
	w.cmd.Stderr = &w.stderr
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		w.read(out)
	}()
	t.Cleanup(func() {
		w.cmd.Process.Kill() //nolint:errcheck // it fails only if the process has ended
		<-read
		w.cmd.Wait() //nolint:errcheck // stop has looked at the status
	})
	return w
}

func (w *watched) read(out io.Reader) {
	for lines := json.NewDecoder(out); ; {
		var s snapshot
		err := lines.Decode(&s)
		w.mu.Lock()
		if err != nil {
			w.ended = true
		} else {
			w.seen = append(w.seen, s)
		}
		w.more.Broadcast()
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// next waits for a new snapshot; false says that the server has ended.
func (w *watched) next() (snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := len(w.seen); len(w.seen) == n; {
		if w.ended {
			return snapshot{}, false
		}
		w.more.Wait()
	}
	return w.seen[len(w.seen)-1], true
}

// until waits for a snapshot that is as wanted.
func (w *watched) until(t *testing.T, what string, is func(snapshot) bool) snapshot {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		s, ok := w.next()
		switch {
		case !ok:
			t.Fatalf("the server ended before %s\n%s", what, w.stderr.String())
		case is(s):
			return s
		case time.Now().After(deadline):
			t.Fatalf("waited in vain until %s: %+v", what, s)
		}
	}
}

// after returns the first snapshot after a while.
func (w *watched) after(t *testing.T, d time.Duration) snapshot {
	t.Helper()
	end := time.Now().Add(d)
	return w.until(t, d.String()+" have passed", func(snapshot) bool { return time.Now().After(end) })
}

// addr returns the address of the RSocket door.
func (w *watched) addr(t *testing.T) string {
	t.Helper()
	return w.until(t, "it is up", func(snapshot) bool { return true }).Addr
}

func (w *watched) tell(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(w.stdin, command); err != nil {
		t.Fatal(err)
	}
}

// stop ends the server and returns the most memory, in bytes, that was resident at any time.
func (w *watched) stop(t *testing.T) int64 {
	t.Helper()
	used, err := harness.ReadUsage(w.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	for ok := true; ok; {
		_, ok = w.next()
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("server: %v\n%s", err, w.stderr.String())
	}
	return used.Peak
}
