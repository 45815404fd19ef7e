package delta_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// stepsEnv makes this test binary commit one row and then checkpoint: "directory id".
const stepsEnv = "WEIR_DELTA_TEST_STEPS"

// commitAsChild commits a row with the id, says so, checkpoints and says so.
func commitAsChild(job string) error {
	dir, id, _ := strings.Cut(job, " ")
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return err
	}
	ctx := context.Background()
	st, err := store.NewLocal(dir)
	if err != nil {
		return err
	}
	table, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return err
	}
	b := column.NewBatch(oneColumn)
	b.Columns[0].AppendInt64(n)
	b.Seal(1)
	adds, err := table.WriteData(ctx, oneColumn, nil, []*column.Batch{b}, parquet.WriterOptions{})
	if err != nil {
		return err
	}
	res, err := table.Commit(ctx, fixed(delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "committed", res.Version)
	if err := table.Checkpoint(ctx); err != nil {
		return err
	}
	return table.Close(ctx)
}

// moment of a system call at which the process is killed.
type moment string

const (
	before  moment = "before"
	halfway moment = "halfway" // of a write: half of the bytes are written
	after   moment = "after"
)

// steps are the system calls that change files.
var steps = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_LINKAT: "linkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_FTRUNCATE: "ftruncate",
}

// tracer follows a process from system call to system call and kills it at one of them.
type tracer struct {
	pid    int // of the first thread
	dir    string
	kill   int // which step, from 1; 0: none
	when   moment
	inside map[int]bool // threads in a system call
	cut    map[int]bool // threads whose write was cut: they die when it ends

	step   int // steps begun so far
	name   string
	killed bool
}

// run traces to the end of the process. The caller is locked to its thread, which started the process.
func (t *tracer) run() error {
	t.inside, t.cut = map[int]bool{}, map[int]bool{}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &ws, syscall.WALL, nil); err != nil {
		return err
	}
	const exitKill = 0x100000
	if err := syscall.PtraceSetOptions(t.pid, syscall.PTRACE_O_TRACESYSGOOD|syscall.PTRACE_O_TRACECLONE|exitKill); err != nil {
		return err
	}
	for thread := t.pid; ; {
		signal := 0
		if ws.Stopped() {
			signal = t.stopped(thread, ws)
		}
		if err := syscall.PtraceSyscall(thread, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		var err error
		if thread, err = wait(&ws); err != nil {
			return err
		}
		for ws.Exited() || ws.Signaled() {
			if thread == t.pid {
				return nil
			}
			if thread, err = wait(&ws); err != nil {
				return err
			}
		}
	}
}

func wait(ws *syscall.WaitStatus) (thread int, err error) {
	for {
		thread, err = syscall.Wait4(-1, ws, syscall.WALL, nil)
		if !errors.Is(err, syscall.EINTR) {
			return thread, err
		}
	}
}

// stopped handles a stop, and returns the signal to hand on.
func (t *tracer) stopped(thread int, ws syscall.WaitStatus) int {
	const systemCall = syscall.SIGTRAP | 0x80
	switch s := ws.StopSignal(); s {
	case systemCall:
		t.call(thread)
	case syscall.SIGTRAP, syscall.SIGSTOP: // a new thread, or exec
	default:
		return int(s)
	}
	return 0
}

// call is the begin or end of a system call.
func (t *tracer) call(thread int) {
	var regs syscall.PtraceRegs
	if t.killed || syscall.PtraceGetRegs(thread, &regs) != nil {
		return
	}
	t.inside[thread] = !t.inside[thread]
	if !t.inside[thread] {
		if t.cut[thread] {
			t.die()
		}
		return
	}
	name, ok := t.changes(thread, &regs)
	if !ok {
		return
	}
	if t.step++; t.step != t.kill {
		return
	}
	t.name = name
	switch t.when {
	case before:
		t.die()
	case halfway:
		if regs.Rdx /= 2; !strings.HasSuffix(name, "write") && !strings.HasSuffix(name, "write64") || syscall.PtraceSetRegs(thread, &regs) != nil {
			t.die()
		}
		t.cut[thread] = true
	case after:
		t.cut[thread] = true
	}
}

