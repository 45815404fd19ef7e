package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// MissingFileError says that a data file of the table is not there: it was deleted, most often by a VACUUM with a
// retention shorter than this reader is old.
type MissingFileError struct{ Path string }

func (e *MissingFileError) Error() string {
	return fmt.Sprintf("data file %s is in the log but not in the store", e.Path)
}

// Read reads the rows, file by file in the order in which the files were made, in batches of at most a few thousand
// rows. want names the columns, nil is all of them; one that the table does not have reads as null.
//
// Errors: *MissingFileError, *PathError, *PartitionValueError, *DeletionVectorError, parquet.ErrCorrupt, those of the store and of ctx.
func (s *Snapshot) Read(ctx context.Context, want *schema.Type) iter.Seq2[*column.Batch, error] {
	if want == nil {
		want = s.schema
	}
	return func(yield func(*column.Batch, error) bool) {
		for _, a := range s.inOrder() {
			if !s.readFile(ctx, a, want, yield) {
				return
			}
		}
	}
}

// readOne reads the rows of one file.
func (s *Snapshot) readOne(ctx context.Context, a *Add) iter.Seq2[*column.Batch, error] {
	return func(yield func(*column.Batch, error) bool) { s.readFile(ctx, a, s.schema, yield) }
}

// inOrder are the files by time of modification, then path.
func (s *Snapshot) inOrder() []*Add {
	adds := make([]*Add, 0, s.files.len)
	for _, a := range s.files.all() {
		adds = append(adds, a)
	}
	slices.SortFunc(adds, func(a, b *Add) int {
		return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), cmp.Compare(a.Path, b.Path))
	})
	return adds
}

// readFile yields the rows of one file. False: stop.
func (s *Snapshot) readFile(ctx context.Context, a *Add, want *schema.Type, yield func(*column.Batch, error) bool) bool {
	for stored, err := range s.readStored(ctx, a, want) {
		if err != nil {
			yield(nil, err)
			return false
		}
		if !yield(stored.live(), nil) {
			return false
		}
	}
	return true
}

// storedRows is a run of the rows of a file, those that its deletion vector takes out included.
type storedRows struct {
	*column.Batch
	first   int64 // number of the first row in the file
	deleted deletedRows
}

func (r *storedRows) live() *column.Batch { return r.deleted.live(r.Batch, r.first) }

// readStored yields the rows of one file as they are stored, with the values of partition columns. The sequence ends after
// the first error.
func (s *Snapshot) readStored(ctx context.Context, a *Add, want *schema.Type) iter.Seq2[storedRows, error] {
	return func(yield func(storedRows, error) bool) {
		fail := func(err error) { yield(storedRows{}, err) }
		r, f, err := s.openFile(ctx, a)
		if err != nil {
			fail(err)
			return
		}
		defer func() { _ = r.Close() }() // only read
		deleted, err := loadDeletionVector(ctx, s.store, a, f.Rows())
		if err != nil {
			fail(err)
			return
		}
		p, err := s.plan(want, f)
		if err != nil {
			fail(fmt.Errorf("data file %s: %w", a.Path, err))
			return
		}
		first := int64(0)
		for b, err := range p.stored(ctx, f) {
			if err == nil {
				b, err = p.complete(b, a)
			}
			if err != nil {
				fail(fmt.Errorf("data file %s: %w", a.Path, err))
				return
			}
			if !yield(storedRows{b, first, deleted}, nil) {
				return
			}
			first += int64(b.Rows)
		}
	}
}

// openFile opens a data file. The reader is the caller's to close.
func (s *Snapshot) openFile(ctx context.Context, a *Add) (store.Reader, *parquet.File, error) {
	key, err := DataKey(a.Path)
	if err != nil {
		return nil, nil, err
	}
	r, err := s.store.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil, &MissingFileError{Path: a.Path}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read data file: %w", err)
	}
	f, err := parquet.Open(r, r.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("data file %s: %w", a.Path, errors.Join(err, r.Close()))
	}
	return r, f, nil
}

// readPlan says which of the wanted columns are in the files, and which are partition columns.
type readPlan struct {
	want   *schema.Type
	inFile *schema.Type // by the names in the files
	mapped bool         // those are physical names
	from   []int        // by wanted column: its index in inFile, -1 for a partition column
	name   []string     // of a partition column in the log
}

func (s *Snapshot) plan(want *schema.Type, file *parquet.File) (*readPlan, error) {
	n := len(want.Fields)
	p := &readPlan{want: want, inFile: &schema.Type{Kind: schema.Struct}, mapped: s.mapped(), from: make([]int, n), name: make([]string, n)}
	stored, logged := want, want // with the names of the file, and of the log
	if p.mapped {
		logged = toPhysical(want, s.schema)
		stored = logged
	}
	if p.mapped && s.metadata.Configuration[mappingMode] == "id" {
		var err error
		if stored, err = toFile(want, s.schema, file.Schema()); err != nil {
			return nil, err
		}
	}
	if i := want.Index(ChangeTypeColumn); p.mapped && i >= 0 && s.schema.Index(ChangeTypeColumn) < 0 {
		stored.Fields[i].Name = ChangeTypeColumn // of change files, not of the table: it has no other name
	}
	for i, f := range want.Fields {
		if slices.Contains(s.metadata.PartitionColumns, f.Name) {
			p.from[i], p.name[i] = -1, logged.Fields[i].Name
			continue
		}
		p.from[i] = len(p.inFile.Fields)
		p.inFile.Fields = append(p.inFile.Fields, stored.Fields[i])
	}
	return p, nil
}

// stored yields the columns that are in the file; if none is wanted, batches of rows alone.
func (p *readPlan) stored(ctx context.Context, f *parquet.File) iter.Seq2[*column.Batch, error] {
	if len(p.inFile.Fields) > 0 {
		return f.Read(ctx, p.inFile)
	}
	return func(yield func(*column.Batch, error) bool) {
		for left := f.Rows(); left > 0; left -= batchRows {
			if !yield(&column.Batch{Schema: p.inFile, Rows: int(min(left, batchRows))}, nil) {
				return
			}
		}
	}
}

// complete adds the partition columns to a batch.
func (p *readPlan) complete(b *column.Batch, a *Add) (*column.Batch, error) {
	out := &column.Batch{Schema: p.want, Rows: b.Rows, Columns: make([]*column.Vector, len(p.from))}
	for i, from := range p.from {
		f := p.want.Fields[i]
		if from >= 0 {
			out.Columns[i] = b.Columns[from]
			if p.mapped {
				relabel(out.Columns[i], f.Type)
			}
			continue
		}
		v, err := partitionVector(f, a.PartitionValues[p.name[i]], b.Rows)
		if err != nil {
			return nil, err
		}
		out.Columns[i] = v
	}
	return out, nil
}
