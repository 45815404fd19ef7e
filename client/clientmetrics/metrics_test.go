package clientmetrics

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// Everything is exported, and named in docs/balancer.md.
func TestCollector(t *testing.T) {
	mux := new(rsocket.Mux)
	mux.HandleChannel(protocol.RouteStream, func(ctx context.Context, _ *rsocket.Request, _ *rsocket.Receiver, out *rsocket.Sender) error {
		m := protocol.Message{Type: protocol.TypeOpened, Epoch: 1, ResumeFrom: 1}
		if err := out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	l := rsocket.NewMemoryListener()
	srv := rsocket.NewServer(rsocket.ServerOptions{Handlers: mux.Handlers()})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	counts := new(balancer.Stats)
	c, err := client.Dial(t.Context(), "memory:1,memory:2", client.Options{
		PodStats:    counts,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStream(t.Context(), client.StreamOptions{Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), []byte("12345")); err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(c, counts))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/balancer.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if !strings.Contains(string(page), "`"+f.GetName()+"`") {
			t.Errorf("docs/balancer.md does not know %s", f.GetName())
		}
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if len(families) != 15 {
		t.Errorf("%d metrics", len(families))
	}
	if got["weir_client_pods"] != 2 || got["weir_client_buffered_bytes"] != 5 || got["weir_client_resolves_total"] != 1 {
		t.Errorf("%v", got)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_ = c.Close(canceled) // says that a payload is not acknowledged
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = srv.Shutdown(ctx) // streams may be cut off
	if err := <-served; !errors.Is(err, rsocket.ErrServerClosed) {
		t.Error(err)
	}
}
