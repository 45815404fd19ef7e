package delta

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/weir-dev/weir/delta/store"
)

// probes is how many objects are looked at or deleted at a time.
const probes = 16

// Restore makes the table hold what it held at an earlier version, as a new version: files that have gone come back,
// files that have come go, the metadata is that of then. Transaction versions stay, so that applications go on where they
// are. The protocol stays too.
//
// Errors: those of [OpenAt] and [Table.Commit], *MissingFileError (a file was vacuumed: nothing is changed).
func (t *Table) Restore(ctx context.Context, version int64) (CommitResult, error) {
	old, err := OpenAt(ctx, t.store, version)
	if err != nil {
		return CommitResult{}, fmt.Errorf("restore: %w", err)
	}
	if _, err := t.Update(ctx); err != nil {
		return CommitResult{}, err
	}
	return t.Commit(ctx, func(ctx context.Context, s *Snapshot) (*Transaction, error) {
		if old.metadata.ID != s.metadata.ID {
			return nil, ErrTableRecreated
		}
		tx := restoring(old, s)
		if err := checkFiles(ctx, t.store, tx.Adds); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		return tx, nil
	})
}

// RestorePlan is what a [Table.Restore] would do.
type RestorePlan struct {
	Version                  int64 // of the table now
	FilesAdded, FilesRemoved int
	BytesAdded, BytesRemoved int64
	Metadata                 bool // schema or properties change
}

// PlanRestore says what a Restore would do, and changes nothing. Errors: those of Restore.
func (t *Table) PlanRestore(ctx context.Context, version int64) (RestorePlan, error) {
	old, err := OpenAt(ctx, t.store, version)
	if err != nil {
		return RestorePlan{}, fmt.Errorf("restore: %w", err)
	}
	s, err := t.Update(ctx)
	if err != nil {
		return RestorePlan{}, err
	}
	tx := restoring(old, s)
	if err := checkFiles(ctx, t.store, tx.Adds); err != nil {
		return RestorePlan{}, fmt.Errorf("restore: %w", err)
	}
	p := RestorePlan{Version: s.version, FilesAdded: len(tx.Adds), FilesRemoved: len(tx.Removes), Metadata: tx.Metadata != nil}
	for i := range tx.Adds {
		p.BytesAdded += tx.Adds[i].Size
	}
	for i := range tx.Removes {
		p.BytesRemoved += tx.Removes[i].Size
	}
	return p, nil
}

// restoring is the transaction that makes old of s.
func restoring(old, s *Snapshot) *Transaction {
	tx := &Transaction{
		Operation:  "RESTORE",
		Parameters: map[string]any{"version": strconv.FormatInt(old.version, 10), "timestamp": ""},
		Reads:      ReadSet{Whole: true},
		restores:   true,
	}
	if now := s.metadata; now.SchemaString != old.metadata.SchemaString || !sameMetadata(now, old.metadata) {
		md := old.metadata.clone()
		tx.Metadata = &md
	}
	var restored, removed int64
	for id, a := range old.files.all() {
		if _, ok := s.files.get(id); !ok {
			add := *a
			add.DataChange = true
			tx.Adds = append(tx.Adds, add)
			restored += a.Size
		}
	}
	for id, a := range s.files.all() {
		if _, ok := old.files.get(id); !ok {
			tx.Removes = append(tx.Removes, a.remove(true))
			removed += a.Size
		}
	}
	tx.Metrics = map[string]string{
		"numRestoredFiles": strconv.Itoa(len(tx.Adds)), "numRemovedFiles": strconv.Itoa(len(tx.Removes)),
		"restoredFilesSize": strconv.FormatInt(restored, 10), "removedFilesSize": strconv.FormatInt(removed, 10),
	}
	return tx
}

func sameMetadata(a, b *Metadata) bool {
	x, errx := encodeActions([]action{{Metadata: a}})
	y, erry := encodeActions([]action{{Metadata: b}})
	return errx == nil && erry == nil && string(x) == string(y)
}

// remove is the action that takes the file out of the table.
func (a *Add) remove(dataChange bool) Remove {
	return Remove{
		Path: a.Path, DataChange: dataChange, PartitionValues: a.PartitionValues, Size: a.Size, Tags: a.Tags,
		DeletionVector: a.DeletionVector, BaseRowID: a.BaseRowID, DefaultRowCommitVersion: a.DefaultRowCommitVersion,
	}
}

// checkFiles looks whether the files, and those of their deletion vectors, are there. Error: *MissingFileError.
func checkFiles(ctx context.Context, st store.Store, adds []Add) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for i := range adds {
		group.Go(func() error {
			keys, err := adds[i].keys()
			for _, key := range keys {
				if err == nil {
					err = probe(ctx, st, key)
				}
			}
			if errors.Is(err, store.ErrNotExist) {
				return &MissingFileError{Path: adds[i].Path}
			}
			return err
		})
	}
	return group.Wait()
}

func probe(ctx context.Context, st store.Store, key string) error {
	r, err := st.Open(ctx, key)
	if err != nil {
		return err
	}
	return r.Close()
}

// keys are the store keys of what the action refers to.
func (a *Add) keys() ([]string, error) { return fileKeys(a.Path, a.DeletionVector) }

func fileKeys(path string, dv *DeletionVector) ([]string, error) {
	key, err := DataKey(path)
	if err != nil {
		return nil, err
	}
	keys := []string{key}
	if dv != nil && dv.StorageType != "i" {
		if key, err = dv.key(); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
