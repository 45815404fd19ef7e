package client

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Pods die, drain, lose connections, stop to say what they commit, leave and join, and the name server fails, in any order:
// every payload ends up in the table, and twice only if it was called uncertain.
func TestStormOfPods(t *testing.T) {
	seeds := 24
	if testing.Short() {
		seeds = 6
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inCluster(t, []string{"p0", "p1", "p2"}, func(t *testing.T, c *cluster) {
				w := &storm{c: c, r: rand.New(rand.NewPCG(seed, 1)), next: 3}
				cl, s := c.client(Options{}, StreamOptions{})
				sent := 0
				for range 25 {
					n := w.r.IntN(400)
					produce(t, s, sent+1, sent+n)
					sent += n
					w.blow()
					if err := s.Err(); err != nil {
						t.Fatal(err)
					}
				}
				w.calm()
				time.Sleep(time.Second) //nolint:forbidigo // fake time
				c.finish(t, cl, s, sent)
			})
		})
	}
}

// storm does things to a cluster. One pod at least is always running.
type storm struct {
	c    *cluster
	r    *rand.Rand
	next int // number of the next pod
}

func (w *storm) alive() []*pod {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	var all []*pod
	for _, name := range slices.Sorted(maps.Keys(w.c.pods)) {
		all = append(all, w.c.pods[name])
	}
	return all
}

func (w *storm) announce() {
	var names []string
	for _, p := range w.alive() {
		names = append(names, p.name)
	}
	w.c.announce(nil, names...)
}

func (w *storm) blow() {
	all := w.alive()
	p := all[w.r.IntN(len(all))]
	switch w.r.IntN(8) {
	case 0:
		if len(all) > 1 {
			p.kill()
		}
	case 1:
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if len(all) > 1 && !mute { // one that drains says what it has committed
			p.drain()
		}
	case 2:
		p.cut()
	case 3:
		p.mu.Lock()
		p.mute = true
		p.mu.Unlock()
	case 4:
		if len(all) < 6 {
			w.c.run(fmt.Sprintf("p%d", w.next))
			w.next++
		}
	case 5:
		w.c.announce(errors.New("server misbehaving"))
	case 6:
		w.c.announce(nil)
	case 7:
		w.announce()
	}
}

// calm has every pod speak again, and all be known.
func (w *storm) calm() {
	for _, p := range w.alive() {
		p.mu.Lock()
		muted := p.mute
		p.mute = false
		p.mu.Unlock()
		if muted {
			p.cut() // what was not said is learned on opening again
		}
	}
	w.announce()
}
