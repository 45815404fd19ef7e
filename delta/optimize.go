package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/parquet"
)

// wornShare is the part of a file's rows, one of so many, beyond which the deleted ones are worth writing it anew.
const wornShare = 20

// OptimizeOptions say how [Table.Optimize] packs files. The zero value is useful.
type OptimizeOptions struct {
	TargetSize int64             // bytes of a file; 0 means delta.targetFileSize, or 128 MiB
	Where      func(a *Add) bool // which files to look at; nil means all
	Memory     int64             // bytes of rows held at a time; 0 means 256 MiB. It bounds the row groups.
	RoundBytes int64             // of the files that one commit replaces; 0 means 1 GiB

	// ZOrder are columns along whose Z-order curve the rows of each partition are sorted, so that files are skipped by
	// the statistics of any of them; at most 8, none of them a partition column. Empty: rows keep their order. A partition
	// is left alone if all its files are sorted so already. One that is larger than RoundBytes is sorted in runs.
	ZOrder []string

	Parquet parquet.WriterOptions

	// Pause is called every few thousand rows and may wait; an error of it ends the work. Nil: never.
	Pause func(ctx context.Context) error
	// Turn is called before each commit, and what it returns after it. Nil: never.
	Turn func(ctx context.Context) (done func(), err error)

	DryRun bool // only say what would be done: files and bytes replaced, and about how many files come out

	auto bool // nobody asked for it
}

func (o OptimizeOptions) withDefaults(s *Snapshot) OptimizeOptions {
	if o.TargetSize <= 0 {
		o.TargetSize = s.sizeProperty("delta.targetFileSize", 128<<20)
	}
	if o.Memory <= 0 {
		o.Memory = 256 << 20
	}
	if o.RoundBytes <= 0 {
		o.RoundBytes = 1 << 30
	}
	if o.Pause == nil {
		o.Pause = func(ctx context.Context) error { return ctx.Err() }
	}
	if o.Turn == nil {
		o.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	}
	return o
}

// OptimizeResult says what [Table.Optimize] did.
type OptimizeResult struct {
	Commits                  int
	FilesAdded, FilesRemoved int
	BytesAdded, BytesRemoved int64
}

// Optimize packs small files of a partition into larger ones, the rows in the order in which the files were made, or sorts
// them by Z-order. Packing also writes large files anew of whose rows more than a twentieth are deleted, as Spark's OPTIMIZE
// does. The rows stay the same, so the commits say dataChange = false and streams that follow the table do not see them. Appends by others
// go on meanwhile. The old files stay until they are vacuumed.
//
// Errors: *ZOrderError, those of [Snapshot.Read], [Table.WriteData] and [Table.Commit]; a *ConflictError if someone else removed one of the
// files or changed the metadata. What was committed before the error is in the result and stays.
func (t *Table) Optimize(ctx context.Context, o OptimizeOptions) (OptimizeResult, error) {
	var done OptimizeResult
	s, err := t.Update(ctx)
	if err != nil {
		return done, err
	}
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return done, err
	}
	o = o.withDefaults(s)
	work := t.pack
	if len(o.ZOrder) > 0 {
		work = t.zOrder
	}
	if err := work(ctx, s, o, &done); err != nil {
		return done, fmt.Errorf("optimize: %w", err)
	}
	return done, nil
}

// pack makes one file of several small ones.
func (t *Table) pack(ctx context.Context, s *Snapshot, o OptimizeOptions, done *OptimizeResult) error {
	for round := range rounds(s.bins(o), o.RoundBytes) {
		if err := t.replace(ctx, s, round, o, done); err != nil {
			return err
		}
	}
	return nil
}

// replace puts other files with the same rows in the place of each bin, in one commit.
func (t *Table) replace(ctx context.Context, s *Snapshot, bins []bin, o OptimizeOptions, done *OptimizeResult) error {
	if o.DryRun {
		for _, b := range bins {
			done.add(OptimizeResult{FilesRemoved: len(b), BytesRemoved: b.size(), FilesAdded: int((b.size() + o.TargetSize - 1) / o.TargetSize)})
		}
		return nil
	}
	w := t.newDataWriter(s.schema, s.metadata.PartitionColumns, o.Parquet)
	if len(o.ZOrder) > 0 {
		c, err := s.newCurve(o.ZOrder)
		if err != nil {
			return err
		}
		return t.replaceFiles(ctx, s, w, bins, o, done, func(b bin) error { return w.sort(ctx, s, c, b, o) })
	}
	return t.replaceFiles(ctx, s, w, bins, o, done, func(b bin) error { return w.pack(ctx, s, b, o) })
}

// bin is files of one partition to be packed into one.
type bin []*Add

