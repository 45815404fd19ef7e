package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/strict"
)

// comments matches a line of the spec that is commented out.
var comments = regexp.MustCompile(`(?m)^( +)# (\w+: .*)$`)

// The lines that init comments out are defaults: with them the Pipeline is the same.
func TestInitCommentsAreTheDefaults(t *testing.T) {
	text := output(t, "init", "--from", writeFile(t, "events.ndjson", `{"a":1}`+"\n"))
	all := comments.ReplaceAllString(text, "$1$2")
	if n := strings.Count(text, "# ") - strings.Count(all, "# "); n != 6 {
		t.Errorf("%d lines are commented out, want 6:\n%s", n, all)
	}
	want, err := strict.Decode("as printed", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := strict.Decode("without comment signs", []byte(all))
	if err != nil {
		t.Fatal(err)
	}
	got[0].Spec.Schema.SystemColumns = nil // an empty list says the same
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The partition column that init proposes is one that the Pipeline takes, with values that many rows share.
func TestInitProposesPartitions(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, `{"id":%d,"one":1,"city":"c%d","day":%d,"half":%s,"nested":{"city":"x"}}`+"\n",
			i, i%7, i%100, []string{"null", "1"}[i%2])
	}
	text := output(t, "init", "--from", writeFile(t, "events.ndjson", b.String()))
	if want := "Columns with few values: city (7), day (100).\n      # partitionBy: [\"city\"]\n"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	pipelines, err := strict.Decode("with partitions", []byte(strings.Replace(text, "# partitionBy", "partitionBy", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"city"}, pipelines[0].Spec.Sink.Delta.PartitionBy); diff != "" {
		t.Error(diff)
	}
}

// No name of a field and no value breaks the YAML or hides what comes after it.
func TestInitWithHostileRecords(t *testing.T) {
	record := `{"a\nb: c":"x\ny: z","#":"\u0000\u001b[2J","` + strings.Repeat("long", 300) + `":1,"` + "\u2028" + `":true,"{":[[{"q'\"":1}]]}`
	text := output(t, "init", "--from", writeFile(t, "we: ird\n#.ndjson", record), "--name", "odd")
	pipelines, err := strict.Decode("odd", []byte(text))
	if err != nil || len(pipelines) != 1 || pipelines[0].Name != "odd" {
		t.Errorf("%v\n%s", err, text)
	}
	for line := range strings.Lines(text) {
		if len(line) > 700 {
			t.Errorf("a line has %d bytes: %.80s", len(line), line)
		}
	}
}

// A sample ends at its bounds, in the middle of a record if need be, without an error.
func TestInitLooksAtABoundedSample(t *testing.T) {
	record := `{"a":"` + strings.Repeat("x", 1000) + `"}`
	many := strings.Repeat(record+"\n", sampleBytes/len(record)+10)
	small := strings.Repeat(`{"a":1}`+"\n", sampleRecords+1)
	for name, test := range map[string]struct{ file, want string }{
		"records": {small, "from the first 10000 records."},
		"all":     {small[:len(small)-8], "from 10000 records."},
		"array":   {"[" + strings.ReplaceAll(strings.TrimSpace(small), "\n", ",") + "]", "from the first 10000 records."},
		"bytes":   {strings.ReplaceAll(many, "x", strings.Repeat("y", 4)), "from the first 41"},
	} {
		t.Run(name, func(t *testing.T) {
			if text := output(t, "init", "--from", writeFile(t, "events", test.file)); !strings.Contains(text, test.want) {
				t.Errorf("%q is not in\n%.200s", test.want, text)
			}
		})
	}
}

func TestNameOf(t *testing.T) {
	for file, want := range map[string]string{
		"events.ndjson": "events", "/data/My Events.csv.gz": "my-events", "-": "events", "Größe.json": "gr-e",
		".ndjson": "events", strings.Repeat("a", 51) + "-b.csv": strings.Repeat("a", 51), "2013_01.csv": "2013-01",
	} {
		if got := nameOf(file); got != want {
			t.Errorf("nameOf(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestCSVValues(t *testing.T) {
	for cell, want := range map[string]string{
		"": "null", "12": "12", "-0.5": "-0.5", "1e3": "1e3", "true": "true", "007": `"007"`, "1.": `"1."`, "NaN": `"NaN"`,
		"null": `"null"`, `"`: `"\""`, "{}": `"{}"`, "True": `"True"`, "<é>": `"<é>"`,
	} {
		got, err := appendRow(nil, [][]byte{[]byte(`"c"`)}, []string{cell}, false)
		if want = `{"c":` + want + `}`; err != nil || string(got) != want {
			t.Errorf("%q becomes %s (%v), want %s", cell, got, err, want)
		}
	}
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
