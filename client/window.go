package client

import "fmt"

// window is what one lane has in flight. Its sequences are those between the lane and its server, which count the payloads of
// this lane alone; each item has the sequence of its stream besides.
//
// Invariants: head ≤ next ≤ wired+1; flight.n = wired−head+1.
type window struct {
	flight ring[item]
	head   int64 // the oldest that is not acknowledged
	next   int64 // the next one to send on the current connection
	wired  int64 // the highest one ever given to a connection
}

func newWindow() window {
	var w window
	w.begin(1)
	return w
}

// begin sets an empty window to where the server wants to start.
func (w *window) begin(first int64) { w.head, w.next, w.wired = first, first, first-1 }

// unsent returns how many payloads of the window wait for the current connection.
func (w *window) unsent() int { return int(w.wired-w.next) + 1 }

// at returns the payload of a sequence from head to wired.
func (w *window) at(seq int64) item { return w.flight.at(int(seq - w.head)) }

// has says whether the payload of seq is in flight.
func (w *window) has(seq int64) bool { return w.head <= seq && seq <= w.wired }

// checkAck refuses what a correct server never acknowledges.
func (w *window) checkAck(seq int64) error {
	if seq >= w.next {
		return fmt.Errorf("%w: it acknowledges payload %d, the last one sent is %d", ErrProtocol, seq, w.next-1)
	}
	return nil
}

// checkResume refuses to start again where the window cannot.
func (w *window) checkResume(from int64) error {
	switch {
	case from < w.head:
		return &OutOfRangeError{Expected: from}
	case from > w.wired+1:
		return fmt.Errorf("%w: it resumes at payload %d, the last one sent is %d", ErrProtocol, from, w.wired)
	}
	return nil
}

// items appends what is in flight.
func (w *window) items(dst []item) []item {
	for i := range w.flight.n {
		dst = append(dst, w.flight.at(i))
	}
	return dst
}
