package stores

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/test/harness"
	"github.com/weir-dev/weir/test/peers"
)

var fences = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestDocs runs the commands of docs/storage.md, with servers of this test where the page has the addresses of others.
func TestDocs(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	page, err := os.ReadFile(filepath.Join(root, "docs", "storage.md"))
	must(t, err)
	s3, gcs, azure := peers.S3(t), peers.FakeGCS(t), peers.Azurite(t)
	text := string(page)
	for _, at := range []struct{ page, here string }{
		{"http://minio.store:9000", s3.URL}, {"http://127.0.0.1:4443", gcs.URL}, {"http://127.0.0.1:10000", strings.TrimSuffix(azure.URL, "/"+peers.AzureAccount)},
	} {
		if !strings.Contains(text, at.page) {
			t.Errorf("the page does not show %s", at.page)
		}
		text = strings.ReplaceAll(text, at.page, at.here)
	}
	dir := t.TempDir()
	bin, err := weir()
	must(t, err)
	all, ran := fences.FindAllStringSubmatch(text, -1), 0
	for i, b := range all {
		language, code := b[1], b[2]
		switch name, named := strings.CutPrefix(code, "# "); {
		case language == "yaml" && named:
			name, _, _ = strings.Cut(name, "\n")
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600))
		case language == "sh":
			ran++
			out := shell(t, dir, filepath.Dir(bin), code)
			if i+1 < len(all) && all[i+1][1] == "text" {
				if diff := cmp.Diff(all[i+1][2], out); diff != "" {
					t.Errorf("block %d prints other than the page says (-page +now):\n%s", ran, diff)
				}
			}
		}
	}
	if ran < 3 {
		t.Errorf("only %d blocks ran", ran)
	}
}

// shell runs a block in an environment that says nothing of stores, with weir on the path, and returns what it prints.
func shell(t *testing.T, dir, bin, code string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+code)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "AZURE_") || strings.HasPrefix(v, "GOOGLE_") || strings.HasPrefix(v, "STORAGE_")
	})
	cmd.Env = append(cmd.Env, "HOME="+dir, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.WaitDelay = 10 * time.Second // for what bash may have left behind
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, code, out)
	}
	return string(out)
}
