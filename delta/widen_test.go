package delta_test

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// making is a store that counts the data files made.
type making struct {
	store.Store
	files int
}

func (m *making) Create(ctx context.Context, key string) (store.Writer, error) {
	m.files++
	return m.Store.Create(ctx, key)
}

// TestWidenBesideAppends: a file with the old type that comes meanwhile is rewritten, too, and only that one; what one that
// goes became is deleted.
func TestWidenBesideAppends(t *testing.T) {
	made := &making{Store: store.NewMemory()}
	f := &faulty{Store: made}
	table := create(t, f, delta.CreateOptions{Schema: structOf(field("id", schema.Integer))})
	ints := func(x int32) *column.Batch {
		b := column.NewBatch(structOf(field("id", schema.Integer)))
		b.Columns[0].AppendInt32(x)
		b.Seal(1)
		return b
	}
	write(t, table, ints(0))
	write(t, table, ints(1))
	other := open(t, made.Store, delta.Options{})
	once := true
	f.put = func(k string, _ []byte) (bool, error) {
		if once && k == key(3) {
			once = false
			write(t, other, ints(2))
			zero, err := delta.ParsePredicate("id = 0", other.Snapshot().Schema())
			must(t, err)
			_, err = other.Delete(t.Context(), delta.DeleteOptions{Where: zero})
			must(t, err)
		}
		return true, nil
	}
	made.files = 0
	res, err := table.Widen(t.Context(), map[string]*schema.Type{"id": kindOf(schema.Long)}, delta.WidenOptions{})
	must(t, err)
	if res.Version != 5 || res.FilesRemoved != 2 || made.files != 3 {
		t.Errorf("result %+v, %d files made", res, made.files)
	}
	if d := cmp.Diff([]string{"map[id:1]", "map[id:2]"}, rows(t, table.Snapshot(), nil)); d != "" {
		t.Error(d)
	}
	left := 0
	for o, err := range made.List(t.Context(), "part-", "") {
		must(t, err)
		left++
		_ = o
	}
	if left != 3+2 { // those of the old type, and two of the new one
		t.Errorf("%d data files", left)
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
		"long to double":   {"l", kindOf(schema.Double), "not all of its values are values of double: ask for an exact change"},
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

// TestWidenExactly: numbers get a type that holds fewer, or others, if every row's value is one of it; a row that is deleted
// does not count.
func TestWidenExactly(t *testing.T) {
	big := float64(1 << 53)
	for _, c := range []struct {
		from, to *schema.Type
		values   []any // int64 of integers and decimals (unscaled), float64 of floats; nil
		want     string
		bad      string // the value that is not exact
	}{
		{kindOf(schema.Long), kindOf(schema.Double), []any{int64(1 << 53), nil, int64(-3), int64(math.MinInt64)}, "[map[x:9.007199254740992e+15] map[x:<nil>] map[x:-3] map[x:-9.223372036854776e+18]]", ""},
		{kindOf(schema.Long), kindOf(schema.Double), []any{nil, int64(1<<53 + 1)}, "", "row 1 of %s, counted from 0, has 9007199254740993, which is not exactly a value of double"},
		{kindOf(schema.Long), kindOf(schema.Double), []any{int64(math.MaxInt64)}, "", "has 9223372036854775807"},
		{kindOf(schema.Long), kindOf(schema.Float), []any{int64(1<<24 + 1)}, "", "has 16777217"},
		{kindOf(schema.Long), kindOf(schema.Byte), []any{int64(127), int64(-128)}, "[map[x:127] map[x:-128]]", ""},
		{kindOf(schema.Long), kindOf(schema.Byte), []any{int64(0), int64(128)}, "", "row 1 of %s, counted from 0, has 128, which"},
		{kindOf(schema.Long), kindOf(schema.Integer), []any{int64(math.MinInt32) - 1}, "", "has -2147483649"},
		{kindOf(schema.Double), kindOf(schema.Float), []any{0.5, math.NaN(), math.Inf(-1)}, "[map[x:0.5] map[x:NaN] map[x:-Inf]]", ""},
		{kindOf(schema.Double), kindOf(schema.Float), []any{0.1}, "", "has 0.1"},
		{kindOf(schema.Double), kindOf(schema.Long), []any{big, -1.0}, "[map[x:9007199254740992] map[x:-1]]", ""},
		{kindOf(schema.Double), kindOf(schema.Long), []any{math.NaN()}, "", "has NaN"},
		{kindOf(schema.Double), kindOf(schema.Long), []any{1e19}, "", "has 1e+19"},
		{kindOf(schema.Double), decimalOf(20, 2), []any{0.25, -1.5}, "[map[x:0.25] map[x:-1.50]]", ""},
		{kindOf(schema.Double), decimalOf(20, 2), []any{0.125}, "", "has 0.125, which is not exactly a value of decimal(20,2)"},
		{kindOf(schema.Double), decimalOf(20, 2), []any{math.Inf(1)}, "", "has +Inf"},
		{kindOf(schema.Double), decimalOf(3, 0), []any{1000.0}, "", "has 1000"},
		{decimalOf(20, 2), decimalOf(5, 1), []any{int64(150), int64(-99990)}, "[map[x:1.5] map[x:-999.9]]", ""},
		{decimalOf(20, 2), decimalOf(5, 1), []any{int64(151)}, "", "has 1.51"},
		{decimalOf(20, 2), kindOf(schema.Long), []any{int64(-700)}, "[map[x:-7]]", ""},
		{decimalOf(20, 2), kindOf(schema.Double), []any{int64(25)}, "[map[x:0.25]]", ""},
		{decimalOf(20, 2), kindOf(schema.Double), []any{int64(10)}, "", "has 0.10"},
	} {
		t.Run(fmt.Sprint(c.from, " to ", c.to, " ", c.values), func(t *testing.T) {
			s := structOf(schema.Field{Name: "x", Type: c.from, Nullable: true})
			if len(c.values)%2 == 0 { // inside of a struct that may be null, too
				s = structOf(schema.Field{Name: "s", Type: s, Nullable: true})
			}
			table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s})
			add := write(t, table, numbers(s, c.values))
			name := "x"
			if s.Fields[0].Name == "s" {
				name = "s.x"
			}
			_, err := table.Widen(t.Context(), map[string]*schema.Type{name: c.to}, delta.WidenOptions{Exact: true})
			if c.bad != "" {
				if _, ok := errors.AsType[*delta.WideningError](err); !ok || !strings.Contains(err.Error(), strings.ReplaceAll(c.bad, "%s", add[0].Path)) || !strings.Contains(err.Error(), name) {
					t.Fatalf("error %v, want %q", err, c.bad)
				}
				if s := table.Snapshot(); s.Version() != 1 || len(paths(s)) != 1 {
					t.Errorf("version %d", s.Version())
				}
				return
			}
			must(t, err)
			var got []any
			for b, err := range table.Snapshot().Read(t.Context(), nil) {
				must(t, err)
				for i := range b.Rows {
					row := b.Row(i)
					if in, ok := row["s"].(map[string]any); ok {
						row = in
					}
					got = append(got, row)
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

// numbers are rows of a number column x, which may be in a struct s.
func numbers(s *schema.Type, values []any) *column.Batch {
	b := column.NewBatch(s)
	v := b.Columns[0]
	if v.Type.Kind == schema.Struct {
		v = v.Children[0]
	}
	for i, x := range values {
		switch x := x.(type) {
		case nil:
			v.AppendNull()
		case float64:
			v.AppendFloat64(x)
		case int64:
			if v.Type.Precision > 18 {
				v.AppendDecimal128(x>>63, uint64(x))
			} else {
				v.AppendInt64(x)
			}
		}
		if b.Columns[0] != v {
			b.Columns[0].AppendStruct()
			v.PadNulls(i + 1)
		}
	}
	b.Seal(len(values))
	return b
}

// TestExactLeavesDeletedRowsOut: a value that is not exact does not matter once its row is deleted, and rows are named as they
// stand in the file.
func TestExactLeavesDeletedRowsOut(t *testing.T) {
	s := structOf(field("x", schema.Long))
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s})
	must(t, table.EnableDeletionVectors(t.Context()))
	write(t, table, numbers(s, []any{int64(1), int64(1000), int64(2), int64(3), int64(2000), int64(4), int64(5)}))
	remove := func(condition string) {
		where, err := delta.ParsePredicate(condition, s)
		must(t, err)
		_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: where})
		must(t, err)
	}
	to := map[string]*schema.Type{"x": kindOf(schema.Byte)}
	remove("x = 1000")
	if _, err := table.Widen(t.Context(), to, delta.WidenOptions{Exact: true}); err == nil || !strings.Contains(err.Error(), "row 4 of ") {
		t.Errorf("error %v, want row 4", err)
	}
	remove("x = 2000")
	_, err := table.Widen(t.Context(), to, delta.WidenOptions{Exact: true})
	must(t, err)
	if got := rows(t, table.Snapshot(), nil); len(got) != 5 || got[4] != "map[x:5]" {
		t.Errorf("rows %v", got)
	}
}

// TestTypeChangeNeedsNewFiles: metadata alone cannot change what the files hold.
func TestTypeChangeNeedsNewFiles(t *testing.T) {
	from := structOf(field("id", schema.Integer), schema.Field{Name: "l", Nullable: true, Type: &schema.Type{
		Kind: schema.Array, Elem: structOf(field("n", schema.Integer)), ContainsNull: true,
	}})
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: from})
	b := column.NewBatch(from)
	b.Columns[0].AppendInt32(1)
	b.Seal(1)
	change := func(to *schema.Type) error {
		_, err := table.Commit(t.Context(), func(_ context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
			md := s.Metadata()
			md.SetSchema(to)
			return &delta.Transaction{Operation: "CHANGE COLUMN", Metadata: &md}, nil
		})
		return err
	}
	must(t, change(structOf(field("id", schema.Long), from.Fields[1]))) // there is no file
	must(t, change(from))
	write(t, table, b)
	deep := structOf(from.Fields[0], schema.Field{Name: "l", Nullable: true, Type: &schema.Type{
		Kind: schema.Array, Elem: structOf(field("n", schema.Long)), ContainsNull: true,
	}})
	for name, to := range map[string]*schema.Type{"id": structOf(field("id", schema.Long), from.Fields[1]), "l.n": deep} {
		err := change(to)
		if _, ok := errors.AsType[*delta.InvalidTransactionError](err); !ok || !strings.Contains(err.Error(), fmt.Sprintf("column %q cannot change its type", name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, change(structOf(from.Fields[0], from.Fields[1], field("more", schema.Long))))
}
