package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func localStore(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := store.NewLocal(dir)
	must(t, err)
	return st
}

func field(name string, k schema.Kind) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: k}, Nullable: true}
}

func structOf(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

// plain is a value in the form in which the peers take and give it.
func plain(v any) any {
	switch v := v.(type) {
	case float64:
		return bits(v)
	case float32:
		return bits(float64(v))
	case []byte:
		return hex.EncodeToString(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = plain(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plain(x)
		}
		return out
	case []column.Entry:
		list := []any{}
		for _, e := range v {
			list = append(list, []any{plain(e.Key), plain(e.Value)})
		}
		return map[string]any{"$map": list}
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

// text is the one text of a row: members in order, nulls left out, entries of maps sorted.
func text(row any) (string, error) {
	line, err := json.Marshal(row)
	if err != nil {
		return "", err
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", err
	}
	line, err = json.Marshal(tidy(v))
	return string(line), err
}

func tidy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				v[k] = tidy(x)
			}
		}
		if entries, ok := v["$map"].([]any); ok {
			slices.SortFunc(entries, func(a, b any) int { return bytes.Compare(key(a), key(b)) })
		}
	case []any:
		for i := range v {
			v[i] = tidy(v[i])
		}
	}
	return v
}

func key(entry any) []byte {
	line, err := json.Marshal(entry)
	if err != nil {
		panic(err) // it came from JSON
	}
	return line
}

// texts are the rows that the peer sees, sorted.
func (a *answer) texts() ([]string, error) {
	out := make([]string, 0, len(a.Rows))
	for _, r := range a.Rows {
		line, err := text(r)
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out, nil
}

// textsOf are the rows of a snapshot, sorted.
func textsOf(ctx context.Context, s *delta.Snapshot) ([]string, error) {
	out := []string{}
	for b, err := range s.Read(ctx, nil) {
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			line, err := text(plain(b.Row(i)))
			if err != nil {
				return nil, err
			}
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out, nil
}

// same fails unless weir sees the table as the peer did: version, columns and rows.
func same(t *testing.T, s *delta.Snapshot, p *peer, a *answer) {
	t.Helper()
	want, err := a.texts()
	must(t, err)
	got, err := textsOf(t.Context(), s)
	must(t, err)
	columns, err := a.columns()
	must(t, err)
	if s.Version() != a.Version || s.Schema().String() != columns {
		t.Errorf("version %d of %s, %s sees %d of %s", s.Version(), s.Schema(), p.name, a.Version, columns)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-%s +weir):\n%s", p.name, d)
	}
}
