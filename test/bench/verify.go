package main

import (
	"context"
	"fmt"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/harness"
)

// sums are what a reader finds in a table.
type sums struct {
	Rows int64 `json:"rows"`
	IDs  int64 `json:"ids"` // sum
}

// verify reads the table: as many rows as were acknowledged, and the same sum of ids. It names the reader: deltalake if it
// is installed, else weir's own.
func verify(ctx context.Context, dir string, want sums) (reader string, err error) {
	var got sums
	if peers, missing := harness.FindPeers(); missing == nil {
		reader = "deltalake"
		got, err = foreignSums(ctx, peers, dir)
	} else {
		reader = "weir"
		got, err = ownSums(ctx, dir)
	}
	if err != nil {
		return reader, fmt.Errorf("read the table with %s: %w", reader, err)
	}
	if got != want {
		return reader, fmt.Errorf("%s reads %d rows with ids of sum %d; acknowledged were %d with sum %d", reader, got.Rows, got.IDs, want.Rows, want.IDs)
	}
	return reader, nil
}

func foreignSums(ctx context.Context, peers *harness.Peers, dir string) (got sums, err error) {
	out, err := harness.Output(peers.Python(ctx, "sums.py", dir))
	if err != nil {
		return got, err
	}
	return got, harness.LastJSON(out, &got)
}

func ownSums(ctx context.Context, dir string) (got sums, err error) {
	st, err := store.OpenURI(ctx, dir)
	if err != nil {
		return got, err
	}
	table, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return got, err
	}
	want := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "id", Type: &schema.Type{Kind: schema.Long}, Nullable: true}}}
	for batch, err := range table.Snapshot().Read(ctx, want) {
		if err != nil {
			return got, err
		}
		got.Rows += int64(batch.Rows)
		for _, id := range batch.Columns[0].Int64s {
			got.IDs += id
		}
	}
	return got, table.Close(ctx)
}
