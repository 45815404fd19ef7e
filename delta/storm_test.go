package delta_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// brew makes puts fail in every way, some after they took place, and reads too.
func brew(f *faulty, seed uint64) {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	roll := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
	f.put = func(string, []byte) (bool, error) {
		switch p := roll(); {
		case p < 0.15:
			return false, errStore // lost on the way
		case p < 0.30:
			return true, errStore // the answer lost
		case p < 0.35:
			return true, store.ErrExist // told so by a retry inside the store
		case p < 0.40:
			return false, errors.Join(errStore, store.ErrNotWritten)
		}
		return true, nil
	}
	f.open = func(string) error {
		if roll() < 0.1 {
			return errStore
		}
		return nil
	}
}

// TestCommitsInAStorm: whatever the store does, an acknowledged commit is in the log once, a refused one not at all, and
// one of unknown outcome at most once.
func TestCommitsInAStorm(t *testing.T) {
	const writers, each = 4, 40
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := store.NewMemory()
				create(t, st, delta.CreateOptions{})
				outcome := make([]map[string]error, writers)
				var wg sync.WaitGroup
				for w := range writers {
					f := &faulty{Store: st}
					table := open(t, f, delta.Options{MaxAttempts: 1000, CheckpointEvery: 1 << 30})
					brew(f, 100*seed+uint64(w))
					outcome[w] = map[string]error{}
					wg.Go(func() {
						for i := range each {
							path := fmt.Sprintf("w%d-%d", w, i)
							_, err := table.Commit(t.Context(), appending(path))
							outcome[w][path] = err
						}
					})
				}
				wg.Wait()
				checkOutcome(t, st, outcome)
			})
		})
	}
}

func checkOutcome(t *testing.T, st store.Store, outcome []map[string]error) {
	t.Helper()
	times := map[string]int{}
	s := open(t, st, delta.Options{}).Snapshot()
	for v := range s.Version() + 1 {
		data, err := st.Get(t.Context(), key(v))
		must(t, err)
		for line := range strings.Lines(string(data)) {
			if _, rest, ok := strings.Cut(line, `"add":{"path":"`); ok {
				times[rest[:strings.IndexByte(rest, '"')]]++
			}
		}
	}
	acked, unknown := 0, 0
	for _, m := range outcome {
		for path, err := range m {
			n := times[path]
			switch {
			case err == nil:
				acked++
				if n != 1 {
					t.Errorf("acknowledged %s is %d times in the log", path, n)
				}
			case errors.As(err, new(*delta.UnknownOutcomeError)):
				unknown++
				if n > 1 {
					t.Errorf("%s is %d times in the log", path, n)
				}
			default:
				if n != 0 {
					t.Errorf("%s failed with %v and is in the log", path, err)
				}
			}
		}
	}
	if acked == 0 {
		t.Error("no commit got through")
	}
	t.Logf("%d acknowledged, %d unknown, version %d", acked, unknown, s.Version())
}