func (t *tracer) die() {
	t.killed = true
	_ = syscall.Kill(t.pid, syscall.SIGKILL)
}

// changes says whether the system call that begins changes a file of the table.
func (t *tracer) changes(thread int, regs *syscall.PtraceRegs) (string, bool) {
	name, ok := steps[regs.Orig_rax]
	switch regs.Orig_rax {
	case unix.SYS_OPENAT:
		return name, regs.Rdx&unix.O_CREAT != 0
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE:
		file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", thread, regs.Rdi))
		return name, err == nil && strings.HasPrefix(file, t.dir)
	}
	return name, ok
}

// killedAt runs a child and kills it at a step. It returns whether the child said that its commit is made, and the step;
// an empty name says that the child ended before it.
func killedAt(t *testing.T, dir string, id int64, kill int, when moment) (acked bool, steps int, name string) {
	t.Helper()
	runtime.LockOSThread() // all of ptrace is by one thread
	defer runtime.UnlockOSThread()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", stepsEnv, dir, id))
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	out, in, err := os.Pipe()
	must(t, err)
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("NOT TESTED: this machine does not allow ptrace: %v", err)
	}
	must(t, err)
	must(t, in.Close())
	tr := &tracer{pid: cmd.Process.Pid, dir: dir, kill: kill, when: when}
	must(t, tr.run())
	must(t, cmd.Process.Release())
	said, err := io.ReadAll(bufio.NewReader(out))
	must(t, err)
	must(t, out.Close())
	if !tr.killed && !strings.HasPrefix(string(said), "committed") {
		t.Fatalf("the child failed: %s", said)
	}
	return strings.HasPrefix(string(said), "committed"), tr.step, tr.name
}

// TestKilledAtEveryStep kills a writer with SIGKILL before, halfway in and after each system call by which a commit and a
// checkpoint change files. Whatever is left is a table that the next writer goes on with: every acknowledged row is in it
// once, every other one at most once.
func TestKilledAtEveryStep(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	rounds, _ := strconv.Atoi(os.Getenv("WEIR_KILL_ROUNDS"))
	for range max(1, rounds) {
		killAtEveryStep(t)
	}
}

func killAtEveryStep(t *testing.T) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	st := localStore(t, dir)
	create(t, st, delta.CreateOptions{})
	acked := map[string]bool{}
	id, kills, where := int64(0), 0, map[string]int{}
	for kill := 1; ; kill++ {
		ended := true
		for _, when := range []moment{before, halfway, after} {
			id++
			ok, steps, name := killedAt(t, dir, id, kill, when)
			acked[fmt.Sprintf("map[id:%d]", id)] = ok
			checkSurvivor(t, st, acked, fmt.Sprintf("killed %s step %d, %s", when, kill, name))
			if steps >= kill {
				ended = false
				kills++
				where[name]++
			}
		}
		if ended {
			break
		}
	}
	if kills < 30 || where["linkat"] == 0 || where["fsync"] == 0 {
		t.Errorf("only %d kills: %v", kills, where)
	}
	t.Logf("killed %d times, version %d: %v", kills, open(t, st, delta.Options{}).Snapshot().Version(), where)
	if os.Getenv("WEIR_PYTHON") != "" {
		if theirs := sortedRows(t, peer(t, "rows", dir)); len(theirs) != len(rows(t, open(t, st, delta.Options{}).Snapshot(), nil)) {
			t.Errorf("deltalake reads %d rows", len(theirs))
		}
	}
}

// checkSurvivor reads all of a table. An unacknowledged row that is there now must stay: it counts as acknowledged then.
func checkSurvivor(t *testing.T, st store.Store, acked map[string]bool, what string) {
	t.Helper()
	table, err := delta.Open(t.Context(), st, delta.Options{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	times := map[string]int{}
	for _, row := range rows(t, table.Snapshot(), nil) {
		times[row]++
	}
	for row, ok := range acked {
		if times[row] > 1 || ok && times[row] == 0 {
			t.Errorf("%s: %s is %d times in the table, acknowledged: %v", what, row, times[row], ok)
		}
		acked[row] = ok || times[row] == 1
	}
	must(t, table.Close(t.Context()))
}
