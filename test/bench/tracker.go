package main

import (
	"sync"
	"time"

	"github.com/weir-dev/weir/client"
)

// tracker knows of one stream which ids an ack covers and how long the events of a sample took.
type tracker struct {
	*recorder

	mu       sync.Mutex // guards what follows
	blocks   []block    // of events sent and not wholly acknowledged
	next     int64      // events sent
	acked    int64      // sequence
	rejected string
}

// blockSize is the number of events in a block; the first of each is the sample.
const blockSize = 64

// block is a run of events with consecutive sequences.
type block struct {
	at  time.Time // when its first event was handed to the stream
	ids [blockSize]int64
}

// sent notes the event that is about to be sent.
func (t *tracker) sent(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.next % blockSize
	if k == 0 {
		t.blocks = append(t.blocks, block{at: time.Now()})
	}
	t.blocks[len(t.blocks)-1].ids[k] = id
	t.next++
}

// ack books what an acknowledgement covers.
func (t *tracker) ack(a client.Ack) {
	now := time.Now()
	t.mu.Lock()
	events, ids := int64(0), int64(0)
	var took []time.Duration
	for ; t.acked < a.Sequence; t.acked++ {
		k := t.acked % blockSize
		ids += t.blocks[0].ids[k]
		events++
		if k == 0 {
			took = append(took, now.Sub(t.blocks[0].at))
		}
		if k == blockSize-1 {
			t.blocks = t.blocks[1:]
		}
	}
	t.mu.Unlock()
	t.recorder.ack(events, ids)
	for _, d := range took {
		t.latency(d)
	}
}

func (t *tracker) reject(r client.Reject) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rejected = r.Reason
}
