package ingestor

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// bodyStep is what is charged and allocated for a body before any of it has come.
const bodyStep = 64 << 10

var errPoolFull = errors.New("the pipeline holds as much as its memory budget allows")

// readBody reads a body of at most limit bytes within bodyTimeout. Its bytes are charged to the memory pool, unless it
// fails. They are charged as they come, not as they are announced: many that send slowly, or not at all, must not hold
// the pool against all others.
func (p *Pipeline) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, int, error) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, http.StatusInternalServerError, err
	}
	src := http.MaxBytesReader(w, r.Body, limit)
	var body []byte // all its capacity is charged
	var err error
	for err == nil && int64(len(body)) != r.ContentLength {
		if body, err = p.grow(body, r.ContentLength); err != nil {
			break
		}
		var n int
		n, err = src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
	}
	if err == nil || errors.Is(err, io.EOF) { // net/http makes an early end io.ErrUnexpectedEOF
		p.admit.pool.Release(cap(body) - len(body))
		return body, http.StatusOK, nil
	}
	p.admit.pool.Release(cap(body))
	if errors.Is(err, errPoolFull) {
		return nil, http.StatusTooManyRequests, err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, errors.New("the body has more than " + strconv.FormatInt(limit, 10) + " bytes: split it")
	}
	return nil, http.StatusBadRequest, errors.New("read body: " + err.Error())
}

// grow makes room for more of a body of total bytes, negative if that is not known, by doubling what it has. On an error
// body stays as it was.
func (p *Pipeline) grow(body []byte, total int64) ([]byte, error) {
	if len(body) < cap(body) {
		return body, nil
	}
	size := max(bodyStep, 2*int64(cap(body)))
	if total >= 0 {
		size = min(size, total)
	}
	if !p.charge(int(size) - cap(body)) {
		return body, errPoolFull
	}
	return append(make([]byte, 0, size), body...), nil
}
