package rsocket

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every test the clause table names exists.
func TestClauseTable(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("..", "docs", "format", "rsocket.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`).FindAllSubmatch(src, -1) {
			defined[string(m[1])] = true
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(table, -1)
	if len(names) < 40 {
		t.Errorf("only %d names found", len(names))
	}
	for _, m := range names {
		if !defined[string(m[1])] {
			t.Errorf("%s does not exist", m[1])
		}
	}
}
