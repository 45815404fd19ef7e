package delta

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-dev/weir/delta/store"
)

// VacuumOptions say what [Table.Vacuum] may delete.
type VacuumOptions struct {
	// Retention is the age from which on a file that the table does not use may go; 0 means what the table says
	// (delta.deletedFileRetentionDuration, a week if it says nothing). It cannot be longer, since the log forgets
	// removed files after that time. A shorter one needs Force: it breaks readers and writers that are still busy with such files.
	Retention time.Duration
	Force     bool
	DryRun    bool // delete nothing
	DataFiles bool // only what looks like a file of the table: data files and deletion vectors
}

// VacuumResult says what was deleted, or would be.
type VacuumResult struct {
	Files []string // keys in the store
	Bytes int64
}

// RetentionError refuses a retention. See [VacuumOptions].
type RetentionError struct{ Wanted, Table time.Duration }

func (e *RetentionError) Error() string {
	if e.Wanted > e.Table {
		return fmt.Sprintf("vacuum: a retention of %s is longer than the table's log remembers removed files (%s)", e.Wanted, e.Table)
	}
	return fmt.Sprintf("vacuum: a retention of %s is shorter than the table's (%s) and may break running readers and writers; force it if there are none", e.Wanted, e.Table)
}

// sweeper is a store that knows of leftovers which its listings hide.
type sweeper interface {
	Sweep(ctx context.Context, before time.Time) (int, error)
}

// unfinishedFor is how long a temporary file may be of someone who still writes it, such as a commit or a checkpoint in the
// background, whatever retention is forced.
const unfinishedFor = time.Hour

// Vacuum deletes files that the table no longer uses: removed from it, or never committed, for longer than the retention.
// Directories that begin with _ or . are left alone, unless they are those of a partition.
//
// Errors: *RetentionError, *UnsupportedFeatureError, *PathError (the log names files outside of the store, among which one
// below it could hide), those of the store. Files deleted so far are in the result.
func (t *Table) Vacuum(ctx context.Context, o VacuumOptions) (VacuumResult, error) {
	s, err := t.Update(ctx)
	if err != nil {
		return VacuumResult{}, err
	}
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return VacuumResult{}, err
	}
	retention, err := s.vacuumRetention(o)
	if err != nil {
		return VacuumResult{}, err
	}
	now := t.opt.Now()
	before := now.Add(-retention)
	unused, err := s.unused(ctx, before, o.DataFiles)
	if err != nil || o.DryRun {
		return sumUp(unused), err
	}
	if sw, ok := t.store.(sweeper); ok {
		if _, err := sw.Sweep(ctx, now.Add(-max(retention, unfinishedFor))); err != nil {
			return VacuumResult{}, fmt.Errorf("vacuum: %w", err)
		}
	}
	gone, err := deleteAll(ctx, t.store, unused)
	if err != nil {
		return sumUp(gone), fmt.Errorf("vacuum: %w", err)
	}
	return sumUp(gone), nil
}

func (s *Snapshot) vacuumRetention(o VacuumOptions) (time.Duration, error) {
	own := s.intervalProperty("delta.deletedFileRetentionDuration", defaultTombstoneRetention)
	if o.Retention == 0 && !o.Force {
		return own, nil
	}
	if o.Retention < 0 || o.Retention > own || o.Retention < own && !o.Force {
		return 0, &RetentionError{Wanted: o.Retention, Table: own}
	}
	return o.Retention, nil
}

// unused lists the objects last written before the given time that the table does not use and has not used since.
func (s *Snapshot) unused(ctx context.Context, before time.Time, dataFiles bool) ([]store.Info, error) {
	used, err := s.used(before)
	if err != nil {
		return nil, fmt.Errorf("vacuum: %w", err)
	}
	var unused []store.Info
	for info, err := range s.store.List(ctx, "", "") {
		if err != nil {
			return nil, fmt.Errorf("vacuum: %w", err)
		}
		if !used[info.Key] && info.Modified.Before(before) && !s.hidden(info.Key) && (!dataFiles || isDataFile(info.Key)) {
			unused = append(unused, info)
		}
	}
	return unused, nil
}

// isDataFile says whether a key has the name of a data file, or of a file of deletion vectors.
func isDataFile(key string) bool {
	name := path.Base(key)
	return strings.HasSuffix(name, ".parquet") || strings.HasPrefix(name, "deletion_vector_") && strings.HasSuffix(name, ".bin")
}

// used are the keys of the files in the table and of those removed since the given time.
func (s *Snapshot) used(since time.Time) (map[string]bool, error) {
	used := make(map[string]bool, s.files.len)
	keep := func(path string, dv *DeletionVector) error {
		keys, err := fileKeys(path, dv)
		for _, key := range keys {
			used[key] = true
		}
		return err
	}
	for _, a := range s.files.all() {
		if err := keep(a.Path, a.DeletionVector); err != nil {
			return nil, err
		}
	}
	for _, r := range s.tombstones.all() {
		if r.DeletionTimestamp < since.UnixMilli() {
			continue
		}
		if err := keep(r.Path, r.DeletionVector); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// hidden says whether a key is in a place that is not for data files: the log, the state of applications.
func (s *Snapshot) hidden(key string) bool {
	key = strings.TrimPrefix(key, changeDir) // the change data feed is kept as long as removed files are
	for part := range strings.SplitSeq(key, "/") {
		if !strings.HasPrefix(part, "_") && !strings.HasPrefix(part, ".") {
			continue
		}
		name, _, ok := strings.Cut(part, "=")
		if !ok || !slices.ContainsFunc(s.metadata.PartitionColumns, func(c string) bool { return escapeHive(c) == name }) {
			return true
		}
	}
	return false
}

// deleteAll deletes objects several at a time and returns those that are gone.
func deleteAll(ctx context.Context, st store.Store, objects []store.Info) ([]store.Info, error) {
	gone := make([]store.Info, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for i, o := range objects {
		group.Go(func() error {
			err := st.Delete(ctx, o.Key)
			if err == nil {
				gone[i] = o
			}
			return err
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(gone, func(o store.Info) bool { return o.Key == "" }), err
}

func sumUp(objects []store.Info) VacuumResult {
	r := VacuumResult{Files: make([]string, len(objects))}
	for i, o := range objects {
		r.Files[i] = o.Key
		r.Bytes += o.Size
	}
	return r
}
