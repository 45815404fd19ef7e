package parquet

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// MaxBatchRows is the most rows in a batch that [File.Read] yields.
const MaxBatchRows = 8192

// batchTarget is about how many bytes a batch of wide rows may have, by the sizes that the file declares.
const batchTarget = 256 << 20

// File is an open Parquet file. It may be read from several goroutines at once.
type File struct {
	r      io.ReaderAt
	size   int64
	meta   *fileMeta
	root   *fileNode
	leaves []*fileNode
}

// Open reads the metadata of the Parquet file in the first size bytes of r. Files may come from anywhere: what is not
// valid Parquet gives an error that wraps [ErrCorrupt], what this package cannot read one that wraps [ErrUnsupported].
func Open(r io.ReaderAt, size int64) (f *File, err error) {
	defer recovered(&err)
	m, err := readFooter(r, size)
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	f = &File{r: r, size: size, meta: m}
	if f.root, f.leaves, err = fileTree(m.elements); err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	var rows int64
	for i, g := range m.groups {
		if len(g.columns) != len(f.leaves) || g.rows < 0 {
			return nil, fmt.Errorf("open Parquet file: row group %d has %d columns and %d rows: %w",
				i, len(g.columns), g.rows, ErrCorrupt)
		}
		rows += g.rows
	}
	if rows != m.rows || rows < 0 {
		return nil, fmt.Errorf("open Parquet file: %d rows in groups, %d declared: %w", rows, m.rows, ErrCorrupt)
	}
	return f, nil
}

// recovered turns a panic, which only a file that fools every check can cause, into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("read Parquet file: panic: %v: %w", p, ErrCorrupt)
	}
}

// FieldID is the member of a field's metadata that holds the id which the file gives the column, an int64.
const FieldID = "parquet.field.id"

// Schema returns the file's columns as a struct type. What Delta has no type for appears as its physical type. A column
// with an id has it in its metadata under [FieldID].
func (f *File) Schema() *schema.Type { return f.root.t }

// Rows returns the number of rows.
func (f *File) Rows() int64 { return f.meta.rows }

// Read yields the file's rows in order, in batches of at most [MaxBatchRows] rows whose schema is want. Each batch is the
// caller's to keep.
//
// Columns are matched by name at every level, exactly or else without regard to case; what the file lacks is null.
// Lists, maps and structs are matched by shape; numbers may be read as a wider type, and INT96, milliseconds and
// nanoseconds as timestamps of microseconds. Where a column of the file does not fit, the error wraps [ErrMisfit].
// The sequence ends after the first error.
func (f *File) Read(ctx context.Context, want *schema.Type) iter.Seq2[*column.Batch, error] {
	return func(yield func(*column.Batch, error) bool) {
		for i := range f.meta.groups {
			if !f.readGroup(ctx, i, want, yield) {
				return
			}
		}
	}
}

// readGroup yields the batches of a row group; false ends the sequence.
func (f *File) readGroup(ctx context.Context, group int, want *schema.Type, yield func(*column.Batch, error) bool) bool {
	g := &f.meta.groups[group]
	if g.rows == 0 { // its chunks need not have pages, nor offsets that mean anything
		return true
	}
	a, err := f.assembler(g, want)
	if a != nil {
		defer a.release()
	}
	for left := g.rows; err == nil && left > 0; {
		var b *column.Batch
		if err = ctx.Err(); err != nil {
			break
		}
		n := min(left, int64(a.batchRows))
		if b, err = a.batch(int(n)); err != nil {
			break
		}
		left -= n
		if !yield(b, nil) {
			return false
		}
	}
	if err != nil {
		yield(nil, fmt.Errorf("read Parquet row group %d: %w", group, err))
		return false
	}
	return true
}

// find returns the child of that name.
func (n *fileNode) find(name string) *fileNode {
	var folded *fileNode
	for _, c := range n.children {
		if c.name == name {
			return c
		}
		if folded == nil && strings.EqualFold(c.name, name) {
			folded = c
		}
	}
	return folded
}
