package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// examples returns the lines of the examples of cmd and of all below it; every command that does something has some.
func examples(t *testing.T, cmd *cobra.Command) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(cmd.Example) {
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) == 0 && cmd.HasParent() {
		t.Errorf("%s has no example", cmd.CommandPath())
	}
	for _, sub := range cmd.Commands() {
		lines = append(lines, examples(t, sub)...)
	}
	return lines
}

// writeOrders makes the Avro and Protobuf files of the examples.
func writeOrders(t *testing.T, dir string) {
	t.Helper()
	files, err := orderFiles(20)
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"orders.avro": "orders-deflate.avro", "orders.pb": "orders.pb", "order.proto": "order.proto"} {
		if err := os.WriteFile(filepath.Join(dir, name), files[from], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutTarget matches a send to the default target.
var withoutTarget = regexp.MustCompile(`weir send( [^-]\S*)?$`)

// inCluster matches what needs a Kubernetes cluster: test/envtest and test/e2e run that.
var inCluster = regexp.MustCompile(`^(weir (get|status|ingest|operator|install --image)|kubectl)\b|kubectl apply`)

// TestExamplesWork runs every example of --help as it is printed, on other ports, where there are events and a table.
func TestExamplesWork(t *testing.T) {
	needTools(t, "bash", "curl", "gzip")
	ports := freePorts(t)
	var script strings.Builder
	script.WriteString(`set -e
echo '{"user":"ada","amount":12.5}' > events.ndjson
gzip -k events.ndjson
printf 'user,amount\nbob,3\n' > orders.csv
weir demo --dir tables
weir init --from events.ndjson > pipeline.yaml
sed 's/^spec:/spec:\n  schema: {format: {protobuf: {file: order.proto, message: shop.v1.Order}}}/' pipeline.yaml > served.yaml
printf 'cases:\n- name: a case\n  given: [{user: ada}]\n  expect: [{user: ada}]\n' | tee pipeline.test.yaml > more.yaml
` + ports.edit("served.yaml") + `weir run served.yaml &
` + ports.replacer().Replace("curl -s --retry 50 --retry-delay 1 --retry-connrefused http://localhost:9090/readyz\n"))
	ran := 0
	for _, line := range examples(t, newRoot()) {
		if line == "weir run pipeline.yaml" { // it is running
			continue
		}
		if inCluster.MatchString(line) || strings.HasPrefix(line, "weir table changes") { // of a table with a change data feed: TestDocs
			continue
		}
		line = strings.Replace(line, "weir.example:7000 --pipeline orders", "localhost:7000 --pipeline events", 1)
		line = strings.Replace(line, "weir://events-headless:", "weir://localhost:", 1)
		line = withoutTarget.ReplaceAllString(line, "$0 --to localhost:7000")
		if strings.HasPrefix(line, "weir tap ") && !strings.Contains(line, "--metrics") {
			line += " --metrics localhost:9090"
		}
		line = ports.replacer().Replace(line)
		fmt.Fprintf(&script, "echo '$' %q\n%s\n", line, line)
		ran++
	}
	if ran < 15 {
		t.Errorf("only %d examples ran", ran)
	}
	script.WriteString("kill $!\nwait $!\n")
	t.Setenv("TMPDIR", t.TempDir()) // of the demo
	dir := t.TempDir()
	writeOrders(t, dir)
	t.Log(runBash(t, dir, script.String()))
}
