package main

import (
	"slices"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
)

// mergeSettings says how p's table is merged, and what an event must have for it; nil for a table that is appended to.
func mergeSettings(p *v1alpha1.Pipeline) (*commit.Merge, *decode.Identity) {
	sink, id := p.Spec.Sink.Delta, p.Spec.Identity
	if sink.Mode != v1alpha1.SinkModeMerge || id == nil {
		return nil, nil
	}
	m := &commit.Merge{
		Key: id.Key, Sequence: id.Sequence,
		Tombstones: sink.Merge.TombstoneRetention.Duration, DeletionVectors: *sink.Merge.DeletionVectors,
	}
	want := &decode.Identity{Key: id.Key, Sequence: id.Sequence}
	if id.Op != nil {
		m.Op, m.Deletes = id.Op.Field, id.Op.Delete
		want.Op, want.Ops = id.Op.Field, slices.Concat(id.Op.Upsert, id.Op.Delete)
	}
	return m, want
}
