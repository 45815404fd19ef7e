package stores

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/delta/store/storetest"
	"github.com/weir-dev/weir/test/peers"
)

var opened atomic.Int64

// opens makes each store below a path of its own.
func opens(base string, set backends.Settings) func(t *testing.T) store.Store {
	return func(t *testing.T) store.Store {
		t.Helper()
		s, err := backends.Open(t.Context(), fmt.Sprintf("%s/store %d", base, opened.Add(1)), set)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.(interface{ Close() }).Close)
		if err := store.Probe(t.Context(), s, "_probe"); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// TestAcceptance runs the suite that every store passes against a server of each kind.
func TestAcceptance(t *testing.T) {
	s3 := func(start func(*testing.T) *peers.Server) func(*testing.T) *peers.Server {
		return func(t *testing.T) *peers.Server {
			t.Helper()
			s := start(t)
			s.Setenv(t)
			return s
		}
	}
	for name, c := range map[string]struct {
		scheme string
		start  func(*testing.T) *peers.Server
		opt    storetest.Options
	}{
		"s3 gofakes3":        {"s3", s3(func(t *testing.T) *peers.Server { return peers.S3(t) }), storetest.Options{}},
		"s3 versitygw":       {"s3", s3(peers.VersityGW), storetest.Options{Directories: true}},
		"gs fake-gcs-server": {"gs", peers.FakeGCS, storetest.Options{}},
		"az azurite":         {"az", peers.Azurite, storetest.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.start(t)
			storetest.Run(t, opens(c.scheme+"://"+peers.Bucket, backends.Settings{}), c.opt)
		})
	}
}
