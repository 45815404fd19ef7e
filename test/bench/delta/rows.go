package main

import (
	"context"
	"math/rand/v2"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func field(name string, k schema.Kind) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: k}, Nullable: true}
}

// rowSchema is a row of the tables: a key, a sequence, and what rows usually hold.
var rowSchema = &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
	field("id", schema.Long), field("seq", schema.Long), field("region", schema.String), field("amount", schema.Double),
	field("at", schema.Timestamp), field("owner", schema.String), field("note", schema.String),
}}

// changeSchema is a change of one.
var changeSchema = &schema.Type{Kind: schema.Struct, Fields: append(append([]schema.Field{}, rowSchema.Fields...), field("op", schema.String))}

var regions = []string{"eu-west", "eu-north", "us-east", "us-west", "ap-south", "ap-east", "sa-east", "af-south"}

const letters = "abcdefghijklmnopqrstuvwxyz      "

// maker makes rows out of a seed.
type maker struct {
	rng  *rand.Rand
	text []byte
}

func newMaker(seed uint64) *maker { return &maker{rng: rand.New(rand.NewPCG(seed, 1))} }

func (m *maker) append(b *column.Batch, id, seq int64) {
	c := b.Columns
	c[0].AppendInt64(id)
	c[1].AppendInt64(seq)
	c[2].AppendString(regions[m.rng.IntN(len(regions))])
	c[3].AppendFloat64(float64(m.rng.IntN(1_000_000)) / 100)
	c[4].AppendInt64(1_700_000_000_000_000 + id*1000 + seq)
	c[5].AppendBytes(m.random(12))
	c[6].AppendBytes(m.random(40))
}

func (m *maker) random(n int) []byte {
	m.text = m.text[:0]
	for len(m.text) < n {
		x := m.rng.Uint64()
		for range 12 {
			m.text = append(m.text, letters[x&31])
			x >>= 5
		}
	}
	return m.text[:n]
}

// perFile is how many rows a file of a new table has.
const perFile = 500_000

// makeTable makes a table of rows with the ids 0..rows, in files by id.
func makeTable(ctx context.Context, st store.Store, rows int64) (*delta.Table, error) {
	t, err := delta.Create(ctx, st, delta.CreateOptions{Schema: rowSchema})
	if err != nil {
		return nil, err
	}
	m := newMaker(1)
	for first := int64(0); first < rows; first += perFile {
		var batches []*column.Batch
		for at := first; at < min(first+perFile, rows); at += 50_000 {
			b := column.NewBatch(rowSchema)
			n := 0
			for id := at; id < min(at+50_000, first+perFile, rows); id++ {
				m.append(b, id, 0)
				n++
			}
			b.Seal(n)
			batches = append(batches, b)
		}
		adds, err := t.WriteData(ctx, rowSchema, nil, batches, parquet.WriterOptions{})
		if err != nil {
			return nil, err
		}
		_, err = t.Commit(ctx, func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
			return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// seqOnly is the column that checks add up.
var seqOnly = &schema.Type{Kind: schema.Struct, Fields: []schema.Field{field("seq", schema.Long)}}
