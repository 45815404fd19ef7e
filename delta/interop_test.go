package delta_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// needPeer skips the test, loudly, where there is no deltalake.
func needPeer(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_PYTHON") == "" {
		t.Skip("NOT TESTED: WEIR_PYTHON names no Python that has deltalake 1.6.6 and pyarrow")
	}
}

// peer runs a command of testdata/peer.py and returns its lines.
func peer(t *testing.T, args ...string) []string {
	t.Helper()
	needPeer(t)
	lines, err := runPeer(t.Context(), args...)
	must(t, err)
	return lines
}

func runPeer(ctx context.Context, args ...string) ([]string, error) {
	args = append([]string{filepath.Join("testdata", "peer.py")}, args...)
	cmd := exec.CommandContext(ctx, os.Getenv("WEIR_PYTHON"), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("peer %v: %w: %s", args, err, stderr.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), nil
}

// peerRows are the rows of a snapshot in the form in which the peer prints them.
func peerRows(t *testing.T, s *delta.Snapshot) []string {
	t.Helper()
	out := []string{}
	for b, err := range s.Read(t.Context(), nil) {
		must(t, err)
		out = append(out, printed(t, b)...)
	}
	slices.Sort(out)
	return out
}

// printed are the rows of a batch in that form.
func printed(t *testing.T, b *column.Batch) (out []string) {
	t.Helper()
	for i := range b.Rows {
		var line strings.Builder
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false)
		must(t, enc.Encode(plain(b.Row(i))))
		out = append(out, spaced(t, line.String()))
	}
	return out
}

// spaced parses a line, so that lines compare whatever their spaces.
func spaced(t *testing.T, line string) string {
	t.Helper()
	var v any
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	must(t, dec.Decode(&v))
	out, err := json.Marshal(v)
	must(t, err)
	return string(out)
}

func plain(v any) any {
	switch v := v.(type) {
	case float64:
		return bits(v)
	case float32:
		return bits(float64(v))
	case []byte:
		return hex.EncodeToString(v)
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
		return v
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
		return v
	case []column.Entry:
		list := []any{}
		for _, e := range v {
			list = append(list, []any{plain(e.Key), plain(e.Value)})
		}
		return list
	}
	return v
}

// bits is a float as an integer, so that no digit is lost on the way; every NaN is the same.
func bits(f float64) any {
	if math.IsNaN(f) {
		return "NaN"
	}
	return int64(math.Float64bits(f))
}

func sortedRows(t *testing.T, lines []string) []string {
	t.Helper()
	out := []string{}
	for _, l := range lines {
		if l != "" {
			out = append(out, spaced(t, l))
		}
	}
	slices.Sort(out)
	return out
}

// everyType is a batch of every type, with nulls and edge values.
func everyType() *column.Batch {
	long := &schema.Type{Kind: schema.Long}
	s := structOf(
		field("b", schema.Boolean), field("i8", schema.Byte), field("i16", schema.Short), field("i32", schema.Integer),
		field("i64", schema.Long), field("f32", schema.Float), field("f64", schema.Double), field("s", schema.String),
		field("bin", schema.Binary), field("d", schema.Date), field("ts", schema.Timestamp),
		schema.Field{Name: "dec", Type: &schema.Type{Kind: schema.Decimal, Precision: 18, Scale: 4}, Nullable: true},
		schema.Field{Name: "wide", Type: &schema.Type{Kind: schema.Decimal, Precision: 38, Scale: 10}, Nullable: true},
		schema.Field{Name: "list", Type: &schema.Type{Kind: schema.Array, Elem: long, ContainsNull: true}, Nullable: true},
		schema.Field{Name: "st", Type: structOf(field("x", schema.Long), field("y", schema.String)), Nullable: true},
		field("p", schema.String), field("pd", schema.Date),
	)
	b := column.NewBatch(s)
	c := b.Columns
	for i := range 3 {
		sign := int64(1 - 2*i) // 1, -1, -3
		c[0].AppendBool(i == 0)
		c[1].AppendInt32(int32(sign * 42))
		c[2].AppendInt32(int32(sign * 10_000))
		c[3].AppendInt32(int32(sign * math.MaxInt32 / 3))
		c[4].AppendInt64(sign * (math.MaxInt64 / 3))
		c[5].AppendFloat32(float32(sign) * 0.5)
		c[6].AppendFloat64([]float64{0.1, math.Inf(1), math.NaN()}[i])
		c[7].AppendString([]string{"", "日本語\U0001F600 " + strings.Repeat("é", 40), "a\"\\\n\x01"}[i])
		c[8].AppendBytes([]byte{0, byte(i), 255})
		c[9].AppendInt32(int32(sign * 10_000))
		c[10].AppendInt64(sign * 1_600_000_000_123_456)
		c[11].AppendInt64(sign * 123_456)
		c[12].AppendDecimal128([]int64{5, -1, 0}[i], []uint64{7, math.MaxUint64, 1}[i])
		for j := range i {
			c[13].Children[0].AppendInt64(int64(j))
			c[13].Children[0].AppendNull()
		}
		c[13].AppendList()
		at := c[14].AppendStruct()
		c[14].Children[0].PadNulls(at)
		c[14].Children[0].AppendInt64(sign)
		c[15].AppendString([]string{"a b/c%d", "é=:'", "__x"}[i])
		c[16].AppendInt32(int32(i))
	}
	b.Seal(4) // the last row is all null
	return b
}

