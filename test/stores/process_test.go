package stores

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/peers"
)

// servers are the S3 servers that every test here runs against.
var servers = map[string]func(*testing.T) *peers.Server{
	"gofakes3":  func(t *testing.T) *peers.Server { return peers.S3(t) },
	"versitygw": peers.VersityGW,
}

// long says whether to run a test in its long form.
func long() bool { return os.Getenv("WEIR_STORES_LONG") != "" }

// TestProcessesAppend: 16 processes append to one table; every commit is there, none twice. The long form has 200 commits
// of each.
func TestProcessesAppend(t *testing.T) {
	writers, each := 16, 10
	if long() {
		each = 200
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			start(t).Setenv(t)
			uri := "s3://" + peers.Bucket + "/processes"
			st := openStore(t, uri)
			createTable(t, st)
			began := time.Now()
			children := make([]*writer, writers)
			for i := range children {
				children[i] = startWriter(t, nil, uri, fmt.Sprintf("w%d", i), each)
			}
			acked := map[int64]string{}
			for _, child := range children {
				child.acked(t, acked, -1)
				must(t, child.cmd.Wait())
			}
			s := checkLog(t, st, acked)
			want := writers * each
			if len(acked) != want || s.Version() != int64(want) || s.NumFiles() != want {
				t.Errorf("%d acknowledged, version %d, %d files; want %d of each", len(acked), s.Version(), s.NumFiles(), want)
			}
			t.Logf("%d processes × %d commits in %v: %d acknowledged, version %d, %d files, none twice", writers, each,
				time.Since(began).Round(time.Second), len(acked), s.Version(), s.NumFiles())
		})
	}
}

// TestKilledWriters: processes are killed in the middle of their commits, others go on; nothing that was acknowledged is
// lost, and the table stays whole.
func TestKilledWriters(t *testing.T) {
	rounds := 3
	if long() {
		rounds = 40
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			start(t).Setenv(t)
			uri := "s3://" + peers.Bucket + "/killed"
			st := openStore(t, uri)
			createTable(t, st)
			acked := map[int64]string{}
			for round := range rounds {
				victim := startWriter(t, nil, uri, fmt.Sprintf("v%d", round), 10_000)
				other := startWriter(t, nil, uri, fmt.Sprintf("o%d", round), 10)
				victim.acked(t, acked, 1+rand.IntN(20))
				must(t, victim.cmd.Process.Kill())
				victim.acked(t, acked, -1)
				other.acked(t, acked, -1)
				must(t, other.cmd.Wait())
				if err := victim.cmd.Wait(); err == nil || !errors.As(err, new(*exec.ExitError)) {
					t.Fatalf("the victim was not killed: %v", err)
				}
				checkLog(t, st, acked)
			}
			last := map[int64]string{}
			w := startWriter(t, nil, uri, "after", 1)
			w.acked(t, last, -1)
			must(t, w.cmd.Wait())
			s := checkLog(t, st, last)
			t.Logf("%d rounds: %d commits acknowledged, %d in the log", rounds, len(acked)+1, s.Version())
		})
	}
}
