package ingestor

import (
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
	"github.com/weir-dev/weir/test/gen"
)

// BenchmarkStream streams events of 1 KiB over loopback into a committed local table; an operation is one event.
func BenchmarkStream(b *testing.B) {
	h := start(b, func(c *Config) {
		st, err := store.OpenURI(b.Context(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		p := &c.Pipelines[0]
		p.Store, p.Memory = st, 256<<20
		p.Batch.MaxBytes, p.Batch.MaxAge, p.Batch.MinGap = 64<<20, 5*time.Second, 0
	})
	const distinct = 1 << 16 // so that no column is all dictionary
	events := make([]rsocket.Payload, distinct)
	for i := range events {
		events[i].Data = gen.Events{Seed: 1, Size: 1024}.Append(nil, int64(i))
	}
	s, _ := h.openNamed(h.dial(), 1, 0)
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for at := 0; at < b.N; {
			from := at % distinct
			n, err := s.out.SendBatch(b.Context(), events[from:min(from+256, distinct, from+b.N-at)])
			if err != nil {
				b.Error(err)
				return
			}
			at += n
		}
		if err := s.out.Complete(); err != nil {
			b.Error(err)
		}
	}()
	if m := s.ackTo(int64(b.N)); m.Type != protocol.TypeAck || m.Records != int64(b.N) {
		b.Fatalf("%+v", m)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
