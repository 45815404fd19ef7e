package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// caseFile is a file of cases for the pipelines of another file.
type caseFile struct {
	Cases []testCase `yaml:"cases"`
}

// testCase is what a pipeline gets and what it should make of it.
type testCase struct {
	Name     string       `yaml:"name"`
	Pipeline string       `yaml:"pipeline"` // may be left out when the file has one
	Given    []yaml.Node  `yaml:"given"`    // records; a string is one as it is sent
	Expect   []yaml.Node  `yaml:"expect"`   // rows; columns that are null may be left out
	Rejected []wantReject `yaml:"rejected"`
}

// wantReject is a record that is refused.
type wantReject struct {
	Record int    `yaml:"record"` // of given, from 0
	Reason string `yaml:"reason"` // a part of it
}

// verdict is what weir test prints of a case.
type verdict struct {
	Case     string   `json:"case"`
	Pipeline string   `json:"pipeline"`
	Passed   bool     `json:"passed"`
	Diff     []string `json:"diff,omitempty"` // lines that begin with - (expected) or + (got)
}

func newTestCommand() *cobra.Command {
	var cases string
	cmd := &cobra.Command{
		Use: "test FILE", Short: "Run the cases of a Pipeline file",
		Long: `Run the cases of a Pipeline file: what the pipeline makes of given records, without a table and without a server. The cases
of pipeline.yaml are in pipeline.test.yaml beside it, unless --cases names another file:

  cases:
    - name: totals
      given:                      # records; a string is one as it is sent
        - {price: 2.5, qty: 4}
        - '{"price": "free"}'
      expect:                     # rows; columns that are null may be left out
        - {price: 2.5, qty: 4, total: 10.0}
      rejected:                   # records that are refused, counted from 0, and a part of the reason
        - {record: 1, reason: does not fit}

Every case begins with an empty table. The exit code is 1 if one fails.`,
		Example: `  weir test pipeline.yaml
  weir test pipeline.yaml --cases more.yaml -o json`,
		Args: takes("FILE"), ValidArgsFunction: pipelineFiles(1),
	}
	cmd.Flags().StringVar(&cases, "cases", "", "file of cases; default: that beside FILE, with .test.yaml")
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runCases(view(cmd), args[0], cases, cmd.InOrStdin())
	}
	return cmd
}

func runCases(v view, file, cases string, stdin io.Reader) error {
	pipelines, err := readPipelines(file, stdin)
	if err != nil {
		return err
	}
	if cases == "" {
		if file == "-" {
			return errors.New("the Pipeline is the standard input: name its cases with --cases FILE")
		}
		cases = strings.TrimSuffix(strings.TrimSuffix(file, ".yaml"), ".yml") + ".test.yaml"
	}
	all, err := readCases(cases)
	if err != nil {
		return err
	}
	failed := 0
	for i := range all.Cases {
		r, err := all.Cases[i].run(pipelines)
		if err != nil {
			return fmt.Errorf("%s: case %d (%s): %w", cases, i+1, all.Cases[i].Name, err)
		}
		if !r.Passed {
			failed++
		}
		if err := v.verdict(r); err != nil {
			return err
		}
	}
	if failed > 0 {
		if !v.json {
			fmt.Fprintf(v.out, "%d of %d cases failed\n", failed, len(all.Cases))
		}
		return &exitError{1}
	}
	return nil
}

func (v view) verdict(r verdict) error {
	if v.json {
		return v.encode(r)
	}
	word := "ok  "
	if !r.Passed {
		word = "FAIL"
	}
	fmt.Fprintf(v.out, "%s  %s\n", word, r.Case)
	for _, line := range r.Diff {
		fmt.Fprintf(v.out, "      %s\n", line)
	}
	return nil
}

func readCases(file string) (*caseFile, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	all := &caseFile{}
	if err := dec.Decode(all); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read cases: %s: %w", file, err)
	}
	if len(all.Cases) == 0 {
		return nil, fmt.Errorf("read cases: %s holds no case", file)
	}
	return all, nil
}

