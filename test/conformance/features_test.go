package conformance

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
)

// theirTable is a table that a peer makes with a feature, and what weir is to do with it.
type theirTable struct {
	feature string
	sql     []string  // by Spark, TABLE standing for the table
	make    []command // by deltalake, the path filled in; instead of sql
	read    string    // "" if weir reads it as the peer does, else what the refusal says
	append  string    // "" if weir may append, else what the refusal says
	row     map[string]any
	want    int // how many files, checkpoints and the like of a kind there are: see sure
	sure    string
}

// theirTables are those of the features of PROTOCOL.md that Spark 4.1 with Delta Lake 4.4 can make, and what deltalake can.
// docs/delta.md has the list.
var theirTables = []theirTable{
	{feature: "plain", sql: []string{"CREATE TABLE TABLE (id BIGINT, s STRING) USING delta", "INSERT INTO TABLE VALUES (1, 'a'), (2, NULL)"}},
	{feature: "partitions", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, d DATE, t TIMESTAMP, p STRING, n DECIMAL(10,2), b BOOLEAN, f DOUBLE) USING delta PARTITIONED BY (d, t, p, n, b, f)",
		"INSERT INTO TABLE VALUES (1, '2024-02-29', '2024-02-29 12:00:00.123456', 'a/b %=é', 1.50, true, 0.5), (2, NULL, NULL, NULL, NULL, NULL, NULL), (3, '0001-01-01', '1969-12-31 23:59:59', '', -0.01, false, double('NaN'))",
	}},
	{feature: "partition timestamps in another time zone's text", sql: []string{
		"SET spark.databricks.delta.write.utcTimestampPartitionValues = false",
		"CREATE TABLE TABLE (id BIGINT, t TIMESTAMP) USING delta PARTITIONED BY (t)",
		"INSERT INTO TABLE VALUES (1, '2024-02-29 12:00:00.5'), (2, NULL)",
		"RESET spark.databricks.delta.write.utcTimestampPartitionValues",
	}},
	{feature: "classic checkpoint", sure: "_delta_log/*.checkpoint.parquet", want: 2, sql: []string{
		"CREATE TABLE TABLE (id BIGINT, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.checkpointInterval' = '2')",
		"INSERT INTO TABLE VALUES (1, 'a'), (2, NULL)", "INSERT INTO TABLE VALUES (3, 'a')", "DELETE FROM TABLE WHERE id = 1", "INSERT INTO TABLE VALUES (4, 'b')",
	}},
	{feature: "checkpoint with stats as a struct and none as JSON", sure: "_delta_log/*.checkpoint.parquet", want: 1, sql: []string{
		"CREATE TABLE TABLE (id BIGINT, p DATE) USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.checkpointInterval' = '2', 'delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false')",
		"INSERT INTO TABLE VALUES (1, '2024-01-01'), (2, NULL)", "INSERT INTO TABLE VALUES (3, '2024-01-02')",
	}},
	{feature: "multi-part checkpoint", sure: "_delta_log/*.checkpoint.*.*.parquet", want: 2, sql: []string{
		"SET spark.databricks.delta.checkpoint.partSize = 2",
		"CREATE TABLE TABLE (id BIGINT, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.checkpointInterval' = '2')",
		"INSERT INTO TABLE VALUES (1, 'a'), (2, 'b')", "INSERT INTO TABLE VALUES (3, 'c')",
		"RESET spark.databricks.delta.checkpoint.partSize",
	}},
	{feature: "v2Checkpoint", sure: "_delta_log/_sidecars/*", want: 1, sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2')",
		"INSERT INTO TABLE VALUES (1)", "INSERT INTO TABLE VALUES (2)", "INSERT INTO TABLE VALUES (3)",
	}},
	{feature: "v2Checkpoint as JSON", sure: "_delta_log/*.checkpoint.*.json", want: 1, sql: []string{
		"SET spark.databricks.delta.checkpointV2.topLevelFileFormat = json",
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2')",
		"INSERT INTO TABLE VALUES (1)", "INSERT INTO TABLE VALUES (2)", "INSERT INTO TABLE VALUES (3)",
		"RESET spark.databricks.delta.checkpointV2.topLevelFileFormat",
	}},
	{feature: "deletionVectors", sure: "deletion_vector_*.bin", want: 1, sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')",
		"INSERT INTO TABLE SELECT id FROM range(0, 200, 1, 1)", "DELETE FROM TABLE WHERE id % 3 = 0", "DELETE FROM TABLE WHERE id = 100",
	}},
	{feature: "columnMapping by name", read: "", append: "columnMapping", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, `a b,c` STRING, st STRUCT<x: INT, `y z`: STRING>) USING delta TBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
		"INSERT INTO TABLE VALUES (1, 'a', named_struct('x', 1, 'y z', 'z'))", "ALTER TABLE TABLE RENAME COLUMN `a b,c` TO renamed",
		"INSERT INTO TABLE VALUES (2, 'b', NULL)", "ALTER TABLE TABLE DROP COLUMN st",
	}},
	{feature: "columnMapping by id", append: "columnMapping", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING, l ARRAY<STRUCT<x: INT>>) USING delta TBLPROPERTIES ('delta.columnMapping.mode' = 'id')",
		"INSERT INTO TABLE VALUES (1, 'a', array(named_struct('x', 1)))", "ALTER TABLE TABLE RENAME COLUMN s TO t", "INSERT INTO TABLE VALUES (2, 'b', NULL)",
	}},
	{feature: "checkConstraints", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING) USING delta", "INSERT INTO TABLE VALUES (1, 'a')",
		"ALTER TABLE TABLE ADD CONSTRAINT sensible CHECK (id > 0 AND (s IS NULL OR s <> 'b'))",
	}},
	{feature: "checkConstraints with a function", append: "length", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING) USING delta", "INSERT INTO TABLE VALUES (1, 'a')",
		"ALTER TABLE TABLE ADD CONSTRAINT short CHECK (length(s) < 9)",
	}},
	{feature: "NOT NULL", row: map[string]any{"id": int64(99)}, sql: []string{
		"CREATE TABLE TABLE (id BIGINT NOT NULL, s STRING) USING delta", "INSERT INTO TABLE VALUES (1, 'a')",
	}},
	{feature: "appendOnly", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.appendOnly' = 'true')", "INSERT INTO TABLE VALUES (1)",
	}},
	{feature: "generatedColumns", append: "generated column", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, twice BIGINT GENERATED ALWAYS AS (id * 2)) USING delta", "INSERT INTO TABLE (id) VALUES (1), (2)",
	}},
	{feature: "identityColumns", append: "identity column", sql: []string{
		"CREATE TABLE TABLE (id BIGINT GENERATED ALWAYS AS IDENTITY, s STRING) USING delta", "INSERT INTO TABLE (s) VALUES ('a'), ('b')",
	}},
	{feature: "allowColumnDefaults", append: "default value", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING DEFAULT 'x') USING delta TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')",
		"INSERT INTO TABLE (id) VALUES (1)",
	}},
	{feature: "changeDataFeed", sure: "_change_data/*", want: 1, sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING) USING delta TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
		"INSERT INTO TABLE VALUES (1, 'a'), (2, 'b')", "UPDATE TABLE SET s = 'c' WHERE id = 1",
	}},
	{feature: "typeWidening", append: "typeWidening", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, n SMALLINT, d DATE, f FLOAT, m DECIMAL(5,2)) USING delta TBLPROPERTIES ('delta.enableTypeWidening' = 'true', 'delta.feature.timestampNtz' = 'supported')",
		"INSERT INTO TABLE VALUES (1, 7, '2024-02-29', 0.1, 1.25)", "ALTER TABLE TABLE CHANGE COLUMN n TYPE INT", "ALTER TABLE TABLE CHANGE COLUMN f TYPE DOUBLE",
		"ALTER TABLE TABLE CHANGE COLUMN m TYPE DECIMAL(12,4)", "ALTER TABLE TABLE CHANGE COLUMN d TYPE TIMESTAMP_NTZ", "INSERT INTO TABLE VALUES (2, 100000, '2024-03-01 01:02:03', 0.2, 3.0)",
	}},
	{feature: "timestampNtz", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, t TIMESTAMP_NTZ, p TIMESTAMP_NTZ) USING delta PARTITIONED BY (p)",
		"INSERT INTO TABLE VALUES (1, '2024-02-29 12:00:00.123456', '1969-12-31 23:59:59.5'), (2, NULL, NULL)",
	}},
	{feature: "rowTracking", append: "owTracking", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.enableRowTracking' = 'true')", "INSERT INTO TABLE VALUES (1), (2)", "DELETE FROM TABLE WHERE id = 1",
	}},
	{feature: "clustering", append: "clustering", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, s STRING) USING delta CLUSTER BY (id)", "INSERT INTO TABLE VALUES (1, 'a'), (2, 'b')", "OPTIMIZE TABLE",
	}},
	{feature: "inCommitTimestamp", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')", "INSERT INTO TABLE VALUES (1)",
	}},
	{feature: "vacuumProtocolCheck", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.feature.vacuumProtocolCheck' = 'supported')", "INSERT INTO TABLE VALUES (1)",
	}},
	{feature: "variantType", read: "type variant", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, v VARIANT) USING delta", "INSERT INTO TABLE SELECT 1, parse_json('{\"a\": 1}')",
	}},
	{feature: "icebergCompatV2", append: "cebergCompatV2", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.enableIcebergCompatV2' = 'true', 'delta.columnMapping.mode' = 'name')", "INSERT INTO TABLE VALUES (1)",
	}},
	{feature: "domainMetadata", sql: []string{
		"CREATE TABLE TABLE (id BIGINT) USING delta TBLPROPERTIES ('delta.feature.domainMetadata' = 'supported')", "INSERT INTO TABLE VALUES (1)",
	}},
	{feature: "char and varchar", sql: []string{
		"CREATE TABLE TABLE (id BIGINT, c CHAR(1), v VARCHAR(4)) USING delta", "INSERT INTO TABLE VALUES (1, 'a', 'b')",
	}},
	{feature: "a void column", read: "type void", sql: []string{"CREATE TABLE TABLE (id BIGINT) USING delta", "INSERT INTO TABLE VALUES (1)", "ALTER TABLE TABLE ADD COLUMN v VOID"}},
	{feature: "overwritten with another schema and partitioning", sql: []string{
		"CREATE TABLE TABLE USING delta AS SELECT 1L AS id, 'a' AS s", "CREATE OR REPLACE TABLE TABLE USING delta PARTITIONED BY (p) AS SELECT 2L AS id, 'x' AS p",
	}},
	{feature: "restored and vacuumed", sql: []string{
		"CREATE TABLE TABLE USING delta AS SELECT 1L AS id", "INSERT INTO TABLE VALUES (2)", "DELETE FROM TABLE WHERE id = 1", "RESTORE TABLE TABLE TO VERSION AS OF 1", "VACUUM TABLE RETAIN 0 HOURS",
	}},
	{feature: "by deltalake: checkpoint", make: []command{deltalakeRows(nil), deltalakeRows(nil), {"op": "checkpoint"}, {"op": "delete", "where": "id = 1"}}},
	{feature: "by deltalake: partitions", make: []command{deltalakeRows(map[string]any{"partitionBy": []string{"s"}}), {"op": "compact"}, {"op": "checkpoint"}}},
	{feature: "by deltalake: checkConstraints", make: []command{
		deltalakeRows(nil), {"op": "constrain", "constraints": map[string]string{"sensible": "id > 0 and s <> 'b'"}},
	}},
	{feature: "by deltalake: changeDataFeed", make: []command{
		deltalakeRows(map[string]any{"configuration": map[string]string{"delta.enableChangeDataFeed": "true"}}), {"op": "update", "set": "s = 'c'", "where": "id = 1"},
	}},
	{feature: "by deltalake: appendOnly", make: []command{
		deltalakeRows(map[string]any{"configuration": map[string]string{"delta.appendOnly": "true"}}),
	}},
	{feature: "by deltalake: deletionVectors", make: []command{
		deltalakeRows(nil), {"op": "properties", "properties": map[string]string{"delta.enableDeletionVectors": "true"}}, {"op": "delete", "where": "id = 1"},
	}},
}

