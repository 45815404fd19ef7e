package delta

import (
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAhead: what a sequence yields arrives in order, its error too, and it has ended when its reader has.
func TestAhead(t *testing.T) {
	broken := errors.New("broken")
	ended := false
	numbers := func(n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			ended = false
			defer func() { ended = true }()
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			yield(0, broken)
		}
	}
	for _, stop := range []int{0, 1, 5, 100} {
		var got []int
		var failed error
		for i, err := range ahead(numbers(10)) {
			if err != nil {
				failed = err
				break
			}
			if got = append(got, i); len(got) > stop {
				break
			}
		}
		if !ended {
			t.Error("the sequence still runs")
		}
		want := slices.Collect(func(yield func(int) bool) {
			for i := range min(stop+1, 10) {
				if !yield(i) {
					return
				}
			}
		})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("up to %d (-want +got):\n%s", stop, d)
		}
		if stop == 100 && !errors.Is(failed, broken) {
			t.Errorf("its error is %v", failed)
		}
	}
}
