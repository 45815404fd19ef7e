package delta

import (
	"context"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
)

// encodedFiles keeps the files of the last checkpoint as they were encoded for it, in parts, so that the next one encodes
// what has changed since and copies the rest: beside commits the work of a checkpoint of a large table would take the CPU,
// and by its garbage the collector, that the commits need. It takes about a tenth of the memory of the snapshot.
//
// A part is dropped when one of its files is; its other files are encoded again with the new ones. So are the last parts
// that are not at least twice as long as what comes after them. So each file is encoded a few times (the logarithm of a
// full part over the files between two checkpoints), and all parts but some last ones are full.
type encodedFiles struct {
	of      pmap[*Add] // the files that the parts hold
	options parquet.WriterOptions
	parts   []filePart
}

// filePart is one row group.
type filePart struct {
	adds  []*Add
	full  bool // there was no room for more
	block *parquet.Block
}

// advance makes the parts those of the given files, written with the given options. After an error they must not be used.
func (e *encodedFiles) advance(ctx context.Context, files pmap[*Add], o parquet.WriterOptions) error {
	if e.options != o {
		*e = encodedFiles{options: o}
	}
	gone := map[*Add]bool{}
	var came []*Add
	changes(e.of, files, func(a *Add) { gone[a] = true }, func(a *Add) { came = append(came, a) })
	e.of = files
	came = e.withoutTail(e.without(gone, came))
	return e.encode(ctx, came)
}

// without drops the parts that hold a file that is gone, and appends their other files to came.
func (e *encodedFiles) without(gone map[*Add]bool, came []*Add) []*Add {
	if len(gone) == 0 {
		return came
	}
	kept := e.parts[:0]
	for _, p := range e.parts {
		left := make([]*Add, 0, len(p.adds))
		for _, a := range p.adds {
			if !gone[a] {
				left = append(left, a)
			}
		}
		if len(left) == len(p.adds) {
			kept = append(kept, p)
		} else {
			came = append(came, left...)
		}
	}
	clear(e.parts[len(kept):])
	e.parts = kept
	return came
}

// withoutTail drops the last parts that are worth encoding again with what came.
func (e *encodedFiles) withoutTail(came []*Add) []*Add {
	for n := len(e.parts) - 1; n >= 0 && len(came) > 0; n-- {
		last := e.parts[n]
		if last.full || len(last.adds) >= 2*len(came) {
			break
		}
		came = append(came, last.adds...)
		e.parts[n] = filePart{}
		e.parts = e.parts[:n]
	}
	return came
}

func (e *encodedFiles) encode(ctx context.Context, came []*Add) error {
	b := checkpointBuilder{}
	b.full = func(batch *column.Batch) error {
		block, err := encodeActionRows(ctx, batch, e.options)
		e.parts = append(e.parts, filePart{came[:batch.Rows:batch.Rows], b.isFull(), block})
		came = came[batch.Rows:]
		return err
	}
	for _, a := range came {
		b.add(a)
	}
	b.seal()
	return b.err
}

func (e *encodedFiles) blocks() []*parquet.Block {
	blocks := make([]*parquet.Block, len(e.parts))
	for i, p := range e.parts {
		blocks[i] = p.block
	}
	return blocks
}