func deltalakeRows(more map[string]any) command {
	c := command{"op": "append", "schema": baseColumns.JSON(), "rows": []any{
		map[string]any{"id": 1, "s": "a", "p": "é/%"}, map[string]any{"id": 2, "s": "x", "p": nil},
	}}
	maps.Copy(c, more)
	return c
}

// TestTablesOfOthers: weir reads a table with each feature as its writer does and appends to it, or refuses and says why.
func TestTablesOfOthers(t *testing.T) {
	deltalake.require(t)
	spark.require(t)
	for _, c := range theirTables {
		t.Run(c.feature, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "table")
			p, a := c.create(t, dir)
			if c.sure != "" {
				files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(c.sure)))
				must(t, err)
				if len(files) < c.want {
					t.Errorf("the table has %d %s, want %d: it does not test what it should", len(files), c.sure, c.want)
				}
			}
			c.check(t, dir, p, a)
		})
	}
}

func (c *theirTable) create(t *testing.T, dir string) (*peer, *answer) {
	t.Helper()
	if c.sql != nil {
		return spark, sql(t, dir, c.statements(dir)...)
	}
	var a *answer
	for _, m := range c.make {
		m["path"] = dir
		a = deltalake.must(t, m)
	}
	return deltalake, a
}

// statements are those of sql with the table's name for the word TABLE where it stands for that.
func (c *theirTable) statements(dir string) (out []string) {
	name := "delta.`" + dir + "`"
	for _, s := range c.sql {
		s = strings.NewReplacer("TABLE TABLE", "TABLE "+name, "INTO TABLE", "INTO "+name, "FROM TABLE", "FROM "+name,
			"UPDATE TABLE", "UPDATE "+name, "OPTIMIZE TABLE", "OPTIMIZE "+name, "VACUUM TABLE", "VACUUM "+name).Replace(s)
		out = append(out, s)
	}
	return out
}

