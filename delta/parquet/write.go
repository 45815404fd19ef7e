package parquet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

const (
	magic     = "PAR1"
	createdBy = "weir version 0.1.0 (build 0)" // the form that parquet-mr parses before it trusts string statistics
)

// Write writes the batches, in order, as one Parquet file of schema s and returns what the file holds.
//
// Columns are matched by name, at every level; the order of fields may differ. A column of s that a batch lacks is null
// there, a column that s lacks is not written. A batch whose types differ, that has a null where s allows none, or that is
// not sealed, gives an error that wraps [ErrMisfit] and names the column; nothing is written then. Other errors are those
// of w. The batches are only read.
//
// Memory beside the batches: the indices of one column chunk (at most 16 MiB), a page before and after compression (about
// 1 MiB each, more only for a larger single value), a dictionary (1 MiB) and the codec's state (a few MiB). It is pooled.
func Write(w io.Writer, s *schema.Type, batches []*column.Batch, o WriterOptions) (FileInfo, error) {
	f, err := newFileWriter(w, 64<<10, s, o)
	if err != nil {
		return FileInfo{}, err
	}
	defer f.scratch.put()
	rows, err := f.bind(batches)
	if err != nil {
		return FileInfo{}, err
	}
	if err := f.write(rows); err != nil {
		return FileInfo{}, fmt.Errorf("write Parquet file: %w", err)
	}
	return f.info(rows), nil
}

// info describes the file, which is complete.
func (f *fileWriter) info(rows int) FileInfo {
	info := FileInfo{Rows: int64(rows), Size: f.offset, Stats: Stats{NumRecords: int64(rows)}}
	for _, st := range f.stats {
		if st != nil {
			info.Stats.Columns = append(info.Stats.Columns, st.result())
		}
	}
	return info
}

// bind ties every leaf to its vectors in the batches.
func (p *plan) bind(batches []*column.Batch) (rows int, err error) {
	for i, b := range batches {
		if len(b.Columns) != len(b.Schema.Fields) {
			return 0, fmt.Errorf("batch %d has %d columns for %d fields: %w", i, len(b.Columns), len(b.Schema.Fields), ErrMisfit)
		}
		for _, l := range p.leaves {
			if err := l.bind(b); err != nil {
				return 0, fmt.Errorf("batch %d: %w", i, err)
			}
		}
		rows += b.Rows
	}
	for _, l := range p.leaves {
		l.at = make([]position, len(l.nodes))
	}
	return rows, nil
}

// fileWriter writes one file.
type fileWriter struct {
	*plan
	*scratch
	opts   WriterOptions
	out    *bufio.Writer
	offset int64
	groups []format.RowGroup
}

// newFileWriter begins a file of schema s, which goes to w through a buffer of the given size. Its scratch must be put back.
func newFileWriter(w io.Writer, buffer int, s *schema.Type, o WriterOptions) (*fileWriter, error) {
	o = o.withDefaults()
	if o.Codec > Uncompressed || o.Level < 1 || o.Level > 4 {
		return nil, fmt.Errorf("write Parquet file: codec %s, level %d: %w", o.Codec, o.Level, ErrUnsupported)
	}
	p, err := newPlan(s, o.StatsColumns)
	if err != nil {
		return nil, err
	}
	return &fileWriter{plan: p, opts: o, scratch: getScratch(), out: bufio.NewWriterSize(w, buffer)}, nil
}

func (f *fileWriter) emit(b []byte) error {
	n, err := f.out.Write(b)
	f.offset += int64(n)
	return err
}

func (f *fileWriter) write(rows int) error {
	if err := f.emit([]byte(magic)); err != nil {
		return err
	}
	if err := f.writeRowGroups(rows); err != nil {
		return err
	}
	if err := f.writeFooter(rows); err != nil {
		return err
	}
	return f.out.Flush()
}

// writeRowGroups writes the rows that the leaves are bound to.
func (f *fileWriter) writeRowGroups(rows int) error {
	for left := rows; left > 0; {
		n := max(min(f.opts.RowGroupRows, f.rowsFor(rowGroupBytes, rows)), rows/maxRowGroups+1)
		n = min(n, left)
		if err := f.writeRowGroup(n); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// rowsFor returns how many average rows take so many bytes in memory, at least 1.
func (f *fileWriter) rowsFor(budget, rows int) int {
	total := 1
	for _, l := range f.leaves {
		for _, n := range l.bytes {
			total += n
		}
	}
	if total <= budget {
		return rows
	}
	return max(1, int(float64(rows)*float64(budget)/float64(total)))
}

func (f *fileWriter) writeRowGroup(rows int) error {
	g := format.RowGroup{
		NumRows: int64(rows), FileOffset: f.offset, Ordinal: int16(len(f.groups)),
		Columns: make([]format.ColumnChunk, 0, len(f.leaves)),
	}
	for _, l := range f.leaves {
		c := chunk{fileWriter: f, l: l, rows: rows}
		if err := c.write(); err != nil {
			return fmt.Errorf("column %s: %w", l.dotted(len(l.nodes)-1), err)
		}
		g.Columns = append(g.Columns, format.ColumnChunk{MetaData: c.meta})
		g.TotalByteSize += c.meta.TotalUncompressedSize
		g.TotalCompressedSize += c.meta.TotalCompressedSize
	}
	f.groups = append(f.groups, g)
	return nil
}

func (f *fileWriter) writeFooter(rows int) error {
	meta := format.FileMetaData{
		Version: 1, Schema: f.elements, NumRows: int64(rows), RowGroups: f.groups, CreatedBy: createdBy,
	}
	for range f.leaves {
		meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	b, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return fmt.Errorf("encode footer: %w", err)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return f.emit(append(b, magic...))
}
