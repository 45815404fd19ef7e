package gen

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func decode(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return m
}

func TestEventsHaveTheirSizeAndID(t *testing.T) {
	t.Parallel()
	for _, size := range []int{MinSize, 1024, 4096} {
		e := Events{Seed: 7, Size: size}
		for i := range int64(20_000) {
			b := e.Append(nil, i)
			if len(b) != size {
				t.Fatalf("event %d has %d bytes, want %d: %s", i, len(b), size, b)
			}
			if i%100 == 0 && decode(t, b)["id"] != float64(IDBase+i) {
				t.Fatalf("event %d has another id: %s", i, b)
			}
		}
	}
}

func TestEventsDependOnSeedAndIndexAlone(t *testing.T) {
	t.Parallel()
	a, b := Events{Seed: 1}, Events{Seed: 2}
	if !slices.Equal(a.Append(nil, 5), a.Append([]byte("other"), 5)[5:]) {
		t.Error("event 5 of seed 1 is not the same twice")
	}
	if slices.Equal(a.Append(nil, 5), b.Append(nil, 5)) || slices.Equal(a.Append(nil, 5), a.Append(nil, 6)) {
		t.Error("another seed or index gives the same event")
	}
}

func TestIDOffset(t *testing.T) {
	t.Parallel()
	b := Events{}.Append(nil, 0)
	copy(b[IDOffset:], "1234567890")
	if got := decode(t, b)["id"]; got != 1234567890.0 {
		t.Errorf("id is %v after writing at IDOffset", got)
	}
}

// TestInteropHoldsTheHardCases keeps the set from losing what it is for.
func TestInteropHoldsTheHardCases(t *testing.T) {
	t.Parallel()
	const rows = 5000
	seen := map[string]int{}
	for i := range int64(rows) {
		m := decode(t, Interop{Seed: 1, Rows: rows}.Append(nil, i))
		for name := range m {
			seen[name]++
		}
		count(seen, m, i)
		if at, err := time.Parse(time.RFC3339, m["at"].(string)); err != nil || at.IsZero() {
			t.Fatalf("row %d: at: %v", i, err)
		}
	}
	for _, want := range []string{"null user", "absent user", "empty user", "empty items", "null in items", "null region", "late_text", "late_list", "level"} {
		if seen[want] == 0 {
			t.Errorf("no row has %s", want)
		}
	}
	if seen["early"] > 0 {
		t.Errorf("%d rows before LateFrom have a late column", seen["early"])
	}
}

func count(seen map[string]int, m map[string]any, i int64) {
	user, has := m["user"]
	members, _ := user.(map[string]any)
	switch {
	case !has:
		seen["absent user"]++
	case user == nil:
		seen["null user"]++
	case len(members) == 0:
		seen["empty user"]++
	}
	if _, ok := members["level"]; ok {
		seen["level"]++
	}
	items, _ := m["items"].([]any)
	if items != nil && len(items) == 0 {
		seen["empty items"]++
	}
	if slices.Contains(items, nil) {
		seen["null in items"]++
	}
	if region, ok := m["region"]; ok && region == nil {
		seen["null region"]++
	}
	_, late := m["late_text"]
	if late && i < LateFrom(5000) {
		seen["early"]++
	}
}

// TestInteropStartsFull says why no column is left without a type: the first rows of either generation have them all.
func TestInteropStartsFull(t *testing.T) {
	t.Parallel()
	const rows = 1000
	for _, i := range []int64{0, LateFrom(rows)} {
		m := decode(t, Interop{Seed: 1, Rows: rows}.Append(nil, i))
		if i > 0 && (m["late_text"] == nil || m["user"].(map[string]any)["level"] == nil) {
			t.Errorf("row %d has no late columns: %v", i, m)
		}
		full(t, "row", m)
	}
}

// full fails for a null or an empty array or object in v.
func full(t *testing.T, path string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		t.Errorf("%s is null", path)
	case []any:
		if len(v) == 0 {
			t.Errorf("%s is empty", path)
		}
		for _, e := range v {
			full(t, path+"[]", e)
		}
	case map[string]any:
		for name, e := range v {
			full(t, path+"."+name, e)
		}
	}
}
