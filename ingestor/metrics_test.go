package ingestor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// TestMetricsAreDocumented compares docs/metrics.md with what an ingestor exports, both ways, and lints the names.
func TestMetricsAreDocumented(t *testing.T) {
	h := start(t, nil)
	h.open(h.dial(), rsocket.NewPayload(nil, route(protocol.RouteStream, protocol.MIMEStream, `{}`))).message() // a refusal
	h.in.pipelines["p"].drop(errReadOnly)                                                                       // and a drop, so that their vectors have a member
	h.in.pipelines["p"].maintained(delta.MaintenanceReport{Task: delta.TaskCompact})
	families, err := h.in.conf.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	for _, f := range families {
		exported[f.GetName()] = f.GetHelp()
		if f.GetType().String() == "COUNTER" != strings.HasSuffix(f.GetName(), "_total") {
			t.Errorf("%s: exactly counters end in _total", f.GetName())
		}
	}
	doc, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(weir_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1])
		if exported[m[1]] == "" {
			t.Errorf("docs/metrics.md tells of %s, which is not exported", m[1])
		}
	}
	for name := range exported {
		if !slices.Contains(documented, name) {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
}
