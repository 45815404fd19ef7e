package harness

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/api/strict"
)

func TestPipelineIsValid(t *testing.T) {
	t.Parallel()
	text := Pipeline{Name: "events", Table: "/tmp/a table", PartitionBy: []string{"a", "b"}, Memory: "64Mi"}.YAML()
	pipelines, err := strict.Decode("pipeline.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	spec := pipelines[0].Spec
	if spec.Sink.Delta.URI != "/tmp/a table" || len(spec.Sink.Delta.PartitionBy) != 2 || spec.Flow.Memory.Value() != 64<<20 || *spec.Ingress.HTTP.Port != 0 {
		t.Errorf("decoded as %+v", spec)
	}
}

func TestReadUsage(t *testing.T) {
	t.Parallel()
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; { // a few ticks of CPU
	}
	u, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU <= 0 || u.RSS < 1<<20 || u.Peak < u.RSS {
		t.Errorf("usage of this process: %+v", u)
	}
	if _, err := ReadUsage(-1); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	out, err := Output(exec.CommandContext(t.Context(), "sh", "-c", `echo progress; echo '{"done":true}'`))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Done bool }
	if err := LastJSON(out, &v); err != nil || !v.Done {
		t.Errorf("last line of %q: %+v, %v", out, v, err)
	}
	_, err = Output(exec.CommandContext(t.Context(), "sh", "-c", "echo why >&2; exit 3"))
	if err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("the error of a failed program does not say why: %v", err)
	}
}

func TestMetric(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "# HELP a_total x\na_total{door=\"one\"} 2\na_total{door=\"two\"} 3.5\na_total_more 100\nb 1e+06\n") //nolint:errcheck // the client would fail
	}))
	defer server.Close()
	w := &Weir{Metrics: strings.TrimPrefix(server.URL, "http://")}
	for name, want := range map[string]float64{"a_total": 5.5, "b": 1e6} {
		if got, err := w.Metric(t.Context(), name); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	if _, err := w.Metric(t.Context(), "c"); err == nil {
		t.Error("a metric that is not exported has a value")
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	n := 0
	if err := Poll(t.Context(), time.Millisecond, func() (bool, error) { n++; return n == 3, nil }); err != nil || n != 3 {
		t.Errorf("%d calls, %v", n, err)
	}
	failed := errors.New("failed")
	if err := Poll(t.Context(), time.Millisecond, func() (bool, error) { return false, failed }); !errors.Is(err, failed) {
		t.Errorf("error: %v", err)
	}
}
