package ingestor

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TapPolicy says what taps may show.
type TapPolicy uint8

const (
	// TapMasked shows nothing that a step masks or drops: of a pipeline with such steps only what comes out of them.
	TapMasked TapPolicy = iota
	// TapAll shows payloads as they were sent, too.
	TapAll
	// TapOff shows nothing.
	TapOff
)

// Stages at which a tap can be.
const (
	stageReceived = "received"
	stageDecoded  = "decoded"
	stageRejected = "rejected"
)

// Bounds of taps. A sample is what one payload, row or reject becomes.
const (
	maxTaps         = 4 // of a pipeline at once
	tapQueue        = 64
	maxTapRate      = 1000 // samples a second
	defaultTapRate  = 10
	maxTapBytes     = 64 << 10 // of a payload or row in a sample
	defaultTapBytes = 4 << 10
	tapPatience     = 10 * time.Second // with a reader that takes nothing
)

// taps are the open taps of a pipeline. Nobody pays for them while there is none: all is nil then.
type taps struct {
	all atomic.Pointer[tapList]

	mu     sync.Mutex // guards changes of all, and closed
	closed bool
}

type tapList []*tap

// tap shows samples of one stage to one reader. What it has no room or rate for is counted and told with the next sample.
type tap struct {
	stage string
	rate  int // samples a second
	limit int // bytes of a payload or row in a sample
	out   chan sample
	done  chan struct{} // closed when the pipeline stops
	once  sync.Once

	mu      sync.Mutex // guards what follows
	since   time.Time  // when budget was right
	budget  float64
	skipped int64
}

// sample is one line of a tap.
type sample struct {
	Stage    string          `json:"stage"`
	At       time.Time       `json:"at"`
	Door     string          `json:"door,omitempty"`
	Stream   string          `json:"stream,omitempty"`
	Sequence int64           `json:"sequence,omitempty"`
	Line     *int            `json:"line,omitempty"` // of the payload, from 0
	Reason   string          `json:"reason,omitempty"`
	MIME     event.MIME      `json:"mime,omitempty"`
	Bytes    int             `json:"bytes"` // of the payload, record or row
	Text     *string         `json:"text,omitempty"`
	Base64   []byte          `json:"base64,omitempty"` // instead of Text when it is no UTF-8
	Row      json.RawMessage `json:"row,omitempty"`
	Cut      bool            `json:"cut,omitempty"`     // Text or Base64 is only the beginning
	Skipped  int64           `json:"skipped,omitempty"` // not shown since the sample before
}

func (t *tap) end() { t.once.Do(func() { close(t.done) }) }

// tapped is a payload on its way.
type tapped struct {
	at     time.Time
	door   string
	stream string
	seq    int64
	mime   event.MIME
	data   []byte
}

// open adds a tap. Errors are for its reader.
func (t *taps) open(n *tap) (status int, problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var now tapList
	if l := t.all.Load(); l != nil {
		now = *l
	}
	switch {
	case t.closed:
		return http.StatusServiceUnavailable, "the pipeline is stopping"
	case len(now) >= maxTaps:
		return http.StatusTooManyRequests, "the pipeline has " + strconv.Itoa(maxTaps) + " taps already: close one"
	}
	now = append(slices.Clone(now), n)
	t.all.Store(&now)
	return http.StatusOK, ""
}

// remove takes a tap away.
func (t *taps) remove(n *tap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(*t.all.Load()), func(o *tap) bool { return o == n })
	if len(left) == 0 {
		t.all.Store(nil)
		return
	}
	t.all.Store(&left)
}

func (t *taps) count() int {
	if l := t.all.Load(); l != nil {
		return len(*l)
	}
	return 0
}

// close ends all taps and lets no more in.
func (t *taps) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if l := t.all.Load(); l != nil {
		for _, n := range *l {
			n.end()
		}
	}
}

// allow says how many of n things a tap shows now. The others are counted.
func (t *tap) allow(now time.Time, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.After(t.since) {
		t.budget = min(t.budget+now.Sub(t.since).Seconds()*float64(t.rate), float64(t.rate))
		t.since = now
	}
	some := min(n, int(max(0, t.budget)), cap(t.out)-len(t.out))
	t.budget -= float64(some)
	t.skipped += int64(n - some)
	return some
}

// show hands a sample to the reader.
func (t *tap) show(s sample) {
	s.Stage = t.stage
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Skipped, t.skipped = t.skipped, 0
	select {
	case t.out <- s:
	default: // others filled the queue meanwhile
		t.skipped = s.Skipped + 1
	}
}

// payload shows a payload and its rejects to the taps that want them.
func (l *tapList) payload(p tapped, rejects []decode.Reject) {
	for _, t := range *l {
		switch {
		case t.stage == stageReceived && t.allow(p.at, 1) > 0:
			t.show(t.text(p, p.data))
		case t.stage == stageRejected && len(rejects) > 0:
			for _, r := range rejects[:t.allow(p.at, len(rejects))] {
				s := t.text(p, recordOf(p.mime, p.data, r.Row))
				s.Line, s.Reason = &r.Row, r.Reason
				t.show(s)
			}
		}
	}
}

