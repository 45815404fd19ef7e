package ingestor

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/ingestor/batch"
)

// The doors, as metrics name them.
const (
	doorStream        = "stream"
	doorRequest       = "request"
	doorFireAndForget = "fire-forget"
	doorHTTP          = "http"
)

// metrics are those of one pipeline.
type metrics struct {
	reg prometheus.Registerer

	payloads, bytes, records *prometheus.CounterVec // by door
	rejects                  *prometheus.CounterVec // by door
	refused                  *prometheus.CounterVec // by message
	dropped                  *prometheus.CounterVec // by reason
	retries, rows, fileBytes prometheus.Counter
	merged                   *prometheus.CounterVec // by what became of the record
	care                     careMetrics
	write, put               prometheus.Observer // seconds of a commit, by phase

	totals struct{ accepted, rejected, committed atomic.Int64 }
	doors  map[string]doorCounters // resolved once: the hot path looks up no labels
}

// careMetrics are those of the table's maintenance.
type careMetrics struct {
	runs                  *prometheus.CounterVec // by task and result
	files, bytes, seconds *prometheus.CounterVec // by task
	written               prometheus.Counter
}

func (m *metrics) maintained(r delta.MaintenanceReport) {
	task, result := string(r.Task), "done"
	if r.Err != nil {
		result = "failed"
	}
	m.care.runs.WithLabelValues(task, result).Inc()
	m.care.files.WithLabelValues(task).Add(float64(r.Files))
	m.care.bytes.WithLabelValues(task).Add(float64(r.Bytes))
	m.care.seconds.WithLabelValues(task).Add(r.Took.Seconds())
	m.care.written.Add(float64(r.BytesWritten))
}

type doorCounters struct{ payloads, bytes, records, rejects prometheus.Counter }

func newMetrics(reg prometheus.Registerer, pipeline string) *metrics {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"pipeline": pipeline}, reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	plain := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		reg:       reg,
		payloads:  counter("payloads_received_total", "Payloads taken in.", "door"),
		bytes:     counter("received_bytes_total", "Bytes of payloads taken in.", "door"),
		records:   counter("records_accepted_total", "Records decoded and put into a batch.", "door"),
		rejects:   counter("records_rejected_total", "Records that were refused, each with a reason to its producer where the door has answers.", "door"),
		refused:   counter("streams_refused_total", "Streams that were not opened, by the message that said so.", "message"),
		dropped:   counter("payloads_dropped_total", "Fire-and-forget payloads that did not reach a batch or a commit.", "reason"),
		retries:   plain("commit_retries_total", "Failed attempts to write or commit that are tried again."),
		rows:      plain("records_committed_total", "Records in the table."),
		fileBytes: plain("committed_bytes_total", "Bytes of committed data files."),
		merged:    counter("records_merged_total", "Records of a merged table, by what became of them: inserted, updated, deleted, stale (older than what the table holds), superseded (a later one of the same row was in the batch).", "result"),
		care: careMetrics{
			runs:    counter("maintenance_runs_total", "Pieces of maintenance that found something to do, by task and by how they ended: done or failed.", "task", "result"),
			files:   counter("maintenance_files_total", "Files that maintenance packed into others or deleted.", "task"),
			bytes:   counter("maintenance_bytes_total", "Bytes of these files.", "task"),
			written: plain("maintenance_written_bytes_total", "Bytes of the files that maintenance wrote."),
			seconds: counter("maintenance_seconds_total", "Time that maintenance took, its rests included.", "task"),
		},
		doors: map[string]doorCounters{},
	}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "weir", Name: "commit_seconds", Help: "Time of a commit, by phase: write (data files), put (log entry).",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
	}, []string{"phase"})
	reg.MustRegister(seconds)
	m.write, m.put = seconds.WithLabelValues("write"), seconds.WithLabelValues("put")
	for _, d := range []string{doorStream, doorRequest, doorFireAndForget, doorHTTP} {
		m.doors[d] = doorCounters{
			m.payloads.WithLabelValues(d), m.bytes.WithLabelValues(d), m.records.WithLabelValues(d), m.rejects.WithLabelValues(d),
		}
	}
	return m
}