func TestDeltaLakeReadsOurTable(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	b := everyType()
	table := create(t, st, delta.CreateOptions{Schema: b.Schema, PartitionColumns: []string{"p", "pd"}})
	adds := write(t, table, b)
	write(t, table, b)
	for range 2 {
		s := table.Snapshot()
		info := peer(t, "info", dir)[0]
		var got struct {
			Version int64
			Files   []string
			Schema  json.RawMessage
		}
		must(t, json.Unmarshal([]byte(info), &got))
		if got.Version != s.Version() || len(got.Files) != s.NumFiles() {
			t.Errorf("deltalake sees version %d with %d files, want %d with %d", got.Version, len(got.Files), s.Version(), s.NumFiles())
		}
		if d := cmp.Diff(peerRows(t, s), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
		// Once more, from a checkpoint and with a file removed.
		gone := adds[0]
		commit(t, table, fixed(delta.Transaction{
			Operation: "DELETE", Txns: []delta.Txn{{AppID: "app", Version: 5}},
			Removes: []delta.Remove{{Path: gone.Path, DataChange: true, PartitionValues: gone.PartitionValues, Size: gone.Size}},
		}))
		must(t, table.Checkpoint(t.Context()))
		must(t, st.Delete(t.Context(), key(0)))
		adds = adds[1:]
	}
	if info := peer(t, "info", dir)[0]; !strings.Contains(info, `"txn": 5`) {
		t.Errorf("the transaction version is lost: %s", info)
	}
}

func TestDeltaLakeAppendsBesideUs(t *testing.T) {
	needPeer(t)
	const each = 100
	dir := t.TempDir()
	st := localStore(t, dir)
	table := create(t, st, delta.CreateOptions{Options: delta.Options{CheckpointEvery: 20}})
	write(t, table, longs(-1))
	var theirs []string
	var wg sync.WaitGroup
	var theirErr error
	wg.Go(func() { theirs, theirErr = runPeer(t.Context(), "append", dir, "1000", strconv.Itoa(each)) })
	for i := range each {
		adds, err := table.WriteData(t.Context(), oneColumn, nil, []*column.Batch{longs(int64(i))}, parquet.WriterOptions{})
		must(t, err)
		commit(t, table, func(ctx context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
			return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
		})
	}
	wg.Wait()
	must(t, theirErr)
	if len(theirs) != each {
		t.Errorf("deltalake made %d commits, want %d", len(theirs), each)
	}
	s, err := table.Update(t.Context())
	must(t, err)
	if want := int64(1 + 2*each); s.Version() != want {
		t.Errorf("version %d, want %d", s.Version(), want)
	}
	want := []string{`{"id":-1}`}
	for i := range each {
		want = append(want, fmt.Sprintf(`{"id":%d}`, i), fmt.Sprintf(`{"id":%d}`, 1000+i))
	}
	slices.Sort(want)
	if d := cmp.Diff(want, peerRows(t, s)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, sortedRows(t, peer(t, "rows", dir))); d != "" {
		t.Errorf("rows as deltalake sees them (-want +got):\n%s", d)
	}
}

func TestWeReadAndAppendToTableOfDeltaLake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "table")
	peer(t, "make", dir)
	table := open(t, localStore(t, dir), delta.Options{})
	compare := func() {
		t.Helper()
		if d := cmp.Diff(sortedRows(t, peer(t, "rows", dir)), peerRows(t, table.Snapshot())); d != "" {
			t.Errorf("rows (-deltalake +weir):\n%s", d)
		}
	}
	compare()
	s := table.Snapshot()
	b := column.NewBatch(s.Schema())
	b.Columns[s.Schema().Index("id")].AppendInt64(7)
	b.Columns[s.Schema().Index("p")].AppendString("x\ny")
	b.Seal(2)
	write(t, table, b)
	must(t, table.Checkpoint(t.Context()))
	compare()
	old, err := delta.OpenAt(t.Context(), table.Store(), 1)
	must(t, err)
	if d := cmp.Diff(sortedRows(t, peer(t, "rows", dir, "1")), peerRows(t, old)); d != "" {
		t.Errorf("rows of version 1 (-deltalake +weir):\n%s", d)
	}
}
