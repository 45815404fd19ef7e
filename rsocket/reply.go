package rsocket

import "sync/atomic"

// Reply answers one request-response, once. Its methods may be called from any goroutine, one at a time.
type Reply struct {
	s   *stream
	end atomic.Pointer[func(error)] // of an [Observer], nil after it was told
}

// Send answers with a payload, waiting for room in the write buffer. After a cancellation it returns [ErrCanceled], after an
// earlier answer [ErrCompleted].
func (r *Reply) Send(p Payload) error { return r.ended(r.s.sendLast(p, FlagNext|FlagComplete)) }

// TrySend is Send if that needs no waiting for room in the write buffer, and reports whether the answer is settled: sent,
// or not wanted any more.
func (r *Reply) TrySend(p Payload) bool {
	f := r.s.payloadFrame(&p, FlagNext|FlagComplete)
	sent, err := r.s.tryLast(&f)
	if !sent && err == nil {
		return false
	}
	_ = r.ended(err)
	return true
}

// Complete answers without a payload.
func (r *Reply) Complete() error { return r.ended(r.s.sendLast(Payload{}, FlagComplete)) }

// Error answers with ERROR: err itself if it is an *[Error], else APPLICATION_ERROR.
func (r *Reply) Error(err error) error {
	failed := r.s.tx.Error(err)
	if failed != nil {
		return r.ended(failed)
	}
	_ = r.ended(err)
	return nil
}

// Done is closed after the answer, a cancellation or the end of the connection.
func (r *Reply) Done() <-chan struct{} { return r.s.done() }

// ended tells the observer, once.
func (r *Reply) ended(err error) error {
	if r.end.Load() == nil { // as usual
		return err
	}
	if end := r.end.Swap(nil); end != nil {
		(*end)(err)
	}
	return err
}