// run takes the records of a case through its pipeline.
func (c *testCase) run(pipelines []*v1alpha1.Pipeline) (verdict, error) {
	p, err := c.pipeline(pipelines)
	if err != nil {
		return verdict{}, err
	}
	r := verdict{Case: c.Name, Pipeline: p.Name}
	dec := offline(p)
	var rejects []wantReject
	for i := range c.Given {
		record, err := recordOf(&c.Given[i])
		if err != nil {
			return r, err
		}
		_, refused := dec.Append(event.JSON, record, decode.System{}, nil)
		for _, reject := range refused {
			rejects = append(rejects, wantReject{i, reject.Reason})
		}
	}
	rows := []any{}
	if dec.Rows() > 0 {
		rows = rowsOf(dec.Take())
	}
	want := []any{}
	for i := range c.Expect {
		row, err := recordOf(&c.Expect[i])
		if err != nil {
			return r, err
		}
		value, err := parseJSON(row)
		if err != nil {
			return r, fmt.Errorf("expect[%d]: %w", i, err)
		}
		want = append(want, value)
	}
	r.Diff = append(diffRows(want, rows), diffRejects(c.Rejected, rejects)...)
	r.Passed = len(r.Diff) == 0
	return r, nil
}

func (c *testCase) pipeline(pipelines []*v1alpha1.Pipeline) (*v1alpha1.Pipeline, error) {
	if c.Pipeline == "" && len(pipelines) == 1 {
		return pipelines[0], nil
	}
	var names []string
	for _, p := range pipelines {
		if p.Name == c.Pipeline {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("pipeline %q is none of %s", c.Pipeline, strings.Join(names, ", "))
}

// offline returns what decodes for p, over a table that does not exist yet.
func offline(p *v1alpha1.Pipeline) *transform.Decoder {
	columns, hints, program, _ := shape(p) // the file was checked
	o := decodeOptions(p, hints)
	o.Widen, o.NeedColumn = true, true
	if program == nil {
		o.PartitionBy = p.Spec.Sink.Delta.PartitionBy
		s := decode.NewSchema(columns, o)
		return transform.NewDecoder(s, s, nil)
	}
	return transform.NewDecoder(decode.NewSchema(columns, o), decode.NewSchema(nil, decode.Options{}), program)
}

// recordOf is a record of a file of cases as JSON.
func recordOf(n *yaml.Node) ([]byte, error) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return []byte(n.Value), nil
	}
	asText(n)
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	return b, nil
}

// asText makes texts of what YAML takes for times, as they are in JSON.
func asText(n *yaml.Node) {
	if n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		asText(c)
	}
}

// rowsOf returns the rows of a batch as JSON values without nulls. Columns about a record's way are left out.
func rowsOf(b *column.Batch) []any {
	var rows []any
	for i := range b.Rows {
		row := map[string]any{}
		for c, f := range b.Schema.Fields {
			if strings.HasPrefix(f.Name, "_weir_") || b.Columns[c].IsNull(i) {
				continue
			}
			if v, err := parseJSON(decode.AppendJSON(nil, b.Columns[c], i)); err == nil {
				row[f.Name] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// parseJSON reads a value and drops the nulls of its objects. Numbers stay as they are written.
func parseJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return withoutNulls(v), nil
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if inner == nil {
				delete(v, name)
				continue
			}
			v[name] = withoutNulls(inner)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

// diffRows compares row by row.
func diffRows(want, got []any) []string {
	var diff []string
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			diff = append(diff, "+ "+line(got[i]))
		case i >= len(got):
			diff = append(diff, "- "+line(want[i]))
		case !sameValue(want[i], got[i]):
			diff = append(diff, "- "+line(want[i]), "+ "+line(got[i]))
		}
	}
	return diff
}

func line(v any) string {
	b, err := marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// sameValue compares JSON values; numbers by what they are, however they are written.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, v := range a {
			if w, there := b[name]; !there || !sameValue(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, okX := new(big.Rat).SetString(a.String())
		y, okY := new(big.Rat).SetString(b.String())
		return okX && okY && x.Cmp(y) == 0
	}
	return a == b
}

func diffRejects(want, got []wantReject) []string {
	var diff []string
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			diff = append(diff, fmt.Sprintf("+ record %d is refused: %s", got[i].Record, got[i].Reason))
		case i >= len(got):
			diff = append(diff, fmt.Sprintf("- record %d is refused: %s", want[i].Record, want[i].Reason))
		case want[i].Record != got[i].Record || !strings.Contains(got[i].Reason, want[i].Reason):
			diff = append(diff, fmt.Sprintf("- record %d is refused: %s", want[i].Record, want[i].Reason),
				fmt.Sprintf("+ record %d is refused: %s", got[i].Record, got[i].Reason))
		}
	}
	return diff
}
