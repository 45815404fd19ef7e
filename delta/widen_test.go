package delta_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func kindOf(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }

func decimalOf(p, s int) *schema.Type {
	return &schema.Type{Kind: schema.Decimal, Precision: p, Scale: s}
}

// narrow is a table with a column of each type that can widen.
func narrow() *schema.Type {
	return structOf(field("b", schema.Byte), field("h", schema.Short), field("i", schema.Integer), field("l", schema.Long),
		field("f", schema.Float), schema.Field{Name: "d", Type: decimalOf(9, 2), Nullable: true}, field("p", schema.String),
		schema.Field{Name: "s", Type: structOf(field("n", schema.Integer)), Nullable: true})
}

func narrowRows(p string, from, n int) *column.Batch {
	b := column.NewBatch(narrow())
	for i := range n {
		x := int32(from + i - 50)
		b.Columns[6].AppendString(p)
		if i == 3 {
			continue // the others are null
		}
		for _, c := range b.Columns[:6] {
			c.PadNulls(i)
		}
		b.Columns[7].PadNulls(i)
		for k := range 3 {
			b.Columns[k].AppendInt32(x)
		}
		b.Columns[3].AppendInt64(int64(x) << 40)
		b.Columns[4].AppendFloat32(float32(x) / 4)
		b.Columns[5].AppendInt64(int64(x))
		b.Columns[7].AppendStruct()
		b.Columns[7].Children[0].AppendInt32(x)
	}
	b.Seal(n)
	return b
}

func TestWiden(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	table := create(t, st, delta.CreateOptions{
		Schema: narrow(), PartitionColumns: []string{"p"}, Configuration: map[string]string{"delta.appendOnly": "true"},
	})
	write(t, table, narrowRows("x", 0, 20), narrowRows("y", 20, 5))
	write(t, table, narrowRows("x", 40, 7))
	before := rows(t, table.Snapshot(), nil)
	files := table.Snapshot().NumFiles()
	to := map[string]*schema.Type{
		"b": kindOf(schema.Long), "h": kindOf(schema.Integer), "i": decimalOf(12, 2), "l": decimalOf(20, 0),
		"f": kindOf(schema.Double), "d": decimalOf(20, 4), "s.n": kindOf(schema.Double),
	}
	plan, err := table.Widen(t.Context(), to, delta.WidenOptions{DryRun: true})
	must(t, err)
	if plan.Version != 2 || plan.FilesRemoved != files || plan.BytesRemoved != table.Snapshot().Bytes() {
		t.Errorf("plan %+v", plan)
	}
	res, err := table.Widen(t.Context(), to, delta.WidenOptions{})
	must(t, err)
	if res.Version != 3 || res.FilesRemoved != files || res.FilesAdded != files || res.BytesRemoved != plan.BytesRemoved || res.BytesAdded == 0 {
		t.Errorf("result %+v", res)
	}
	after := table.Snapshot()
	if got := after.Schema().String(); got != "struct<b:long,h:integer,i:decimal(12,2),l:decimal(20,0),f:double,d:decimal(20,4),p:string,s:struct<n:double>>" {
		t.Error(got)
	}
	old, err := delta.OpenAt(t.Context(), st, 2)
	must(t, err)
	if d := cmp.Diff(before, rows(t, old, nil)); d != "" {
		t.Errorf("the version before (-want +got):\n%s", d)
	}
	if d := cmp.Diff(rows(t, old, after.Schema()), rows(t, after, nil)); d != "" {
		t.Errorf("rows (-old files read as the new types +new files):\n%s", d)
	}
	data, err := st.Get(t.Context(), key(3))
	must(t, err)
	if strings.Contains(string(data), `"dataChange":true`) {
		t.Errorf("entry %s", data)
	}
	if res, err = table.Widen(t.Context(), to, delta.WidenOptions{}); err != nil || res != (delta.WidenResult{Version: 3}) {
		t.Errorf("again: %+v, %v", res, err)
	}
	if os.Getenv("WEIR_PYTHON") != "" {
		if d := cmp.Diff(peerRows(t, after), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
	}
}

// TestWidenBesideAppends: a file with the old type that comes meanwhile is rewritten, too.
func TestWidenBesideAppends(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	table := create(t, f, delta.CreateOptions{Schema: structOf(field("id", schema.Integer))})
	ints := func(x int32) *column.Batch {
		b := column.NewBatch(structOf(field("id", schema.Integer)))
		b.Columns[0].AppendInt32(x)
		b.Seal(1)
		return b
	}
	write(t, table, ints(1))
	other := open(t, f.Store, delta.Options{})
	once := true
	f.put = func(k string, _ []byte) (bool, error) {
		if once && k == key(2) {
			once = false
			write(t, other, ints(2))
		}
		return true, nil
	}
	res, err := table.Widen(t.Context(), map[string]*schema.Type{"id": kindOf(schema.Long)}, delta.WidenOptions{})
	must(t, err)
	if res.Version != 3 || res.FilesRemoved != 2 {
		t.Errorf("result %+v", res)
	}
	if d := cmp.Diff([]string{"map[id:1]", "map[id:2]"}, rows(t, table.Snapshot(), nil)); d != "" {
		t.Error(d)
	}
	// Whoever began with the old schema is told.
	adds, err := other.WriteData(t.Context(), structOf(field("id", schema.Integer)), nil, []*column.Batch{ints(3)}, parquet.WriterOptions{})
	must(t, err)
	base := other.Snapshot()
	_, err = other.Commit(t.Context(), fixed(delta.Transaction{Operation: "WRITE", Adds: adds, BlindAppend: true, Base: base}))
	if _, ok := errors.AsType[*delta.ConflictError](err); !ok {
		t.Errorf("an append of the old type: %v", err)
	}
}

func TestWidenRefuses(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: narrow(), PartitionColumns: []string{"p"}})
	for name, c := range map[string]struct {
		column string
		to     *schema.Type
		want   string
	}{
		"unknown":          {"nope", kindOf(schema.Long), `column "nope": the table has no such column`},
		"unknown inside":   {"s.nope", kindOf(schema.Long), `column "s.nope": the table has no such column`},
		"not a struct":     {"b.x", kindOf(schema.Long), `column "b.x": the table has no such column`},
		"partition":        {"p", kindOf(schema.Binary), "it partitions the table"},
		"narrower":         {"l", kindOf(schema.Integer), "it is long, and not all of its values are values of integer"},
		"long to double":   {"l", kindOf(schema.Double), "not all of its values are values of double"},
		"text":             {"i", kindOf(schema.String), "not all of its values are values of string"},
		"few digits":       {"i", decimalOf(11, 2), "not all of its values"},
		"fewer behind":     {"d", decimalOf(20, 1), "not all of its values"},
		"fewer before":     {"d", decimalOf(9, 3), "not all of its values"},
		"float to decimal": {"f", decimalOf(38, 10), "not all of its values"},
		"struct":           {"s", kindOf(schema.Long), "not all of its values"},
	} {
		_, err := table.Widen(t.Context(), map[string]*schema.Type{c.column: c.to}, delta.WidenOptions{})
		if _, ok := errors.AsType[*delta.WideningError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := table.Snapshot().Version(); v != 0 {
		t.Errorf("version %d", v)
	}
}
