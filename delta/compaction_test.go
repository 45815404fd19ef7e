package delta

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestCompactionCopiesLittle lets a day of small files run through the choice of what to pack: few files are left at any
// time, and no row is copied more often than there are levels.
func TestCompactionCopiesLittle(t *testing.T) {
	const target, size, files = 128 << 20, 40_000, 17_280 // a file each five seconds
	s := &Snapshot{state: state{metadata: &Metadata{}}}
	now := time.UnixMilli(1_760_000_000_000)
	put := func(name string, size int64) {
		a := &Add{Path: name, Size: size, ModificationTime: now.UnixMilli()}
		s.apply(&action{Add: a})
	}
	var appended, copied int64
	most := 0
	for i := range files {
		now = now.Add(5 * time.Second)
		put(fmt.Sprintf("new-%d", i), size)
		appended += size
		if i%12 != 0 { // a look each minute
			continue
		}
		for n, b := range s.compactions(target, defaultMinFiles, defaultSettled, now) {
			for _, a := range b {
				s.apply(&action{Remove: &Remove{Path: a.Path}})
			}
			put(fmt.Sprintf("packed-%d-%d", i, n), b.size())
			copied += b.size()
		}
		most = max(most, s.files.len)
	}
	if most > 80 {
		t.Errorf("%d files at a time", most)
	}
	if amplification := float64(copied) / float64(appended); amplification > 4 {
		t.Errorf("each byte was copied %.1f times", amplification)
	}
	now = now.Add(2 * defaultSettled)
	for range 2 { // settled: what is left is packed, once
		left := s.compactions(target, defaultMinFiles, defaultSettled, now)
		for _, b := range left {
			for _, a := range b {
				s.apply(&action{Remove: &Remove{Path: a.Path}})
			}
			put(fmt.Sprintf("last-%d", b.size()), b.size())
		}
		now = now.Add(2 * defaultSettled)
	}
	if rest := s.compactions(target, defaultMinFiles, defaultSettled, now); len(rest) > 0 || s.bytes != appended {
		t.Errorf("%d runs to pack after all was packed, %d bytes of %d", len(rest), s.bytes, appended)
	}
}

// TestRest: work takes its share of the time, and stands back for a while when something is more urgent.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := false
		r := rester{share: 0.2, busy: func() bool { return busy }}
		run := func() time.Duration {
			start := time.Now()
			r.begin()
			err := wait(t.Context(), workBetween) // stands for work
			if err == nil {
				err = r.pause(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if took := run(); took != 5*workBetween {
			t.Errorf("%s of work at a fifth took %s", workBetween, took)
		}
		busy = true
		if took := run(); took != 5*workBetween+standBack {
			t.Errorf("%s of work beside something urgent took %s", workBetween, took)
		}
	})
}
