package stores

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// TestFullDisk: commits to a disk that is full fail, say why, and leave nothing behind; with room again they go on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
	st, err := store.NewLocal(filepath.Join(dir, "table"))
	must(t, err)
	createTable(t, st)
	table, err := delta.Open(t.Context(), st, delta.Options{})
	must(t, err)
	ballast := filepath.Join(dir, "ballast")
	for size := 128 << 10; size >= 1; size /= 2 { // until not a byte is left
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		must(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		must(t, f.Close())
	}
	_, err = table.Commit(t.Context(), appending("lost"))
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, store.ErrNotWritten) || !delta.IsRetry(err) {
		t.Errorf("commit to a full disk: %v", err)
	}
	w, err := st.Create(t.Context(), "data")
	if err == nil {
		_, werr := w.Write(make([]byte, 64<<10))
		if cerr := w.Close(); werr == nil && cerr == nil {
			t.Error("a data file fits on a full disk")
		}
	}
	must(t, os.Remove(ballast))
	res, err := table.Commit(t.Context(), appending("kept"))
	must(t, err)
	must(t, table.Close(t.Context()))
	if s := checkLog(t, st, map[int64]string{res.Version: "kept"}); s.Contains("lost") || s.Version() != 1 {
		t.Errorf("version %d, with the commit that failed: %t", s.Version(), s.Contains("lost"))
	}
	entries, err := os.ReadDir(filepath.Join(dir, "table", "_delta_log"))
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// TestReadOnlyDisk: a table on a disk that cannot be written to is read, and refuses writers with the reason.
func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
	st, err := store.NewLocal(filepath.Join(dir, "table"))
	must(t, err)
	createTable(t, st)
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=256k"))
	if err := store.Probe(t.Context(), st, "_weir"); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("probe: %v", err)
	}
	table, err := delta.Open(t.Context(), st, delta.Options{})
	must(t, err)
	if _, err := table.Commit(t.Context(), appending("lost")); !errors.Is(err, syscall.EROFS) || !errors.Is(err, store.ErrNotWritten) {
		t.Errorf("commit: %v", err)
	}
	must(t, table.Close(t.Context()))
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=256k"))
	checkLog(t, st, nil)
}
