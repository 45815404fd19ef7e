package delta_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

var peerChanges = structOf(field("id", schema.Long), field("seq", schema.Long), field("op", schema.String), field("p", schema.String))

// peerColumns are the rows in the peer's form.
func peerColumns(rows []map[string]any) map[string][2]any {
	out := map[string][2]any{}
	for _, f := range peerChanges.Fields {
		kind := "int64"
		if f.Type.Kind == schema.String {
			kind = "string"
		}
		var values []any
		for _, row := range rows {
			values = append(values, row[f.Name])
		}
		out[f.Name] = [2]any{kind, values}
	}
	return out
}

// TestMergeAgreesWithDeltaLake merges the same random changes by weir into one table and by deltalake into another, and now
// and then by the other side; after each merge both tables hold the same rows, whoever reads them. The number of sequences is
// that of rapid's flag -rapid.checks.
func TestMergeAgreesWithDeltaLake(t *testing.T) {
	peer := startPeer(t)
	base := t.TempDir()
	sequence, merges := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		sequence++
		dirs := [2]string{filepath.Join(base, strconv.Itoa(sequence), "weir"), filepath.Join(base, strconv.Itoa(sequence), "peer")}
		c := delta.CreateOptions{Schema: withoutOp(peerChanges)}
		if rapid.Bool().Draw(rt, "partitioned") {
			c.PartitionColumns = []string{"p"}
		}
		var tables [2]*delta.Table
		marks := rapid.Bool().Draw(rt, "marks")
		for i, dir := range dirs {
			c := c
			if marks && i == 0 {
				c = withMarks(c)
			}
			var err error
			if tables[i], err = delta.Create(t.Context(), localStore(t, dir), c); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 4).Draw(rt, "merges") {
			merges++
			rows := drawPeerChanges(rt)
			ours, theirs := 0, 1
			if !marks && rapid.IntRange(0, 2).Draw(rt, "swap") == 0 {
				ours, theirs = 1, 0
			}
			o := delta.MergeOptions{
				Key: []string{"id"}, Sequence: "seq", Op: "op", Deletes: []string{"d"}, Matched: delta.MatchedUpdateIfNewer,
			}
			if _, err := tables[ours].Merge(t.Context(), []*column.Batch{columntest.Build(peerChanges, rows)}, o); err != nil {
				rt.Fatal(err)
			}
			state := peer.do(rt, map[string]any{"path": dirs[theirs], "op": "merge", "columns": peerColumns(rows)})
			if state.Error != "" {
				rt.Fatal(state.Error)
			}
			want := peerTexts(t, state)
			for i, dir := range dirs {
				state := peer.do(rt, map[string]any{"path": dir, "op": "look"})
				if state.Error != "" {
					rt.Fatal(state.Error)
				}
				if d := cmp.Diff(want, peerTexts(t, state)); d != "" {
					rt.Fatalf("table %d by deltalake (-merged by deltalake +got):\n%s", i, d)
				}
				s, err := tables[i].Update(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				if d := cmp.Diff(want, peerRows(t, s)); d != "" {
					rt.Fatalf("table %d by weir (-merged by deltalake +got):\n%s", i, d)
				}
			}
		}
	})
	t.Logf("%d sequences, %d merges", sequence, merges)
}

func peerTexts(t *testing.T, state peerState) []string {
	t.Helper()
	out := make([]string, 0, len(state.Rows))
	for _, r := range state.Rows {
		out = append(out, spaced(t, string(r)))
	}
	slices.Sort(out)
	return out
}

// drawPeerChanges draws changes, one for each key.
func drawPeerChanges(t *rapid.T) []map[string]any {
	ids := rapid.SliceOfNDistinct(rapid.Int64Range(0, 40), 1, 30, rapid.ID).Draw(t, "ids")
	var rows []map[string]any
	for _, id := range ids {
		rows = append(rows, map[string]any{
			"id": id, "seq": rapid.Int64Range(0, 9).Draw(t, "seq"), "op": rapid.SampledFrom([]string{"u", "u", "d"}).Draw(t, "op"),
			"p": rapid.SampledFrom([]any{nil, "x", "y/ü %"}).Draw(t, "p"),
		})
	}
	return rows
}

// TestDeltaLakeReadsMarks: deltalake reads deletion vectors of every size that weir writes, in the log and in files.
func TestDeltaLakeReadsMarks(t *testing.T) {
	dir := t.TempDir()
	table := create(t, localStore(t, dir), withMarks(delta.CreateOptions{}))
	const rows = 200_000
	ids := make([]int64, rows)
	for i := range ids {
		ids[i] = int64(i)
	}
	write(t, table, longs(ids...))
	for i, where := range []string{
		"id = 5", "id in (3, 4)", "id >= 65530 and id < 65540", "id >= 131000 and id < 140000", fmt.Sprintf("id = %d", rows-1), "id > 65600 and id < 131000",
	} {
		p, err := delta.ParsePredicate(where, oneColumn)
		must(t, err)
		res, err := table.Delete(t.Context(), delta.DeleteOptions{Where: p})
		must(t, err)
		if res.FilesMarked != 1 {
			t.Errorf("%s: %+v, want one file marked", where, res)
		}
		if i%3 != 2 { // the peer takes seconds
			continue
		}
		if d := cmp.Diff(peerRows(t, table.Snapshot()), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Fatalf("%s: rows (-weir +deltalake):\n%s", where, d[:min(len(d), 2000)])
		}
	}
}