func (c *theirTable) check(t *testing.T, dir string, p *peer, a *answer) {
	t.Helper()
	table, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{CheckpointEvery: 1})
	if c.read != "" {
		refused(t, err, c.read)
		return
	}
	must(t, err)
	defer func() { must(t, table.Close(context.WithoutCancel(t.Context()))) }()
	same(t, table.Snapshot(), p, a)
	if n, ok := table.Snapshot().NumRecords(); !ok || n != int64(len(a.Rows)) {
		t.Errorf("by statistics the table has %d rows (%v), want %d", n, ok, len(a.Rows))
	}
	before := logEntries(t, dir)
	err = c.appendRow(t, table)
	if c.append != "" {
		refused(t, err, c.append)
		if d := cmp.Diff(before, logEntries(t, dir)); d != "" {
			t.Errorf("a refused commit wrote to the log:\n%s", d)
		}
		return
	}
	must(t, err)
	must(t, table.Checkpoint(t.Context()))
	after := p.must(t, command{"op": "look", "path": dir})
	if len(after.Rows) != len(a.Rows)+1 {
		t.Errorf("%s sees %d rows after one was added to %d", p.name, len(after.Rows), len(a.Rows))
	}
	same(t, table.Snapshot(), p, after)
}

// appendRow appends a row that has an id and, where there is one, a text.
func (c *theirTable) appendRow(t *testing.T, table *delta.Table) error {
	t.Helper()
	if err := table.Snapshot().CheckWritable(); err != nil {
		return err
	}
	s := table.Snapshot().Schema()
	row := c.row
	if row == nil {
		row = map[string]any{"id": int64(99)}
		if s.Index("s") >= 0 {
			row["s"] = "new"
		}
	}
	adds, err := table.WriteData(t.Context(), s, table.Snapshot().PartitionColumns(), []*column.Batch{build(s, []map[string]any{row})}, parquet.WriterOptions{})
	if err != nil {
		return err
	}
	_, err = table.Commit(t.Context(), func(_ context.Context, now *delta.Snapshot) (*delta.Transaction, error) {
		return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds, Constraints: now.Constraints()}, nil
	})
	return err
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if e, ok := errors.AsType[*delta.UnsupportedFeatureError](err); !ok || !strings.Contains(e.Error(), why) {
		t.Errorf("refused with %v, want an UnsupportedFeatureError that speaks of %q", err, why)
	}
}

func logEntries(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "_delta_log"))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}
