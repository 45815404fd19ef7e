package delta

import (
	"context"
	"iter"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// ScanOptions say what [Snapshot.Scan] reads. The zero value reads all.
type ScanOptions struct {
	Columns *schema.Type // nil: all; one that the table does not have reads as null
	Where   *Predicate   // nil: every row
}

// Scan is a read of some rows and columns. Files that can hold none of the rows, by their partition values and
// statistics, are not opened; of the others only the columns that are needed are read.
type Scan struct {
	s     *Snapshot
	where *Predicate
	want  *schema.Type
	read  *schema.Type // want, and what where needs
	files []*Add
}

// Scan plans a read.
func (s *Snapshot) Scan(o ScanOptions) *Scan {
	sc := &Scan{s: s, where: o.Where, want: o.Columns}
	if sc.want == nil {
		sc.want = s.schema
	}
	sc.read = sc.want
	for _, a := range s.inOrder() {
		if o.Where == nil || o.Where.root.possible(s.boundsOf(a)) {
			sc.files = append(sc.files, a)
		}
	}
	if o.Where != nil {
		sc.read = withColumns(sc.want, s.schema, o.Where.Columns())
	}
	return sc
}

// noColumns is a row of nothing.
var noColumns = &schema.Type{Kind: schema.Struct}

// withColumns is the struct t and those columns of the table that it lacks.
func withColumns(t, table *schema.Type, names []string) *schema.Type {
	out := *t
	for _, name := range names {
		if f, ok := table.Field(name); ok && out.Index(name) < 0 {
			out.Fields = append(slices.Clip(out.Fields), f)
		}
	}
	return &out
}

// NumFiles is the number of files that will be read, of those in the table.
func (sc *Scan) NumFiles() int { return len(sc.files) }

// Rows reads the rows, file by file in the order in which the files were made. Errors: those of [Snapshot.Read].
func (sc *Scan) Rows(ctx context.Context) iter.Seq2[*column.Batch, error] {
	return func(yield func(*column.Batch, error) bool) {
		for _, a := range sc.files {
			more := sc.s.readFile(ctx, a, sc.read, func(b *column.Batch, err error) bool {
				if err == nil {
					b = sc.pick(b)
				}
				return yield(b, err)
			})
			if !more {
				return
			}
		}
	}
}

// pick keeps the rows and columns that were asked for.
func (sc *Scan) pick(b *column.Batch) *column.Batch {
	if sc.where == nil {
		return b
	}
	b = sc.where.where(b)
	n := len(sc.want.Fields)
	return &column.Batch{Schema: sc.want, Columns: b.Columns[:n:n], Rows: b.Rows}
}
