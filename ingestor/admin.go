package ingestor

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-dev/weir/protocol"
)

// adminDoor serves /metrics, /livez and /readyz, the status of every pipeline on /status, and taps.
func adminDoor(metrics func() prometheus.Gatherer, status func() protocol.PodStatus, tap http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(metrics(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s := status(); !s.Ready {
			writeText(w, http.StatusServiceUnavailable, s.Message+"\n")
			return
		}
		writeText(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, status()) })
	mux.HandleFunc("GET /tap/{pipeline}", tap)
	return mux
}

// PodStatus returns the status of this process.
func (i *Ingestor) PodStatus() protocol.PodStatus {
	s := protocol.PodStatus{Version: i.conf.Version, Ready: true, Pipelines: i.Status()}
	if err := i.ready(); err != nil {
		s.Ready, s.Message = false, err.Error()
	}
	return s
}
