package delta

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// dataFile is a file of one partition that is written as its rows come. It is begun by its first row.
type dataFile struct {
	w      *dataWriter
	values PartitionValues
	memory int64 // bytes of rows held until they become a row group

	key  string
	out  store.Writer
	rows *parquet.Writer
	held []*column.Batch
	size int64
}

func (w *dataWriter) begin(values PartitionValues, memory int64) *dataFile {
	return &dataFile{w: w, values: values, memory: memory}
}

// add appends rows, which the file keeps for a while.
func (f *dataFile) add(ctx context.Context, b *column.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	f.held = append(f.held, b)
	if f.size += b.Bytes(); f.size < f.memory {
		return f.start(ctx)
	}
	return errors.Join(f.start(ctx), f.flush())
}

func (f *dataFile) start(ctx context.Context) error {
	if f.out != nil {
		return nil
	}
	f.key = f.w.newKey(f.values)
	var err error
	if f.out, err = f.w.table.store.Create(ctx, f.key); err != nil {
		return err
	}
	f.rows, err = parquet.NewWriter(f.out, &schema.Type{Kind: schema.Struct, Fields: f.w.fields}, f.w.options)
	return err
}

// flush writes the rows held as a row group.
func (f *dataFile) flush() error {
	if len(f.held) == 0 || f.rows == nil {
		return nil
	}
	err := f.rows.Write(f.held)
	f.held, f.size = nil, 0
	if err != nil {
		return fmt.Errorf("write %s: %w", f.key, err)
	}
	return nil
}

// close ends the file, if it was begun.
func (f *dataFile) close() error {
	if f.out == nil {
		return nil
	}
	if err := f.flush(); err != nil {
		return errors.Join(err, f.abort())
	}
	info, err := f.rows.Close()
	if err != nil {
		return fmt.Errorf("write %s: %w", f.key, errors.Join(err, f.out.Abort()))
	}
	if err := f.out.Close(); err != nil {
		return err
	}
	f.w.added(f.key, f.values, info)
	return nil
}

// abort drops the file.
func (f *dataFile) abort() error {
	if f.out == nil {
		return nil
	}
	if f.rows != nil {
		_, _ = f.rows.Close() // gives its memory back
	}
	return f.out.Abort()
}
