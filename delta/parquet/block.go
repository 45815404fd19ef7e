package parquet

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Block is rows that were encoded once and can be part of many files: whole row groups. It never changes.
type Block struct {
	schema *schema.Type
	rows   int
	data   []byte
	groups []format.RowGroup // with the offsets of a file that begins with the block
}

// Encode makes a block of the rows of the batches, which must fit s as for [Write] and are not needed afterwards. A block
// adds nothing to the statistics of a file, so o.StatsColumns must be negative.
func Encode(s *schema.Type, batches []*column.Batch, o WriterOptions) (*Block, error) {
	if o.StatsColumns >= 0 {
		return nil, fmt.Errorf("encode rows with statistics: %w", ErrUnsupported)
	}
	var data bytes.Buffer
	f, err := newFileWriter(&data, 4<<10, s, o)
	if err != nil {
		return nil, err
	}
	defer f.scratch.put()
	f.offset = int64(len(magic))
	rows, err := f.bind(batches)
	if err != nil {
		return nil, err
	}
	if err := f.writeRowGroups(rows); err != nil {
		return nil, fmt.Errorf("encode rows: %w", err)
	}
	if err := f.out.Flush(); err != nil {
		return nil, fmt.Errorf("encode rows: %w", err)
	}
	return &Block{schema: s, rows: rows, data: bytes.Clone(data.Bytes()), groups: f.groups}, nil
}

// WriteBlocks writes the blocks, in order, as one file. They must be of the very schema s; one of another gives an error
// that wraps [ErrMisfit], before anything is written. Other errors are those of w.
func WriteBlocks(w io.Writer, s *schema.Type, blocks []*Block) (FileInfo, error) {
	f, err := newFileWriter(w, 64<<10, s, WriterOptions{StatsColumns: -1})
	if err != nil {
		return FileInfo{}, err
	}
	defer f.scratch.put()
	for i, b := range blocks {
		if b.schema != s {
			return FileInfo{}, fmt.Errorf("block %d is of another schema: %w", i, ErrMisfit)
		}
	}
	rows, err := f.writeBlocks(blocks)
	if err != nil {
		return FileInfo{}, fmt.Errorf("write Parquet file: %w", err)
	}
	return f.info(rows), nil
}

func (f *fileWriter) writeBlocks(blocks []*Block) (rows int, err error) {
	if err := f.emit([]byte(magic)); err != nil {
		return 0, err
	}
	for _, b := range blocks {
		f.addGroups(b)
		if err := f.emit(b.data); err != nil {
			return 0, err
		}
		rows += b.rows
	}
	if err := f.writeFooter(rows); err != nil {
		return 0, err
	}
	return rows, f.out.Flush()
}

// addGroups moves the row groups of a block to where it comes in the file.
func (f *fileWriter) addGroups(b *Block) {
	by := f.offset - int64(len(magic))
	for _, g := range b.groups {
		g.FileOffset += by
		g.Ordinal = int16(len(f.groups))
		g.Columns = slices.Clone(g.Columns)
		for i := range g.Columns {
			m := &g.Columns[i].MetaData
			m.DataPageOffset += by
			if m.DictionaryPageOffset > 0 {
				m.DictionaryPageOffset += by
			}
		}
		f.groups = append(f.groups, g)
	}
}
