package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/test/harness"
)

// block is a fenced block of the README.
type block struct {
	line     int
	language string
	text     string
}

var fences = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

func blocks(readme string) []block {
	var all []block
	for _, m := range fences.FindAllStringSubmatchIndex(readme, -1) {
		all = append(all, block{strings.Count(readme[:m[0]], "\n") + 1, readme[m[2]:m[3]], readme[m[4]:m[5]]})
	}
	return all
}

func readReadme(t *testing.T) (root, text string) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return root, string(b)
}

// TestReadmeTour runs the sh blocks of the README in one bash, in a new directory, and compares what each prints with the
// text block behind it. The doors are on free ports. Afterwards the python blocks read the table that the tour made, with
// the Python that WEIR_PYTHON names or that test/setup.sh installed.
func TestReadmeTour(t *testing.T) {
	needTools(t, "bash", "curl", "sed")
	_, readme := readReadme(t)
	dir := t.TempDir()
	ports := freePorts(t)
	var script strings.Builder
	var wants []string
	var tour []block
	all := blocks(readme)
	for i, b := range all {
		if b.language != "sh" {
			continue
		}
		want := ""
		if i+1 < len(all) && all[i+1].language == "text" {
			want = all[i+1].text
		}
		if strings.Contains(b.text, "weir run") {
			script.WriteString(ports.edit("pipeline.yaml"))
		}
		fmt.Fprintf(&script, "%s\nprintf '%s'\n", ports.replacer().Replace(b.text), divider)
		tour, wants = append(tour, b), append(wants, want)
	}
	out := runBash(t, dir, script.String())
	got := strings.Split(out, divider)
	if len(tour) < 8 || len(got) != len(tour)+1 {
		t.Fatalf("%d of %d blocks ran:\n%s", len(got)-1, len(tour), out)
	}
	for i, b := range tour {
		if diff := cmp.Diff(normal(wants[i]), normal(ports.undo(got[i]))); diff != "" {
			t.Errorf("README.md:%d prints other than it says (-README +now):\n%s\nit prints\n%s", b.line, diff, got[i])
		}
	}
	t.Run("python", func(t *testing.T) { readmePython(t, dir, all) })
}

// needTools skips the test, loudly, where a program is missing.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT TESTED: %s is not installed", name)
		}
	}
}

// divider stands between the outputs of two blocks.
const divider = "\x1e"

// runBash runs a script with the weir of this source on the PATH and returns all that it prints.
func runBash(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	bin := t.TempDir()
	weir, err := harness.Build(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(weir)+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.WaitDelay = 10 * time.Second // for what bash may have left behind
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// doorPorts are the ports of the README and those of the test.
type doorPorts [3][2]string

// freePorts finds ports that nobody listens on now.
func freePorts(t *testing.T) doorPorts {
	t.Helper()
	ports := doorPorts{{"7000"}, {"7080"}, {"9090"}}
	for i := range ports {
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // after all were found, so that they differ
		_, ports[i][1], err = net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
	}
	return ports
}

// edit is the command that gives the pipeline of the tour the ports of the test: init has left them as comments.
func (p doorPorts) edit(file string) string {
	return fmt.Sprintf("sed -i 's/# ingress: .*/ingress: {rsocket: {port: %s}, http: {port: %s}}/; s/# observability: .*/observability: {metricsPort: %s}/' %s\n",
		p[0][1], p[1][1], p[2][1], file)
}

func (p doorPorts) replacer() *strings.Replacer {
	return strings.NewReplacer(":"+p[0][0], ":"+p[0][1], ":"+p[1][0], ":"+p[1][1], ":"+p[2][0], ":"+p[2][1])
}

func (p doorPorts) undo(s string) string {
	return strings.NewReplacer(":"+p[0][1], ":"+p[0][0], ":"+p[1][1], ":"+p[1][0], ":"+p[2][1], ":"+p[2][0]).Replace(s)
}

// variable matches what differs from run to run.
var variable = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`file://\S*/`), "DIRECTORY/"},
	{regexp.MustCompile(`weir/\S+`), "weir/VERSION"},
	{regexp.MustCompile(`\d+(\.\d+)? (B|KiB)\b`), "SIZE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`), "DURATION"},
	{regexp.MustCompile(`\b[\d,]+(\.\d+)?/s`), "RATE"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m) $`), ""},
}

// normal puts names in place of what differs from run to run.
func normal(s string) string {
	for _, v := range variable {
		s = v.what.ReplaceAllString(s, v.name)
	}
	return strings.TrimSpace(s)
}

// leave ends Python after a block that has run to its end: the interpreter's own way out sometimes aborts in a thread of the
// packages, after all was done.
const leave = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"

// readmePython runs the python blocks on the table of the tour.
func readmePython(t *testing.T, dir string, all []block) {
	t.Helper()
	python := os.Getenv("WEIR_PYTHON")
	if python == "" {
		python = harness.RequirePeers(t).Python(t.Context(), "").Path
	}
	ran := 0
	for i, b := range all {
		if b.language != "python" {
			continue
		}
		ran++
		t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), python, "-c", b.text+leave)
			cmd.Dir = dir
			out, err := harness.Output(cmd)
			if err != nil && strings.Contains(err.Error(), "ModuleNotFoundError") && os.Getenv("WEIR_REQUIRE_PEERS") == "" {
				t.Skipf("NOT TESTED: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(all[i+1].text), normal(string(out))); diff != "" {
				t.Errorf("README.md:%d prints other than it says (-README +now):\n%s", b.line, diff)
			}
		})
	}
	if ran == 0 {
		t.Error("the README has no python block")
	}
}

var links = regexp.MustCompile(`\]\(([^)]+)\)`)

// TestReadmeLinks checks that what the README links to is there.
func TestReadmeLinks(t *testing.T) {
	root, readme := readReadme(t)
	n := 0
	for _, m := range links.FindAllStringSubmatch(readme, -1) {
		if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "#") {
			continue
		}
		n++
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
	if n == 0 {
		t.Error("there is no link into the repository")
	}
	if bytes.Contains([]byte(readme), []byte("TODO")) {
		t.Error("something is left to do")
	}
}
