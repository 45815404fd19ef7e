package rsocket

import "sync"

const workBytes = 1 << 20 // payload bytes that may wait for the worker

// job is a fire-and-forget, request-response or metadata push that waits for the worker.
type job struct {
	typ   FrameType
	loose bool // the payload is in the read buffer
	id    uint32
	s     *stream // of a request-response
	it    item
}

// worker calls the handlers of fire-and-forget, request-response and metadata push one after the other. The reader collects
// jobs and hands them over in batches; the goroutine exists only while the queue holds something. The slices take turns, so
// nothing is allocated.
type worker struct {
	c    *Conn
	loop func()        // run, bound once
	room chan struct{} // capacity 1: told when the queue was taken

	// The reader's own.
	slab         slab
	pending      []job // not yet handed over
	pendingBytes int
	loose        int // jobs of pending whose payloads are in the read buffer
	looseBytes   int
	dirty        bool // there may be something to hand over, or to run
	waiting      bool // the reader is in handOver, where the end of the burst must not hand over again

	mu      sync.Mutex // guards the fields below
	queue   []job
	spare   []job
	bytes   int // of the queue
	running bool

	request Request // of the handler that runs; the one goroutine's own while running
}

const (
	handOverJobs  = 128
	handOverBytes = 128 << 10
)

func (k *worker) init(c *Conn) {
	k.c = c
	k.loop = k.run
	k.request.Conn = c
	k.room = make(chan struct{}, 1)
}

// push adds a job with the payload p, whose bytes are reserved. With the queue full it pauses the reader.
func (k *worker) push(typ FrameType, id uint32, s *stream, p received) {
	if k.pending == nil {
		k.pending = takeJobs()
	}
	k.pending = append(k.pending, job{typ: typ, loose: !p.owned, id: id, s: s, it: item{payload: p.Payload, charged: p.charged}})
	n := len(p.Data) + len(p.Metadata)
	k.pendingBytes += n
	if !p.owned {
		k.loose++
		k.looseBytes += n
	}
	k.dirty = true
	if len(k.pending) >= min(handOverJobs, k.c.limits.WorkQueue) || k.pendingBytes >= handOverBytes {
		k.handOver()
	}
}

// secure makes payloads outlive the read buffer: by keeping it, or else by copying them.
func (k *worker) secure() {
	if k.loose == 0 {
		return
	}
	buffer := k.c.rd.share(int32(k.loose), k.looseBytes)
	for i := range k.pending {
		j := &k.pending[i]
		switch {
		case !j.loose:
		case buffer != nil:
			m := len(j.it.payload.Metadata)
			j.it.payload.Metadata, j.it.chunk = j.it.payload.Metadata[:m:m], buffer
		default:
			j.it.payload, j.it.chunk = k.slab.copy(j.it.payload)
		}
		j.loose = false
	}
	k.loose, k.looseBytes = 0, 0
	k.slab.count()
}

// handOver moves what is pending into the queue, once there is room.
func (k *worker) handOver() {
	k.secure()
	if len(k.pending) == 0 || k.give() {
		return
	}
	k.start()
	k.waiting = true
	defer func() { k.waiting = false }()
	k.c.beginPause()
	defer k.c.endPause()
	for !k.give() {
		select {
		case <-k.room:
		case <-k.c.done:
			k.drop()
			return
		}
	}
}

// give moves what is pending into the queue if there is room; a whole batch always fits into an empty queue.
func (k *worker) give() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case len(k.queue) == 0:
		k.queue, k.pending = k.pending, k.queue
	case len(k.queue)+len(k.pending) <= k.c.limits.WorkQueue && k.bytes+k.pendingBytes <= workBytes:
		k.queue = append(k.queue, k.pending...)
		clear(k.pending)
		k.pending = k.pending[:0]
	default:
		return false
	}
	k.bytes += k.pendingBytes
	k.pendingBytes = 0
	return true
}

