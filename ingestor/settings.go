package ingestor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/transform"
	"github.com/weir-dev/weir/rsocket"
)

// Settings is what a pipeline takes.
type Settings struct {
	Name        string
	Store       store.Store
	PartitionBy []string
	Parquet     parquet.WriterOptions
	Merge       *commit.Merge            // nil: records are appended
	ChangeFeed  bool                     // the table tells which rows its commits change
	Maintenance *delta.MaintenancePolicy // nil: the table is not looked after
	Decode      decode.Options
	Columns     *schema.Type       // those that are declared; nil for none
	Transform   *transform.Program // nil: no steps
	Batch       batch.Settings     // Shards 0 means one for each processor
	Memory      int64              // bytes for everything this pipeline holds, encoding included
	Taps        TapPolicy          // what taps may show
}

// Config is what an ingestor takes. The listeners are open; Run closes them.
type Config struct {
	Pipelines      []Settings
	RSocket        net.Listener
	HTTP           net.Listener // nil: no HTTP door
	Admin          net.Listener // /metrics, /livez, /readyz, /status; nil: none
	MaxConnections int          // of RSocket, and of HTTP; 0: no bound but that of the file descriptors
	Grace          time.Duration
	Version        string // for status and commitInfo
	Registry       *prometheus.Registry
	Log            *slog.Logger
	Tap            rsocket.Tap // sees the header of every frame; nil: none
	Cluster        Cluster     // who else runs the pipelines
}

// The shares of a pipeline's memory. Half is for payloads and the columns made from them; the other half is for what
// encoding, connections and the garbage collector take on top.
const (
	poolShare     = 2  // 1/2 of Memory
	batchShare    = 2  // 1/2 of the pool may be in the growing batch
	payloadShare  = 8  // a payload has at most 1/8 of the pool
	inflatedShare = 16 // a payload that is larger in memory than on the wire takes at most 1/16 of Memory
	maxPayload    = 16 << 20
	minMemory     = 16 << 20
	minGap        = 200 * time.Millisecond // at most five commits a second
	defaultGrace  = 25 * time.Second
)

func (c *Config) check() error {
	if len(c.Pipelines) == 0 {
		return errors.New("no pipeline")
	}
	seen := map[string]bool{}
	for _, s := range c.Pipelines {
		if seen[s.Name] {
			return fmt.Errorf("two pipelines are named %q", s.Name)
		}
		seen[s.Name] = true
		if s.Memory < minMemory {
			return fmt.Errorf("pipeline %s: memory is %d bytes, it needs at least %d", s.Name, s.Memory, minMemory)
		}
	}
	return nil
}

// poolSize returns the capacity and the overdraft of the byte pool, and the largest payload.
func (c *Config) poolSize() (capacity, reserve, payload int64) {
	event := int64(0)
	for _, s := range c.Pipelines {
		capacity += s.Memory / poolShare
		event = max(event, int64(s.Decode.MaxEventBytes))
	}
	payload = max(event+4096, min(capacity/payloadShare, maxPayload))
	return capacity, max(4*event, payload), payload
}

// batchSettings fills what the user's settings leave open and keeps the batch within the pool.
func (s *Settings) batchSettings() batch.Settings {
	b := s.Batch
	b.Merge = s.Merge != nil
	if b.Shards == 0 {
		b.Shards = runtime.GOMAXPROCS(0)
	}
	if b.MinGap == 0 {
		b.MinGap = minGap
	}
	b.MaxBytes = min(b.MaxBytes, s.Memory/poolShare/batchShare)
	return b
}
