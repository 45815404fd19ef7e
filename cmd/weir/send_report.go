package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shownRejects  = 10
	progressEvery = 500 * time.Millisecond
)

// sendReport tells people what weir send does.
type sendReport struct {
	o     *sendOptions
	v     view
	began time.Time
	sent  atomic.Int64 // records

	mu     sync.Mutex // guards what follows and the writing to v.talk
	shown  int        // rejects
	line   bool       // the cursor stands behind a progress line
	last   int64      // records at the last progress line
	lastAt time.Time
	perSec float64
}

func newSendReport(o *sendOptions, v view) *sendReport {
	now := time.Now()
	return &sendReport{o: o, v: v, began: now, lastAt: now}
}

// say prints a remark, above the progress line if there is one.
func (r *sendReport) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sayLocked(format, args...)
}

func (r *sendReport) sayLocked(format string, args ...any) {
	r.wipe()
	fmt.Fprintf(r.v.talk, "weir: "+format+"\n", args...)
}

// wipe takes the progress line away, with mu held.
func (r *sendReport) wipe() {
	if r.line {
		fmt.Fprint(r.v.talk, "\r\x1b[K")
		r.line = false
	}
}

// rejected names a record that was not taken; record 0 is one whose place is not known.
func (r *sendReport) rejected(record int64, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown++
	switch {
	case r.shown > shownRejects+1:
	case r.shown > shownRejects:
		r.sayLocked("more records are rejected, which the summary counts")
	case record == 0:
		r.sayLocked("a record is rejected: %s", clip(reason, 300))
	default:
		r.sayLocked("record %d is rejected: %s", record, clip(reason, 300))
	}
}

// progress shows the figures on a terminal until the returned function is called.
func (r *sendReport) progress(w way) (stop func()) {
	if terminalWidth(r.v.talk) == 0 {
		return func() {}
	}
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			select {
			case now := <-t.C:
				r.show(w.totals(), now)
			case <-done:
				r.mu.Lock()
				defer r.mu.Unlock()
				r.wipe()
				return
			}
		}
	})
	return func() {
		close(done)
		showing.Wait()
	}
}

func (r *sendReport) show(t sendTotals, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if span := now.Sub(r.lastAt).Seconds(); span > 0 {
		r.perSec = float64(t.Records-r.last) / span
	}
	r.last, r.lastAt = t.Records, now
	r.wipe()
	fmt.Fprint(r.v.talk, clip(progressLine(r.o, t, r.perSec), terminalWidth(r.v.talk)-1))
	r.line = true
}

func progressLine(o *sendOptions, t sendTotals, perSec float64) string {
	parts := []string{"sent " + thousands(t.Records)}
	if !t.Unsettled {
		parts = append(parts,
			"acknowledged "+thousands(t.Accepted+t.Rejected),
			"rejected "+thousands(t.Rejected))
	}
	parts = append(parts, thousands(int64(perSec))+"/s")
	if !t.Unsettled {
		parts = append(parts, "acks after "+t.AckDelay.Round(time.Millisecond).String())
	}
	if o.mode == modeChannel {
		parts = append(parts, "credit "+thousands(int64(t.Credit)))
	}
	return strings.Join(parts, "  ")
}

// sendSummary is what -o json prints.
type sendSummary struct {
	Mode     string  `json:"mode"`
	Records  int64   `json:"records"`  // sent
	Payloads int64   `json:"payloads"` // of them
	Bytes    int64   `json:"bytes"`
	Accepted int64   `json:"accepted"` // records that acks named
	Rejected int64   `json:"rejected"` // records
	Dropped  int64   `json:"dropped"`  // payloads, by the overflow policy
	Unacked  int64   `json:"unacked"`  // payloads
	Version  int64   `json:"version"`  // of the table, in the last ack
	Seconds  float64 `json:"seconds"`
	Error    string  `json:"error,omitempty"`

	// With several pods.
	Moved     int64      `json:"moved,omitempty"`     // payloads that went to another pod when theirs was lost or drained
	Uncertain int64      `json:"uncertain,omitempty"` // of them, those that may be in the table twice
	Pods      []podShare `json:"pods,omitempty"`
}

// summary prints the figures and says whether everything went well.
func (r *sendReport) summary(t sendTotals, err error) error {
	took := time.Since(r.began)
	s := sendSummary{
		Mode: r.o.mode, Records: r.sent.Load(), Payloads: t.Payloads, Bytes: t.Bytes, Accepted: t.Accepted,
		Rejected: t.Rejected, Dropped: t.Dropped, Unacked: t.Unacked, Version: t.Version, Seconds: took.Seconds(),
		Moved: t.Moved, Uncertain: t.Uncertain, Pods: t.Pods,
	}
	if err != nil {
		s.Error = err.Error()
	}
	if werr := r.print(s, &t, took); werr != nil {
		return errors.Join(err, werr)
	}
	switch {
	case err != nil:
		return err
	case s.Rejected > 0:
		return fmt.Errorf("%s rejected", amount(s.Rejected, "record"))
	}
	return nil
}

func (r *sendReport) print(s sendSummary, t *sendTotals, took time.Duration) error {
	if r.v.json {
		return r.v.encode(s)
	}
	line := fmt.Sprintf("sent %s (%s) in %s, %s/s", amount(s.Records, "record"), humanBytes(s.Bytes),
		took.Round(time.Millisecond), thousands(int64(float64(s.Records)/took.Seconds())))
	if s.Mode == modeFireAndForget {
		line += "; fire-and-forget is not acknowledged"
	} else {
		line += fmt.Sprintf(": %s accepted, %s rejected", thousands(s.Accepted), thousands(s.Rejected))
		if s.Accepted > 0 {
			line += fmt.Sprintf(", in the table at version %d", s.Version)
		}
	}
	if s.Dropped > 0 {
		line += fmt.Sprintf("; %s dropped", amount(s.Dropped, "payload"))
	}
	if s.Unacked > 0 {
		line += fmt.Sprintf("; %s not acknowledged", amount(s.Unacked, "payload"))
	}
	if s.Moved > 0 {
		line += fmt.Sprintf("; %s moved to another pod, %s of them may be in the table twice", amount(s.Moved, "payload"), thousands(s.Uncertain))
	}
	lines := []string{line}
	for _, p := range s.Pods {
		lines = append(lines, fmt.Sprintf("  pod %s: %s acknowledged (%.1f %%), %s", p.Pod, amount(p.Acked, "payload"),
			100*float64(p.Acked)/float64(max(1, t.Acked)), p.State))
	}
	_, err := fmt.Fprintln(r.v.out, strings.Join(lines, "\n"))
	return err
}

// amount prints n and what it counts.
func amount(n int64, what string) string { return thousands(n) + " " + plural(int(n), what) }

// thousands prints n with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