// pipeline registers the gauges that read p's state when they are asked.
func (m *metrics) pipeline(p *Pipeline) {
	gauge := func(name, help string, read func() float64) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "weir", Name: name, Help: help}, read))
	}
	gauge("streams_open", "Open ingest streams.", func() float64 { return float64(len(p.open())) })
	gauge("table_version", "Version of the table as last seen, -1 before it exists.", func() float64 { return float64(p.table.Version()) })
	gauge("batch_records", "Records that wait for a commit to take them.", func() float64 { n, _ := p.flusher.Pending(); return float64(n) })
	gauge("batch_bytes", "Payload bytes that wait for a commit to take them.", func() float64 { _, n := p.flusher.Pending(); return float64(n) })
	gauge("table_columns", "Leaf columns that records have, those of the table included.", func() float64 { return float64(p.schema.Stats().Columns) })
	gauge("table_files", "Data files of the table as last seen.", func() float64 { n, _ := p.table.Size(); return float64(n) })
	gauge("table_bytes", "Bytes of these files.", func() float64 { _, n := p.table.Size(); return float64(n) })
	count := func(name, help string, read func() int64) {
		m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "weir", Name: name, Help: help},
			func() float64 { return float64(read()) }))
	}
	count("values_rescued_total", "Values that fit no column and went to _rescued.", p.rescued)
	count("values_dropped_total", "Values of unknown fields that onUnknown left out.", func() int64 { return p.records.Stats().Dropped })
	count("records_filtered_total", "Records that a filter left out.", func() int64 { return p.set.Transform.Stats().Filtered })
	count("transform_errors_total", "Steps that failed for a record.", func() int64 { return p.set.Transform.Stats().Failed })
	gauge("taps", "Open taps.", func() float64 { return float64(p.taps.count()) })
	gauge("ready", "1 while the pipeline takes events.", func() float64 {
		if p.ready() != nil {
			return 0
		}
		return 1
	})
}

// registerPool registers the gauges of the process's byte pool.
func registerPool(reg prometheus.Registerer, a *admission) {
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "memory", Name: name, Help: help}, read))
	}
	gauge("capacity_bytes", "Bytes that may be held and promised together.", func() float64 { return float64(a.pool.Capacity()) })
	gauge("held_bytes", "Bytes received and not committed.", func() float64 { h, _ := a.pool.Usage(); return float64(h) })
	gauge("promised_bytes", "Bytes of credit that producers have.", func() float64 { _, p := a.pool.Usage(); return float64(p) })
}

func (m *metrics) received(door string, payloads int, bytes, records int64) {
	d := m.doors[door]
	d.payloads.Add(float64(payloads))
	d.bytes.Add(float64(bytes))
	d.records.Add(float64(records))
	m.totals.accepted.Add(records)
}

func (m *metrics) rejected(door string, n int) {
	if n == 0 {
		return
	}
	m.doors[door].rejects.Add(float64(n))
	m.totals.rejected.Add(int64(n))
}

func (m *metrics) committed(c batch.Commit) {
	m.rows.Add(float64(c.Rows))
	m.fileBytes.Add(float64(c.Bytes))
	m.write.Observe(c.Write.Seconds())
	m.put.Observe(c.Put.Seconds())
	m.totals.committed.Add(c.Rows)
	if r := c.Merged; r != nil {
		m.merged.WithLabelValues("inserted").Add(float64(r.Inserted))
		m.merged.WithLabelValues("updated").Add(float64(r.Updated))
		m.merged.WithLabelValues("deleted").Add(float64(r.Deleted))
		m.merged.WithLabelValues("stale").Add(float64(r.Stale))
		m.merged.WithLabelValues("superseded").Add(float64(r.Superseded))
	}
}
