package fault

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// showFrames logs what the recorded frames say, a line a second: what was granted to each connection by REQUEST_N, what it
// sent, and its KEEPALIVE frames.
func (w *watched) showFrames(t *testing.T) {
	t.Helper()
	const perSecond = 10 // snapshots
	var b strings.Builder
	last := snapshot{}
	for i := 0; i < len(w.seen); i += perSecond {
		s := w.seen[i]
		fmt.Fprintf(&b, "%3d s stalled=%-5t committed=%-7d held=%5.1f MiB", i/perSecond, s.Stalled, s.Committed, float64(s.Held)/(1<<20))
		for _, id := range slices.Sorted(maps.Keys(s.Conns)) {
			now, was := s.Conns[id], last.Conns[id]
			fmt.Fprintf(&b, " | conn %d: REQUEST_N %3d × (Σ %6d), %6d payloads, KEEPALIVE %d/%d", id,
				now.RequestN-was.RequestN, now.Granted-was.Granted, now.Payloads-was.Payloads,
				now.KeepAliveIn-was.KeepAliveIn, now.KeepAliveOut-was.KeepAliveOut)
		}
		b.WriteByte('\n')
		last = s
	}
	t.Logf("recorded frames of each second:\n%s", b.String())
}