// recordOf is the line of a payload with a record, or the payload when it has no lines.
func recordOf(mime event.MIME, data []byte, line int) []byte {
	if mime != event.NDJSON {
		return data
	}
	for ; line > 0; line-- {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	record, _, _ := bytes.Cut(data, []byte("\n"))
	return record
}

func (t *tap) text(p tapped, data []byte) sample {
	s := sample{At: p.at.UTC(), Door: p.door, Stream: p.stream, Sequence: p.seq, MIME: p.mime, Bytes: len(data)}
	valid := utf8.Valid(data)
	if len(data) > t.limit {
		data, s.Cut = data[:t.limit], true
	}
	if valid {
		text := string(bytes.ToValidUTF8(data, nil)) // without the first half of a rune that was cut
		s.Text = &text
	} else {
		s.Base64 = bytes.Clone(data)
	}
	return s
}

// decoded shows rows of batches, as they go into the table, to the taps that want them.
func (t *taps) decoded(batches []*column.Batch) {
	l := t.all.Load()
	if l == nil {
		return
	}
	now := time.Now()
	for _, t := range *l {
		if t.stage != stageDecoded {
			continue
		}
		total := 0
		for _, b := range batches {
			total += b.Rows
		}
		chosen := chosenRows(total, t.allow(now, total))
		for _, b := range batches {
			var here []int
			for len(chosen) > 0 && chosen[0] < b.Rows {
				here, chosen = append(here, chosen[0]), chosen[1:]
			}
			for i := range chosen {
				chosen[i] -= b.Rows
			}
			t.rows(b, here, now)
		}
	}
}

// chosenRows are n of so many rows, in order.
func chosenRows(total, n int) []int {
	var all []int
	for row := 0; row < total && n > 0; row++ {
		if rand.IntN(total-row) < n {
			all = append(all, row)
			n--
		}
	}
	return all
}

func (t *tap) rows(b *column.Batch, at []int, now time.Time) {
	if len(at) == 0 {
		return
	}
	few := b.Gather(at)
	for i := range at {
		s := sample{At: now.UTC()}
		row := rowJSON(few, i)
		if s.Bytes = len(row); len(row) <= t.limit {
			s.Row = row
		} else {
			text := string(bytes.ToValidUTF8(row[:t.limit], nil))
			s.Text, s.Cut = &text, true
		}
		t.show(s)
	}
}

// rowJSON is a row as JSON, without nulls.
func rowJSON(b *column.Batch, i int) []byte {
	out := []byte{'{'}
	for c, f := range b.Schema.Fields {
		if b.Columns[c].IsNull(i) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(decode.AppendQuoted(out, f.Name), ':')
		out = decode.AppendJSON(out, b.Columns[c], i)
	}
	return append(out, '}')
}

// closeTaps ends the taps of all pipelines: the admin door is closing.
func (i *Ingestor) closeTaps() {
	for _, p := range i.pipelines {
		p.taps.close()
	}
}

// serveTap answers GET /tap/PIPELINE?stage=...&rate=...&bytes=... with samples, one JSON object a line, until the reader
// goes. What events hold is shown on the same host only: whoever may log in there, or may forward a port of the pod.
func (i *Ingestor) serveTap(w http.ResponseWriter, r *http.Request) {
	p := i.pipelines[r.PathValue("pipeline")]
	if !local(r) {
		fail(w, http.StatusForbidden, "taps are answered on the same host only, as localhost: log in there, or use kubectl port-forward")
		return
	}
	if p == nil {
		fail(w, http.StatusNotFound, "pipeline "+strconv.Quote(r.PathValue("pipeline"))+" is not here: this process runs "+i.names())
		return
	}
	t, err := newTap(r)
	if err == "" {
		err = p.tapRefusal(t.stage)
	}
	if err != "" {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if status, problem := p.taps.open(t); problem != "" {
		fail(w, status, problem)
		return
	}
	defer p.taps.remove(t)
	w.Header().Set("Content-Type", string(event.NDJSON))
	t.serve(w, r)
}

// local says whether the request is from this host and for it by name, so that no page in a browser can make one under a
// name of its own.
func local(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	to, noAddr := netip.ParseAddr(host)
	return err == nil && from.Addr().Unmap().IsLoopback() && (host == "localhost" || noAddr == nil && to.Unmap().IsLoopback())
}

// newTap reads what a reader wants; problem is what is wrong with it.
func newTap(r *http.Request) (t *tap, problem string) {
	q := r.URL.Query()
	t = &tap{stage: stageDecoded, rate: defaultTapRate, limit: defaultTapBytes, out: make(chan sample, tapQueue), done: make(chan struct{}), since: time.Now()}
	if s := q.Get("stage"); s != "" {
		t.stage = s
	}
	if !slices.Contains([]string{stageReceived, stageDecoded, stageRejected}, t.stage) {
		return nil, "stage " + strconv.Quote(t.stage) + " is none of received, decoded and rejected"
	}
	for _, o := range []struct {
		name string
		into *int
		most int
	}{{"rate", &t.rate, maxTapRate}, {"bytes", &t.limit, maxTapBytes}} {
		if text := q.Get(o.name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > o.most {
				return nil, o.name + " " + strconv.Quote(text) + " is no number from 1 to " + strconv.Itoa(o.most)
			}
			*o.into = n
		}
	}
	t.budget = float64(t.rate)
	return t, ""
}

// tapRefusal says why a stage must not be seen; it is empty when it may be.
func (p *Pipeline) tapRefusal(stage string) string {
	switch {
	case p.set.Taps == TapOff:
		return "spec.observability.tap of the pipeline is Off"
	case p.set.Taps == TapMasked && stage != stageDecoded && p.set.Transform.Hides():
		return "stage " + stage + " shows events as they were sent, and the pipeline masks or drops columns: look at stage decoded, or set spec.observability.tap to All"
	}
	return ""
}

// serve writes samples until the reader goes or the pipeline stops.
func (t *tap) serve(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for {
		if err := c.Flush(); err != nil {
			return
		}
		select {
		case s := <-t.out:
			if err := c.SetWriteDeadline(time.Now().Add(tapPatience)); err != nil {
				return
			}
			if err := enc.Encode(s); err != nil {
				return
			}
		case <-t.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}