// drop releases what is pending when the connection has ended.
func (k *worker) drop() {
	for i := range k.pending {
		k.pending[i].it.release(k.c.budget)
	}
	clear(k.pending)
	k.pending, k.pendingBytes = k.pending[:0], 0
}

// jobSlices keeps the queues of workers that have nothing to do.
var jobSlices = slicePool[job]{most: 4096}

func takeJobs() []job {
	if j := jobSlices.get(); j != nil {
		return j
	}
	return make([]job, 0, 64)
}

// wake hands over what is pending and has it run; the reader calls it at the end of a burst.
func (k *worker) wake() {
	if !k.dirty || k.waiting {
		return
	}
	k.dirty = false
	k.handOver()
	k.slab.detach()
	k.start()
}

// start has the queue run if there is something in it.
func (k *worker) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running || len(k.queue) == 0 {
		return
	}
	k.running = true
	k.c.setWorking(true)
	k.c.handlers.Add(1)
	go k.loop()
}

func (k *worker) run() {
	defer k.c.handlers.Done()
	for {
		jobs := k.take()
		if jobs == nil {
			return
		}
		for len(jobs) > 0 {
			jobs = jobs[k.runBatch(jobs, &k.request):]
		}
	}
}

// take swaps the queue, or ends the goroutine if it is empty.
func (k *worker) take() []job {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) == 0 {
		k.running = false
		k.request.Payload = Payload{} // so that it is not kept
		k.c.setWorking(false)
		jobSlices.put(k.queue)
		jobSlices.put(k.spare)
		k.queue, k.spare = nil, nil
		return nil
	}
	jobs := k.queue
	k.queue, k.spare = k.spare, jobs[:0]
	k.bytes = 0
	select {
	case k.room <- struct{}{}:
	default:
	}
	return jobs
}

// runBatch runs jobs until they are done or one panics, and returns how many it has dealt with.
func (k *worker) runBatch(jobs []job, r *Request) (n int) {
	var used settlement
	defer func() {
		if v := recover(); v != nil {
			k.answerPanic(&jobs[n], v)
			used.add(&jobs[n].it, k.c.budget)
			jobs[n] = job{}
			n++
		}
		used.settle(k.c.budget)
	}()
	for ; n < len(jobs); n++ {
		j := &jobs[n]
		k.call(j, r)
		used.add(&j.it, k.c.budget)
		*j = job{}
	}
	return n
}

// call runs the handler of a job.
func (k *worker) call(j *job, r *Request) {
	r.Payload, r.StreamID = j.it.payload, j.id
	switch j.typ {
	case FrameRequestFNF:
		k.c.h.FireAndForget(k.c.ctx, r)
	case FrameMetadataPush:
		k.c.h.MetadataPush(k.c.ctx, k.c, j.it.payload.Metadata)
	case FrameLease:
		k.c.leased.o.Received(k.c, leaseOf(j.it.payload))
	default:
		k.c.h.RequestResponse(streamContext{j.s}, r, &j.s.reply)
	}
}

// answerPanic reports the panic v of a handler.
func (k *worker) answerPanic(j *job, v any) {
	if j.s != nil {
		j.s.answerPanic(v)
		return
	}
	_ = k.c.panicked(v) // there is nobody to tell
}

// settlement releases items of one chunk together: as long as one of them is in use, the memory of all is.
type settlement struct {
	c       *chunk
	n       int32
	charged int
}

func (s *settlement) add(it *item, b Budget) {
	if it.chunk != s.c {
		s.settle(b)
		s.c = it.chunk
	}
	s.n++
	s.charged += it.charged
	if it.chunk == nil {
		s.settle(b)
	}
}

func (s *settlement) settle(b Budget) {
	if s.c != nil {
		s.c.release(s.n)
	}
	if s.charged > 0 {
		b.Release(s.charged)
	}
	*s = settlement{}
}
