// Package clientmetrics exports the figures of a client to Prometheus. It is apart from package client so that a producer's
// program takes the Prometheus library in only if it wants to.
package clientmetrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/client"
)

// Collector reads the figures of a client whenever a registry is gathered; it keeps none itself.
//
//	registry.MustRegister(clientmetrics.NewCollector(c, nil))
type Collector struct {
	c      *client.Client
	counts *balancer.Stats

	pods, pending, latency, dials, losses                 *prometheus.Desc
	resolves, resolveErrors, dialErrors                   *prometheus.Desc
	buffered, bytes, acked, dropped, resent, moved, doubt *prometheus.Desc
}

// NewCollector returns a collector for c. counts is what the client's [client.Options] have as PodStats; nil leaves out what is
// counted there. Several collectors in one registry need different constant labels: wrap the registry.
func NewCollector(c *client.Client, counts *balancer.Stats) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_client_"+name, help, labels, nil)
	}
	return &Collector{
		c: c, counts: counts,
		pods:          desc("pods", "Pods known, by state.", "state"),
		pending:       desc("pod_pending", "Payloads and requests without an answer.", "pod"),
		latency:       desc("pod_latency_seconds", "Average time to an answer over the last second.", "pod"),
		dials:         desc("pod_connections_total", "Connections made to the pod.", "pod"),
		losses:        desc("pod_connections_lost_total", "Connections to the pod that were lost.", "pod"),
		resolves:      desc("resolves_total", "Answers that named pods."),
		resolveErrors: desc("resolve_errors_total", "Failures to find pods, and answers without any."),
		dialErrors:    desc("dial_errors_total", "Attempts to connect that failed."),
		buffered:      desc("buffered_payloads", "Payloads that open streams keep.", "stream"),
		bytes:         desc("buffered_bytes", "Bytes of these payloads.", "stream"),
		acked:         desc("acked_payloads_total", "Payloads acknowledged on open streams.", "stream"),
		dropped:       desc("dropped_payloads_total", "Payloads dropped by the overflow policy.", "stream"),
		resent:        desc("resent_payloads_total", "Payloads sent again to the pod that had them.", "stream"),
		moved:         desc("moved_payloads_total", "Payloads sent to another pod than at first.", "stream"),
		doubt:         desc("uncertain_payloads_total", "Moved payloads that may be in the table twice.", "stream"),
	}
}

// Describe implements [prometheus.Collector].
func (m *Collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements [prometheus.Collector].
func (m *Collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	states := map[balancer.State]int{balancer.Connecting: 0, balancer.Ready: 0, balancer.Draining: 0}
	for _, p := range m.c.Pods() {
		states[p.State]++
		gauge(m.pending, float64(p.Pending), p.ID)
		gauge(m.latency, p.Latency.Seconds(), p.ID)
		counter(m.dials, p.Dials, p.ID)
		counter(m.losses, p.Losses, p.ID)
	}
	for s, n := range states {
		gauge(m.pods, float64(n), s.String())
	}
	if m.counts != nil {
		counter(m.resolves, m.counts.Resolves.Load())
		counter(m.resolveErrors, m.counts.ResolveErrors.Load())
		counter(m.dialErrors, m.counts.DialErrors.Load())
	}
	for _, s := range m.c.Streams() {
		st, name := s.Stats(), s.Name()
		gauge(m.buffered, float64(st.Buffered), name)
		gauge(m.bytes, float64(st.Bytes), name)
		counter(m.acked, st.Acked, name)
		counter(m.dropped, st.Dropped, name)
		counter(m.resent, st.Resent, name)
		counter(m.moved, st.Moved, name)
		counter(m.doubt, st.Uncertain, name)
	}
}
