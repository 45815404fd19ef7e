package rsocket

import (
	"errors"
	"io"
)

const (
	smallReadBuffer = 512
	largeReadBuffer = 64 << 10
)

// frameReader buffers the bytes of a connection. It reads into 512 bytes of its own while there is little traffic and into a
// chunk of 64 KiB under load, so that an idle connection holds no large buffer. Payloads that make up most of a chunk keep it,
// see [frameReader.share].
type frameReader struct {
	src    io.Reader
	buf    []byte // small[:] or large.buf
	r, w   int    // buf[r:w] is unread
	got    int    // bytes of the last read
	large  *chunk
	shared bool // payloads in large are in use
	small  [smallReadBuffer]byte
}

func (r *frameReader) init(src io.Reader) {
	r.src = src
	r.buf = r.small[:]
	r.got = 0
}

func (r *frameReader) unread() []byte { return r.buf[r.r:r.w] }

// fill reads at least one byte more; need is the number of unread bytes the caller waits for, at most 64 KiB.
func (r *frameReader) fill(need int) error {
	r.makeRoom(need)
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	r.got = n
	switch {
	case n > 0:
		return nil // an error comes again
	case err == nil:
		return io.ErrNoProgress
	case errors.Is(err, io.EOF) && r.w > r.r:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

func (r *frameReader) makeRoom(need int) {
	if r.shared {
		r.renew()
	}
	if r.r == r.w {
		r.r, r.w = 0, 0
		if r.large != nil && r.got < smallReadBuffer && need <= smallReadBuffer {
			r.shrink()
		}
	}
	if r.large == nil && (need > smallReadBuffer || r.got == smallReadBuffer || r.w == len(r.buf)) {
		r.enlarge()
	}
	if r.r > 0 && (r.r+need > len(r.buf) || r.w == len(r.buf)) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
}

func (r *frameReader) enlarge() {
	r.large = newChunk(largeReadBuffer)
	r.w = copy(r.large.buf, r.buf[r.r:r.w])
	r.r = 0
	r.buf = r.large.buf
}

// renew leaves the chunk to those who share it and takes another one.
func (r *frameReader) renew() {
	old := r.large
	r.enlarge()
	r.shared = false
	old.release(1)
}

// share returns the chunk if n payloads in it, of so many bytes, may keep it, with a reference for each; else nil: then they
// are to be copied. A chunk is kept for half of its bytes at least, so that what is in use takes twice its size at most.
func (r *frameReader) share(n int32, bytes int) *chunk {
	if r.large == nil || bytes < largeReadBuffer/2 {
		return nil
	}
	r.shared = true
	r.large.refs.Add(n)
	return r.large
}

// shrink goes back to the small buffer; nothing may be unread.
func (r *frameReader) shrink() {
	if r.large == nil {
		return
	}
	r.large.release(1)
	r.large, r.shared, r.buf, r.r, r.w = nil, false, r.small[:], 0, 0
}

// readFull fills dst from the buffer and then from the connection, without another copy.
func (r *frameReader) readFull(dst []byte) error {
	n := copy(dst, r.unread())
	r.r += n
	if _, err := io.ReadFull(r.src, dst[n:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// discard skips n bytes.
func (r *frameReader) discard(n int) error {
	for {
		k := min(n, r.w-r.r)
		r.r += k
		n -= k
		if n == 0 {
			return nil
		}
		if err := r.fill(1); err != nil {
			return err
		}
	}
}
