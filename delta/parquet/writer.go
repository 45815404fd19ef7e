package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Writer writes a file of which not all rows are in memory at once.
type Writer struct {
	f    *fileWriter
	rows int
	err  error // the first one; nothing can follow it
}

// errClosed says that a Writer was used after Close.
var errClosed = errors.New("the writer is closed")

// NewWriter begins a file of schema s. Close ends it.
func NewWriter(w io.Writer, s *schema.Type, o WriterOptions) (*Writer, error) {
	f, err := newFileWriter(w, 64<<10, s, o)
	if err != nil {
		return nil, err
	}
	out := &Writer{f: f}
	out.err = f.emit([]byte(magic))
	return out, nil
}

// Write appends the rows of the batches, as one row group or more. Batches fit as for [Write]; they are not needed
// afterwards.
func (w *Writer) Write(batches []*column.Batch) error {
	if w.err != nil {
		return w.err
	}
	for _, l := range w.f.leaves {
		l.cursor = cursor{}
	}
	rows, err := w.f.bind(batches)
	if err == nil {
		err = w.f.writeRowGroups(rows)
	}
	if err != nil {
		w.err = fmt.Errorf("write Parquet file: %w", err)
		return w.err
	}
	w.rows += rows
	for _, l := range w.f.leaves {
		l.cursor = cursor{}
		if l.bounded() { // its bounds alias the batches
			l.stats.minB, l.stats.maxB = bytes.Clone(l.stats.minB), bytes.Clone(l.stats.maxB)
		}
	}
	return nil
}

// Close writes the footer and returns what the file holds. It does not close the output.
func (w *Writer) Close() (FileInfo, error) {
	if errors.Is(w.err, errClosed) {
		return FileInfo{}, w.err
	}
	defer w.f.scratch.put()
	err := w.err
	w.err = errClosed
	if err != nil {
		return FileInfo{}, err
	}
	if err := errors.Join(w.f.writeFooter(w.rows), w.f.out.Flush()); err != nil {
		return FileInfo{}, fmt.Errorf("write Parquet file: %w", err)
	}
	return w.f.info(w.rows), nil
}
