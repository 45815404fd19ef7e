package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// way is a road from the events of a load to columns.
type way struct {
	name string
	open func(*load) (decoder, error)
}

// decoder decodes the events it was opened for, all into one batch of columns, as often as it is asked to.
type decoder interface {
	decode() error
	rows() ([]map[string]any, error) // of the last decode
}

// figures are what one event costs.
type figures struct {
	nanos  float64 // of processor time
	allocs float64
	bytes  float64 // allocated
}

// contestant is a way on its load, and what it took in each round.
type contestant struct {
	name   string
	events int // that one call of decode decodes
	decode func() error
	rounds []figures
}

// compete measures all contestants, round by round.
func compete(all []*contestant, rounds int, spin float64) error {
	for _, c := range all { // warm up: memory grows, code is compiled
		if err := c.run(spin / 4); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.rounds = nil
	}
	for range rounds {
		for _, c := range all {
			runtime.GC() // what others left behind is not this one's
			if err := c.run(spin); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// run decodes for so many seconds of processor time.
func (c *contestant) run(seconds float64) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processTime()
	n := 0
	for spent := time.Duration(0); spent.Seconds() < seconds; spent = processTime() - start {
		if err := c.decode(); err != nil {
			return err
		}
		n += c.events
	}
	spent := processTime() - start
	runtime.ReadMemStats(&after)
	c.rounds = append(c.rounds, figures{
		nanos:  float64(spent.Nanoseconds()) / float64(n),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
	})
	return nil
}

// median of the rounds, by processor time.
func (c *contestant) median() figures {
	slices.SortFunc(c.rounds, func(a, b figures) int { return int(a.nanos - b.nanos) })
	return c.rounds[len(c.rounds)/2]
}

// processTime is the processor time that the process has used.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
