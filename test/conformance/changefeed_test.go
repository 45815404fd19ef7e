package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// fed is a table whose changes both sides tell: id and v of the row, and p, by which it may be partitioned.
var fed = structOf(field("id", schema.Long), field("v", schema.String), field("p", schema.String))

// changesByWeir are the rows of the feed, sorted, without their time: Spark takes that of the log's files, weir the commit's.
func changesByWeir(t *testing.T, table *delta.Table, from, to int64) []string {
	t.Helper()
	out := []string{}
	for b, err := range table.Changes(t.Context(), from, to) {
		must(t, err)
		for i := range b.Rows {
			row := b.Row(i)
			if row[delta.CommitTimestampColumn] == nil {
				t.Fatalf("a change without a time: %v", row)
			}
			delete(row, delta.CommitTimestampColumn)
			line, err := text(plain(row))
			must(t, err)
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

func changesBySpark(t *testing.T, dir string, from, to int64) []string {
	t.Helper()
	out := []string{}
	for _, r := range spark.must(t, command{"op": "changes", "path": dir, "from": from, "to": to}).Rows {
		var row map[string]json.RawMessage
		must(t, json.Unmarshal(r, &row))
		if len(row[delta.CommitTimestampColumn]) == 0 {
			t.Fatalf("a change without a time: %s", r)
		}
		delete(row, delta.CommitTimestampColumn)
		line, err := text(row)
		must(t, err)
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// sameChanges fails unless both tell the same changes, of all versions and of those in the middle; kinds is how many they have.
func sameChanges(t *testing.T, table *delta.Table, dir string, from int64, kinds map[string]int) {
	t.Helper()
	last := table.Snapshot().Version()
	all := changesBySpark(t, dir, from, last)
	if d := cmp.Diff(all, changesByWeir(t, table, from, last)); d != "" {
		t.Errorf("changes (-Spark +weir):\n%s", d)
	}
	if d := cmp.Diff(changesBySpark(t, dir, from+1, last-1), changesByWeir(t, table, from+1, last-1)); d != "" {
		t.Errorf("changes of the versions between (-Spark +weir):\n%s", d)
	}
	got := map[string]int{}
	for _, row := range all {
		for kind := range kinds {
			if strings.Contains(row, fmt.Sprintf("%q:%q", delta.ChangeTypeColumn, kind)) {
				got[kind]++
			}
		}
	}
	if d := cmp.Diff(kinds, got); d != "" {
		t.Errorf("Spark reads other changes than were made (-want +got):\n%s", d)
	}
}

// rowsOfFeed are ids from to upto, with a value, in partitions by turns.
func rowsOfFeed(s *schema.Type, from, upto int64, v string) *column.Batch {
	var rows []map[string]any
	for id := from; id < upto; id++ {
		row := map[string]any{"id": id, "v": v, "p": []any{"a", "b/ %", nil}[id%3]}
		if s.Index("extra") >= 0 {
			row["extra"] = float64(id) / 2
		}
		rows = append(rows, row)
	}
	return build(s, rows)
}

func appendRowsOf(t *testing.T, table *delta.Table, b *column.Batch) {
	t.Helper()
	adds, err := table.WriteData(t.Context(), b.Schema, table.Snapshot().PartitionColumns(), []*column.Batch{b}, parquet.WriterOptions{})
	must(t, err)
	_, err = table.Commit(t.Context(), func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
		return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
	})
	must(t, err)
}

// TestChangesForSpark: Spark's readChangeFeed tells of every commit of weir what weir itself tells: appends, merges that insert,
// update, move between partitions and delete, deletes of some rows and of whole files, packing (nothing) and restoring.
func TestChangesForSpark(t *testing.T) {
	spark.require(t)
	for _, c := range []struct {
		partitions []string
		vectors    bool
		long       bool
	}{{nil, false, true}, {[]string{"p"}, false, false}, {nil, true, false}, {[]string{"p"}, true, true}} {
		t.Run(fmt.Sprintf("partitions=%v deletionVectors=%t", c.partitions, c.vectors), func(t *testing.T) {
			if c.long && !*long {
				t.Skip("in the long form")
			}
			dir := filepath.Join(t.TempDir(), "table")
			table, err := delta.Create(t.Context(), localStore(t, dir), delta.CreateOptions{Schema: fed, PartitionColumns: c.partitions})
			must(t, err)
			defer func() { must(t, table.Close(context.WithoutCancel(t.Context()))) }()
			if c.vectors {
				must(t, table.EnableDeletionVectors(t.Context()))
			}
			must(t, table.EnableChangeFeed(t.Context()))
			first := table.Snapshot().Version() + 1
			appendRowsOf(t, table, rowsOfFeed(fed, 0, 12, "one"))
			merge := func(b *column.Batch, o delta.MergeOptions) {
				o.Key = []string{"id"}
				_, err := table.Merge(t.Context(), []*column.Batch{b}, o)
				must(t, err)
			}
			merge(rowsOfFeed(fed, 9, 15, "two"), delta.MergeOptions{}) // 3 updates, 3 inserts
			withOp := structOf(append(slices.Clone(fed.Fields), field("op", schema.String), field("extra", schema.Double))...)
			merge(build(withOp, []map[string]any{ // one update from partition b to z, one delete, and a column more
				{"id": int64(1), "v": "moved", "p": "z", "op": "u", "extra": 0.5}, {"id": int64(4), "op": "d"}, {"id": int64(99), "op": "d"},
			}), delta.MergeOptions{Op: "op", Deletes: []string{"d"}, Evolve: true})
			remove := func(where string) {
				p, err := delta.ParsePredicate(where, table.Snapshot().Schema())
				must(t, err)
				_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: p})
				must(t, err)
			}
			remove("id = 2 OR id = 5")
			remove("p = 'a'") // whole files, where it is a partition
			_, err = table.Optimize(t.Context(), delta.OptimizeOptions{})
			must(t, err)
			sameChanges(t, table, dir, first, map[string]int{"insert": 15, "update_preimage": 4, "update_postimage": 4, "delete": 1 + 2 + 5})
		})
	}
}

// fedBySpark are statements on a table with the feed, TABLE standing for it, and OF for how it is made.
var fedBySpark = []string{
	"CREATE TABLE TABLE (id BIGINT, v STRING, p STRING) USING delta OF",
	"INSERT INTO TABLE VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'y/ %'), (4, 'd', 'y/ %'), (5, 'e', NULL), (6, 'f', NULL)",
	"UPDATE TABLE SET v = 'updated' WHERE id IN (1, 3)",
	"DELETE FROM TABLE WHERE id = 2",
	"DELETE FROM TABLE WHERE id = 5",
	"MERGE INTO TABLE t USING (SELECT * FROM VALUES (1, 'merged', 'z'), (4, '', ''), (9, 'new', 'x') AS s(id, v, p)) s ON s.id = t.id " +
		"WHEN MATCHED AND s.id = 4 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v, p = s.p WHEN NOT MATCHED THEN INSERT (id, v, p) VALUES (s.id, s.v, s.p)",
	"ALTER TABLE TABLE ADD COLUMN extra DOUBLE",
	"INSERT INTO TABLE VALUES (10, 'ten', 'y/ %', 1.5)",
	"OPTIMIZE TABLE",
	"DELETE FROM TABLE WHERE p = 'y/ %'",
	"INSERT OVERWRITE TABLE VALUES (11, 'eleven', 'x', NULL), (12, 'twelve', 'y', 0.5)",
	"RESTORE TABLE TABLE TO VERSION AS OF 7", // before, a column is missing: readChangeFeed refuses
}

// TestChangesOfSpark: weir tells of every commit of Spark what Spark's readChangeFeed tells.
func TestChangesOfSpark(t *testing.T) {
	spark.require(t)
	for _, c := range []struct {
		name string
		long bool
		of   string
	}{
		{"plain", true, "TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')"},
		{"partitions", true, "PARTITIONED BY (p) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')"},
		{"deletion vectors", true, "TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = 'true')"},
		{"deletion vectors, partitions", true, "PARTITIONED BY (p) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = 'true')"},
		{"deletion vectors, column mapping, partitions", false, "PARTITIONED BY (p) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name')"},
		{"column mapping, partitions", true, "PARTITIONED BY (p) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.columnMapping.mode' = 'name')"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long && !*long {
				t.Skip("in the long form")
			}
			dir := filepath.Join(t.TempDir(), "table")
			var statements []string
			for _, s := range fedBySpark {
				s = strings.NewReplacer("TABLE TABLE", "TABLE delta.`"+dir+"`", "OVERWRITE TABLE", "OVERWRITE delta.`"+dir+"`", "TABLE", "delta.`"+dir+"`").Replace(s)
				statements = append(statements, strings.Replace(s, "USING delta OF", "USING delta "+c.of, 1))
			}
			sql(t, dir, statements...)
			table, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{})
			must(t, err)
			defer func() { must(t, table.Close(context.WithoutCancel(t.Context()))) }()
			sameChanges(t, table, dir, 0, map[string]int{})
		})
	}
}
