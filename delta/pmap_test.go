package delta

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func collect(m pmap[int]) map[string]int {
	return maps.Collect(m.all())
}

func TestPmapAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m pmap[int]
		model := map[string]int{}
		var olds []pmap[int]
		var models []map[string]int
		for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
			if i%20 == 10 { // the next ten steps change in place what this edit has made
				m = m.editing()
			}
			key := strconv.Itoa(rapid.IntRange(0, 100).Draw(t, "key"))
			if rapid.Bool().Draw(t, "set") {
				m = m.set(key, i)
				model[key] = i
			} else {
				m = m.remove(key)
				delete(model, key)
			}
			want, wantOK := model[key]
			if got, ok := m.get(key); got != want || ok != wantOK || m.len != len(model) {
				t.Fatalf("%s is %d %v of %d, want %d %v of %d", key, got, ok, m.len, want, wantOK, len(model))
			}
			if i%20 == 0 {
				m = m.settled()
				olds, models = append(olds, m), append(models, maps.Clone(model))
			}
		}
		for i, old := range append(olds, m) {
			want := model
			if i < len(models) {
				want = models[i]
			}
			if d := cmp.Diff(want, collect(old)); d != "" {
				t.Fatalf("map %d (-want +got):\n%s", i, d)
			}
		}
	})
}

// TestPmapCollisions builds leaves by hand, since no test can choose colliding keys.
func TestPmapCollisions(t *testing.T) {
	var root *pnode[int]
	keys := []string{"a", "b", "c", "d"}
	hashes := map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1 | 1<<60} // d parts from the others at the last level
	for i, k := range keys {
		root, _, _ = root.set(nil, 0, hashes[k], pentry[int]{k, i})
	}
	root, old, had := root.set(nil, 0, 1, pentry[int]{"b", 20})
	if !had || old != 1 {
		t.Error("replacing counts as growth")
	}
	if d := cmp.Diff(map[string]int{"a": 0, "b": 20, "c": 2, "d": 3}, collect(pmap[int]{root: root})); d != "" {
		t.Error(d)
	}
	if _, found := root.remove(0, 1, "x"); found {
		t.Error("a key is found by its hash alone")
	}
	for _, k := range keys {
		var found bool
		if root, found = root.remove(0, hashes[k], k); !found {
			t.Errorf("%s is not found", k)
		}
	}
	if root != nil {
		t.Errorf("something is left: %v", collect(pmap[int]{root: root}))
	}
}

func BenchmarkPmapSet(b *testing.B) {
	var m pmap[int]
	for i := range 100_000 {
		m = m.set(strconv.Itoa(i), i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.set("new", i)
	}
}

// TestPmapChanges compares two maps of one history, and two that share nothing.
func TestPmapChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := func(m pmap[int]) pmap[int] {
			for i := range rapid.IntRange(0, 60).Draw(t, "steps") {
				key := strconv.Itoa(rapid.IntRange(0, 100).Draw(t, "key"))
				if rapid.Bool().Draw(t, "set") {
					m = m.set(key, i)
				} else {
					m = m.remove(key)
				}
			}
			return m
		}
		a := step(pmap[int]{})
		b := step(a)
		if rapid.Bool().Draw(t, "strangers") {
			b = step(pmap[int]{})
		}
		var gone, came, wantGone, wantCame []int
		changes(a, b, func(v int) { gone = append(gone, v) }, func(v int) { came = append(came, v) })
		for k, v := range a.all() {
			if w, ok := b.get(k); !ok || w != v {
				wantGone = append(wantGone, v)
			}
		}
		for k, v := range b.all() {
			if w, ok := a.get(k); !ok || w != v {
				wantCame = append(wantCame, v)
			}
		}
		for _, l := range [][]int{gone, came, wantGone, wantCame} {
			slices.Sort(l)
		}
		if d := cmp.Diff([][]int{wantGone, wantCame}, [][]int{gone, came}); d != "" {
			t.Fatalf("gone and came (-want +got):\n%s", d)
		}
	})
}