func (b bin) size() (n int64) {
	for _, a := range b {
		n += a.Size
	}
	return n
}

// worn says whether a large part of the file is rows that its deletion vector takes out: each read still loads them.
func (a *Add) worn() bool {
	if a.DeletionVector == nil {
		return false
	}
	rows, ok := a.storedRecords()
	return ok && a.DeletionVector.Cardinality > rows/wornShare
}

// bins are the files worth packing: neighbours in time, of one partition, which together stay below the target size, and
// those that are worn.
func (s *Snapshot) bins(o OptimizeOptions) []bin {
	byPartition := map[string]bin{}
	for _, a := range s.inOrder() {
		if (a.Size < o.TargetSize || a.worn()) && (o.Where == nil || o.Where(a)) {
			key := partitionKey(a.PartitionValues)
			byPartition[key] = append(byPartition[key], a)
		}
	}
	var bins []bin
	for _, key := range slices.Sorted(maps.Keys(byPartition)) {
		for _, run := range chunked(byPartition[key], o.TargetSize) {
			if len(run) > 1 || run[0].worn() {
				bins = append(bins, run)
			}
		}
	}
	return bins
}

// partitionKey is the same for two files if and only if they are of one partition.
func partitionKey(values PartitionValues) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(strconv.Quote(name))
		b.WriteString(strconv.Quote(values[name]))
	}
	return b.String()
}

// rounds splits bins into runs of about the given size.
func rounds(bins []bin, bytes int64) func(yield func([]bin) bool) {
	return func(yield func([]bin) bool) {
		start, size := 0, int64(0)
		for i, b := range bins {
			if size += b.size(); size >= bytes || i == len(bins)-1 {
				if !yield(bins[start : i+1]) {
					return
				}
				start, size = i+1, 0
			}
		}
	}
}

// replaceFiles commits that the files which make writes stand for those of the bins.
func (t *Table) replaceFiles(ctx context.Context, s *Snapshot, w *dataWriter, bins []bin, o OptimizeOptions, done *OptimizeResult, replace func(bin) error) error {
	tx := Transaction{
		Operation: "OPTIMIZE", Base: s, Isolation: SnapshotIsolation,
		Parameters: map[string]any{"predicate": "[]", "zOrderBy": append([]string{}, o.ZOrder...), "auto": o.auto},
	}
	round := OptimizeResult{Commits: 1}
	for _, b := range bins {
		if err := replace(b); err != nil {
			return errors.Join(err, w.undo(ctx))
		}
		for _, a := range b {
			tx.Removes = append(tx.Removes, a.remove(false))
			round.FilesRemoved++
			round.BytesRemoved += a.Size
		}
	}
	for _, a := range w.adds {
		a.DataChange = false
		tx.Adds = append(tx.Adds, a)
		round.FilesAdded++
		round.BytesAdded += a.Size
	}
	tx.Metrics = round.metrics()
	err := t.commitInTurn(ctx, &tx, o)
	if _, unknown := errors.AsType[*UnknownOutcomeError](err); err != nil && !unknown {
		return errors.Join(err, w.undo(ctx)) // no commit names them
	}
	if err == nil {
		done.add(round)
	}
	return err
}

func (t *Table) commitInTurn(ctx context.Context, tx *Transaction, o OptimizeOptions) error {
	release, err := o.Turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	_, err = t.Commit(ctx, func(context.Context, *Snapshot) (*Transaction, error) {
		again := *tx
		return &again, nil
	})
	return err
}

func (r *OptimizeResult) add(o OptimizeResult) {
	r.Commits += o.Commits
	r.FilesAdded += o.FilesAdded
	r.FilesRemoved += o.FilesRemoved
	r.BytesAdded += o.BytesAdded
	r.BytesRemoved += o.BytesRemoved
}

func (r *OptimizeResult) metrics() map[string]string {
	return map[string]string{
		"numAddedFiles": strconv.Itoa(r.FilesAdded), "numRemovedFiles": strconv.Itoa(r.FilesRemoved),
		"numAddedBytes": strconv.FormatInt(r.BytesAdded, 10), "numRemovedBytes": strconv.FormatInt(r.BytesRemoved, 10),
	}
}

// pack writes the rows of a bin as one file, of row groups that fit into the memory.
func (w *dataWriter) pack(ctx context.Context, s *Snapshot, b bin, o OptimizeOptions) error {
	f := w.begin(b[0].PartitionValues, o.Memory)
	for _, a := range b {
		for rows, err := range s.readOne(ctx, a) {
			if err == nil {
				err = f.add(ctx, rows)
			}
			if err == nil {
				err = o.Pause(ctx)
			}
			if err != nil {
				return errors.Join(err, f.abort())
			}
		}
	}
	return f.close()
}
