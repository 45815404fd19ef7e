package interop

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/test/harness"
)

// javaRows is what rsocket-java sends in each model.
const javaRows = 50_000

// produced is what a foreign producer says at its end.
type produced struct {
	Sent     int64             `json:"sent"`     // Python and JavaScript
	Acked    int64             `json:"acked"`    // Python and JavaScript
	Payloads int64             `json:"payloads"` // Java
	Records  int64             `json:"records"`  // Java: of the last ack
	Answers  int64             `json:"answers"`  // Java
	Granted  int64             `json:"granted"`  // Java: sum of REQUEST_N
	RequestN int64             `json:"requestN"` // Java: number of REQUEST_N frames
	Messages []json.RawMessage `json:"messages"`
}

// TestJava sends the interop set with rsocket-java in every model; each reader must find exactly those rows.
func TestJava(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	file, dir := events(t, javaRows), t.TempDir()
	want := expect(t, p, file)
	modes := []struct {
		name string
		args []string
		acks func(produced) int64 // records that the producer knows to be committed
	}{
		{"channel", []string{"--mode", "channel"}, func(r produced) int64 { return r.Records }},
		{"stream", []string{"--mode", "channel", "--stream", "java-1"}, func(r produced) int64 { return r.Records }},
		{"request", []string{"--mode", "request", "--concurrency", "2000"}, func(r produced) int64 { return r.Answers }},
		{"fire-and-forget", []string{"--mode", "fnf"}, func(r produced) int64 { return r.Payloads }},
	}
	var tables []string
	for i, mode := range modes {
		table := filepath.Join(dir, strconv.Itoa(i))
		tables = append(tables, table)
		t.Run(mode.name, func(t *testing.T) {
			w := runWeir(t, harness.Pipeline{Table: table, PartitionBy: []string{"region"}})
			got := javaProduce(t, p, w, append(mode.args, "--file", file)...)
			if got.Payloads != javaRows || mode.acks(got) != javaRows {
				t.Errorf("%d payloads sent, %d acknowledged, want %d: %s", got.Payloads, mode.acks(got), javaRows, got.Messages)
			}
			t.Logf("%d REQUEST_N frames granted %d payloads", got.RequestN, got.Granted)
			committed(t, w, javaRows)
			stop(t, w)
			checkTable(t, p, table, want)
		})
	}
	for i, got := range sparkRows(t, p, tables...) {
		same(t, "spark, after "+modes[i].name, got, want)
	}
}

// javaProduce runs the producer to its end. Its exit status says whether everything was sent and acknowledged.
func javaProduce(t *testing.T, p *harness.Peers, w *harness.Weir, args ...string) produced {
	t.Helper()
	cmd, err := p.Java(t.Context(), "Producer", append([]string{"--port", w.Port()}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := harness.Output(cmd)
	if err != nil {
		t.Fatalf("%v\nweir said:\n%s", err, w.Log())
	}
	var got produced
	last(t, out, &got)
	return got
}

// committed waits until weir says that so many records are in the table; fire-and-forget has no other answer.
func committed(t *testing.T, w *harness.Weir, want int64) {
	t.Helper()
	var n float64
	err := harness.Poll(t.Context(), 50*time.Millisecond, func() (done bool, err error) {
		n, err = w.Metric(t.Context(), "weir_records_committed_total")
		return int64(n) >= want, err
	})
	if err != nil {
		t.Fatalf("%v: %v of %d records are committed\n%s", err, n, want, w.Log())
	}
}

// checkTable reads a table in Python and compares rows, columns and protocol.
func checkTable(t *testing.T, p *harness.Peers, table string, want rows) {
	t.Helper()
	got := pythonRows(t, p, "deltalake", table)
	same(t, "deltalake", got, want)
	want.Partitions, want.Protocol = []string{"region"}, []int{1, 2}
	want.Rows, want.SHA256 = got.Rows, got.SHA256
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shape of the table (-want +got):\n%s", diff)
	}
	same(t, "duckdb", pythonRows(t, p, "duckdb", table), got)
}

// TestScripts sends the same events with rsocket-py and rsocket-js: over a plain channel, over one with a stream header,
// and by requests.
func TestScripts(t *testing.T) {
	t.Parallel()
	const rows = 700
	p := harness.RequirePeers(t)
	file := events(t, rows)
	want := expect(t, p, file, file, file)
	for _, client := range []struct {
		name   string
		run    program
		script string
	}{{"rsocket-py", p.Python, "produce.py"}, {"rsocket-js", p.Node, "produce.js"}} {
		t.Run(client.name, func(t *testing.T) {
			w := runWeir(t, harness.Pipeline{PartitionBy: []string{"region"}})
			for _, mode := range []string{"channel", "stream", "request"} {
				var got produced
				last(t, output(t, client.run, client.script, w.Port(), file, mode), &got)
				if got.Sent != rows || got.Acked != rows {
					t.Errorf("%s: %d sent, %d acknowledged: %s", mode, got.Sent, got.Acked, got.Messages)
				}
			}
			stop(t, w)
			checkTable(t, p, w.Table, want)
		})
	}
}
