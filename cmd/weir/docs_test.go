package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocs runs the pages that show commands: yaml blocks that begin with a file's name are written to it, sh blocks run, and
// the text block behind one is what it prints.
func TestDocs(t *testing.T) {
	needTools(t, "bash")
	root, _ := readReadme(t)
	for _, page := range []string{"schema.md", "transform.md", "merge.md", "maintenance.md", "formats.md"} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, "docs", page))
			if err != nil {
				t.Fatal(err)
			}
			dir, all := t.TempDir(), blocks(string(text))
			ran := 0
			for i, b := range all {
				name, named := strings.CutPrefix(b.text, "# ")
				name, _, _ = strings.Cut(name, "\n")
				switch {
				case b.language == "yaml" && named:
					if err := os.WriteFile(filepath.Join(dir, name), []byte(b.text), 0o600); err != nil {
						t.Fatal(err)
					}
				case b.language == "sh":
					ran++
					out := runBash(t, dir, "set -e\n"+b.text)
					if i+1 == len(all) || all[i+1].language != "text" {
						continue
					}
					if diff := cmp.Diff(all[i+1].text, out); diff != "" {
						t.Errorf("%s prints other than it says (-page +now):\n%s", fmt.Sprintf("docs/%s:%d", page, b.line), diff)
					}
				}
			}
			if ran < 2 {
				t.Errorf("only %d blocks ran", ran)
			}
		})
	}
}
