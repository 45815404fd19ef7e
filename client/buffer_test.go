package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/rsocket"
)

// bufferModel is what a buffer should be: payloads in order, each with a sequence once it was taken.
type bufferModel struct {
	limits Buffer
	queue  []modelPayload // not acknowledged, oldest first
	head   int64          // sequence of the first one
	next   int64
	number uint32 // of payloads made
}

type modelPayload struct {
	data  []byte
	wired bool
}

func (m *bufferModel) bytes() (n int64) {
	for _, p := range m.queue {
		n += int64(len(p.data))
	}
	return n
}

func (m *bufferModel) wired() int64 {
	n := m.head - 1
	for _, p := range m.queue {
		if p.wired {
			n++
		}
	}
	return n
}

// make returns a payload that no other equals.
func (m *bufferModel) make(size int) []byte {
	m.number++
	data := bytes.Repeat([]byte{byte(m.number)}, max(size, 4))
	binary.BigEndian.PutUint32(data, m.number)
	return data
}

// TestBufferAgainstModel runs a buffer and the model side by side, and checks the content of every payload each time, so
// that memory used twice would show.
func TestBufferAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Buffer{Records: rapid.IntRange(1, 60).Draw(t, "records"), Bytes: int64(rapid.IntRange(64, 60_000).Draw(t, "bytes"))}
		first := int64(rapid.IntRange(1, 1000).Draw(t, "first"))
		b, w := newBuffer(limits), window{}
		b.begin(first)
		w.begin(first)
		m := &bufferModel{limits: limits, head: first, next: first}
		t.Repeat(map[string]func(*rapid.T){
			"push":   func(t *rapid.T) { m.push(t, &b) },
			"take":   func(t *rapid.T) { m.take(t, &b, &w) },
			"ack":    func(t *rapid.T) { m.ack(t, &b, &w) },
			"drop":   func(t *rapid.T) { m.drop(t, &b) },
			"rewind": func(t *rapid.T) { m.rewind(t, &b, &w) },
			"":       func(t *rapid.T) { m.check(t, &b, &w) },
		})
	})
}

func (m *bufferModel) push(t *rapid.T, b *buffer) {
	size := rapid.OneOf(rapid.IntRange(4, 40), rapid.IntRange(4, int(m.limits.Bytes)+10)).Draw(t, "size")
	fits := len(m.queue) < m.limits.Records && m.bytes()+int64(size) <= m.limits.Bytes
	if b.fits(size) != fits || b.never(size) != (int64(size) > m.limits.Bytes) {
		t.Fatalf("fits(%d) = %v, never = %v with %d payloads of %d bytes", size, b.fits(size), b.never(size), len(m.queue), m.bytes())
	}
	if !fits {
		return
	}
	data := m.make(size)
	m.queue = append(m.queue, modelPayload{data: bytes.Clone(data)})
	if seq := b.push(data); seq != m.head+int64(len(m.queue))-1 {
		t.Fatalf("sequence %d", seq)
	}
	clear(data) // the caller may reuse it
}

func (m *bufferModel) take(t *rapid.T, b *buffer, w *window) {
	limit := rapid.IntRange(0, 20).Draw(t, "limit")
	got := b.take(w, []rsocket.Payload{}, limit)
	want := []rsocket.Payload{}
	for i := int(m.next - m.head); i < len(m.queue) && len(want) < limit; i++ {
		m.queue[i].wired = true
		want = append(want, rsocket.Payload{Data: m.queue[i].data})
		m.next++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func (m *bufferModel) ack(t *rapid.T, b *buffer, w *window) {
	seq := m.head + int64(rapid.IntRange(-3, len(m.queue)+1).Draw(t, "ahead"))
	if err := w.checkAck(seq); (err != nil) != (seq >= m.next) {
		t.Fatalf("checkAck(%d) = %v with next %d", seq, err, m.next)
	} else if err != nil {
		return
	}
	n := max(0, int(seq-m.head)+1)
	m.queue, m.head = m.queue[n:], m.head+int64(n)
	if got := b.ack(w, seq); got != n {
		t.Fatalf("ack freed %d, want %d", got, n)
	}
}

func (m *bufferModel) drop(t *rapid.T, b *buffer) {
	i := int(m.wired() - m.head + 1)
	got, ok := b.dropOldest()
	if ok != (i < len(m.queue)) || ok && !bytes.Equal(got, m.queue[i].data) {
		t.Fatalf("dropped %v %x", ok, got)
	}
	if ok {
		m.queue = append(m.queue[:i:i], m.queue[i+1:]...)
	}
}

func (m *bufferModel) rewind(t *rapid.T, b *buffer, w *window) {
	from := m.head + int64(rapid.IntRange(-1, len(m.queue)+2).Draw(t, "from"))
	wired := m.wired()
	_, again, err := b.rewind(w, from)
	_, lost := errors.AsType[*OutOfRangeError](err)
	if lost != (from < m.head) || errors.Is(err, ErrProtocol) != (from > wired+1) {
		t.Fatalf("rewind(%d): %v with %d to %d in flight", from, err, m.head, wired)
	}
	if err != nil {
		return
	}
	m.queue, m.head, m.next = m.queue[from-m.head:], from, from
	if again != int(wired-from)+1 {
		t.Fatalf("%d go out again", again)
	}
}

func (m *bufferModel) check(t *rapid.T, b *buffer, w *window) {
	if b.len() != len(m.queue) || b.bytes != m.bytes() || b.head != m.head || w.next != m.next || w.head != m.head || w.wired != b.wired || b.wired != m.wired() {
		t.Fatalf("%d payloads of %d bytes, head %d next %d wired %d; want %d of %d, %d %d %d",
			b.len(), b.bytes, b.head, w.next, b.wired, len(m.queue), m.bytes(), m.head, m.next, m.wired())
	}
	for i, got := range b.rest(w) {
		seq := m.head + int64(i)
		if !m.queue[i].wired {
			seq = 0
		}
		if got.Sequence != seq || !bytes.Equal(got.Data, m.queue[i].data) {
			t.Fatalf("payload %d is %d %x, want %d %x", i, got.Sequence, got.Data, seq, m.queue[i].data)
		}
	}
}

// A steady flow through a buffer reuses its slabs and queues.
func TestBufferSteadyFlowDoesNotAllocate(t *testing.T) {
	b, w := newBuffer(Buffer{Records: 1000, Bytes: 1 << 20}), newWindow()
	data := make([]byte, 1000)
	run := make([]rsocket.Payload, 0, 100)
	round := func() {
		for range 100 {
			b.push(data)
		}
		run = b.take(&w, run[:0], 100)
		b.ack(&w, w.wired-50)
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per 100 payloads", n)
	}
}

// After a burst the buffer gives its memory back, half of it every time it runs empty.
func TestBufferGivesMemoryBack(t *testing.T) {
	b, w := newBuffer(Buffer{Records: 10_000, Bytes: 8 << 20}), newWindow()
	data := make([]byte, 1000)
	for range 8000 {
		b.push(data)
	}
	for range 12 {
		b.take(&w, nil, 10_000)
		b.ack(&w, w.wired)
		b.push(data)
	}
	if held := len(b.mem.free) * b.mem.size; held > 0 {
		t.Errorf("%d bytes are still held", held)
	}
}
