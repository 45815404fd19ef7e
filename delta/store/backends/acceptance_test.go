package backends_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/delta/store/storetest"
	"github.com/weir-dev/weir/test/peers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.RemoveBuilt()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var stores atomic.Int64

// opens makes each store below a path of its own.
func opens(base string, set backends.Settings) func(t *testing.T) store.Store {
	return func(t *testing.T) store.Store {
		t.Helper()
		s, err := backends.Open(t.Context(), fmt.Sprintf("%s/store %d", base, stores.Add(1)), set)
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

func TestS3(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *peers.Server{
		"gofakes3":  func(t *testing.T) *peers.Server { return peers.S3(t) },
		"versitygw": peers.VersityGW,
	} {
		t.Run(name, func(t *testing.T) {
			start(t).Setenv(t)
			storetest.Run(t, opens("s3://"+peers.Bucket, backends.Settings{}))
		})
	}
}
