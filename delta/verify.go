package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// Problem is something that is not as it should be.
type Problem struct {
	Path   string // of the data file, as in the log; empty when it is about the log
	Reason string
}

// VerifyReport is what [Table.Verify] found.
type VerifyReport struct {
	Version     int64
	Files       int
	Rows, Bytes int64     // that can be read
	Problems    []Problem // ordered by path
}

// VerifyOptions say how deep [Table.Verify] looks.
type VerifyOptions struct {
	Rows bool // read every row, not only the files' footers
}

// Verify looks whether the table is whole: each file is there, of the size and with the number of rows that the log says,
// its deletion vector can be read, and the newest checkpoint agrees with the log entries as far as they go back.
//
// What is wrong with the table is in the report; the error is about the verification: those of [Table.Update], of the store
// and of ctx.
func (t *Table) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	s, err := t.Update(ctx)
	if err != nil {
		return VerifyReport{}, err
	}
	v := verifier{s: s, o: o, report: VerifyReport{Version: s.version, Files: s.files.len}}
	if err := v.files(ctx); err != nil {
		return VerifyReport{}, fmt.Errorf("verify: %w", err)
	}
	if err := v.log(ctx); err != nil {
		return VerifyReport{}, fmt.Errorf("verify: %w", err)
	}
	slices.SortFunc(v.report.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	return v.report, nil
}

type verifier struct {
	s *Snapshot
	o VerifyOptions

	mu     sync.Mutex // guards report
	report VerifyReport
}

func (v *verifier) problem(path, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Problems = append(v.report.Problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (v *verifier) files(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for _, a := range v.s.files.all() {
		group.Go(func() error { return v.file(ctx, a) })
	}
	return group.Wait()
}

// file checks one file. An error is one of the store.
func (v *verifier) file(ctx context.Context, a *Add) error {
	key, err := DataKey(a.Path)
	if err != nil {
		v.problem(a.Path, "%v", err)
		return nil
	}
	r, err := v.s.store.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		v.problem(a.Path, "the file is missing")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read
	if r.Size() != a.Size {
		v.problem(a.Path, "the file has %d bytes, the log says %d", r.Size(), a.Size)
	}
	f, err := parquet.Open(r, r.Size())
	if err != nil {
		return v.unreadable(ctx, a, err)
	}
	deleted, err := loadDeletionVector(ctx, v.s.store, a, f.Rows())
	if err != nil {
		return v.unreadable(ctx, a, err)
	}
	rows := f.Rows() - deleted.len()
	if n, ok := a.NumRecords(); ok && n != rows {
		v.problem(a.Path, "the file has %d rows, its statistics say %d", rows, n)
	}
	if v.o.Rows {
		if err := v.rows(ctx, a); err != nil {
			return v.unreadable(ctx, a, err)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Rows += rows
	v.report.Bytes += r.Size()
	return nil
}

func (v *verifier) rows(ctx context.Context, a *Add) error {
	for _, err := range v.s.readOne(ctx, a) {
		if err != nil {
			return err
		}
	}
	return nil
}

// unreadable notes that a file cannot be read, unless it is the context that ended.
func (v *verifier) unreadable(ctx context.Context, a *Add, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v.problem(a.Path, "%v", err)
	return nil
}

// log compares the snapshot as it is loaded, which is from the newest checkpoint, with what the entries alone add up to.
func (v *verifier) log(ctx context.Context) error {
	loaded, seg, err := load(ctx, v.s.store, v.s.version)
	if err != nil {
		return err
	}
	v.compare("the open table", &loaded.state, &v.s.state)
	if seg.checkpoint == nil {
		return nil
	}
	var replayed state
	err = readEntries(ctx, v.s.store, 0, v.s.version, func(e *entry) {
		for i := range e.actions {
			replayed.apply(&e.actions[i])
		}
	})
	if errors.Is(err, store.ErrNotExist) {
		return nil // cleaned up, so that only the checkpoint knows
	}
	if corrupt, ok := errors.AsType[*CorruptLogError](err); ok {
		v.problem("", "%v", corrupt)
		return nil
	}
	if err != nil {
		return err
	}
	v.compare(fmt.Sprintf("the checkpoint of version %d", seg.base()), &replayed, &loaded.state)
	return nil
}

// compare notes where a state differs from the one that it should be.
func (v *verifier) compare(what string, want, got *state) {
	for id, a := range want.files.all() {
		if _, ok := got.files.get(id); !ok {
			v.problem(a.Path, "%s lacks the file", what)
		}
	}
	for id, a := range got.files.all() {
		if _, ok := want.files.get(id); !ok {
			v.problem(a.Path, "%s has the file, which is not in the table", what)
		}
	}
	for app, txn := range want.txns.all() {
		if own, ok := got.txns.get(app); !ok || own.Version != txn.Version {
			v.problem("", "%s has another transaction version of %s than %d", what, app, txn.Version)
		}
	}
	if want.metadata == nil || got.metadata == nil || want.metadata.SchemaString != got.metadata.SchemaString || want.metadata.ID != got.metadata.ID {
		v.problem("", "%s has other metadata", what)
	}
}
