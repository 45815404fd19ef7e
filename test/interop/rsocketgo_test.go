package interop

import (
	"testing"

	"github.com/weir-dev/weir/test/harness"
)

// TestRSocketGo keeps the reproduction of why weir has an RSocket core of its own in working order.
func TestRSocketGo(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	out, err := harness.Output(p.RSocketGo(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
}
