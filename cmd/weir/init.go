package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/api/v1alpha1"
)

func newInitCommand() *cobra.Command {
	var from, name, uri string
	cmd := &cobra.Command{
		Use: "init --from FILE", Short: "Print a Pipeline for the events of a file",
		Long: `Look at the first records of a file (NDJSON, a JSON array or CSV, also with .gz; - is the standard input) and print a
Pipeline for them. Its comments say which columns weir would make of the records and what one might set. It looks at no
more than 10,000 records and 16 MiB.`,
		Example: `  weir init --from events.ndjson > pipeline.yaml
  weir lint pipeline.yaml`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return fmt.Errorf("%s needs --from FILE: see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return initPipeline(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), from, name, uri)
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "file to look at; - is the standard input")
	f.StringVar(&name, "name", "", "name of the pipeline; default: that of the file")
	f.StringVar(&uri, "uri", "", "directory of the table; default: ./tables/NAME")
	if err := cmd.MarkFlagFilename("from", "ndjson", "jsonl", "json", "csv", "gz"); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

func initPipeline(ctx context.Context, stdin io.Reader, out io.Writer, from, name, uri string) error {
	if name == "" {
		name = nameOf(from)
	}
	if uri == "" {
		uri = "./tables/" + name
	}
	p := &v1alpha1.Pipeline{}
	p.Name, p.Spec.Sink.Delta = name, &v1alpha1.DeltaSink{URI: uri}
	v1alpha1.SetDefaults(p)
	if errs := v1alpha1.Validate(p); len(errs) > 0 {
		flag := "--uri"
		if errs[0].Field == "metadata.name" {
			flag = "--name"
		}
		return fmt.Errorf("%s: %s", flag, errs[0].ErrorBody())
	}
	s, err := takeSample(ctx, stdin, from)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, s.pipeline(p, from))
	return err
}

// notInName matches what the name of a pipeline cannot hold.
var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes the name of a pipeline from that of a file.
func nameOf(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), ".gz")
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(base), "-"), "-")
	const longest = 52
	if name = strings.TrimRight(name[:min(len(name), longest)], "-"); name == "" {
		return "events"
	}
	return name
}

// pipeline is the file that p, which has its defaults, was made for, with what the sample showed as comments.
func (s *sample) pipeline(p *v1alpha1.Pipeline, from string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# A Pipeline for events like those of %s, from %s.\n#\n", clip(sourceName(from), 200), s.seen())
	b.WriteString("# weir makes these columns as records come; a column's type is that of its first value:\n#\n")
	w := tabwriter.NewWriter(&b, 0, 0, gap, ' ', 0)
	fmt.Fprintln(w, "#   column\ttype\tnull\texample")
	for _, c := range s.columns() {
		fmt.Fprintf(w, "#   %s\t%s\t%s\t%s\n", clip(c.path, 60), clip(c.typ, 60), share(s.rows-c.values, s.rows), cell(c.example))
	}
	w.Flush() //nolint:errcheck // a strings.Builder takes everything
	b.WriteString("#\n")
	for _, remark := range s.remarks() {
		fmt.Fprintf(&b, "# %s\n#\n", remark)
	}
	d := p.Spec.Sink.Delta
	fmt.Fprintf(&b, `# Lines of the spec that begin with # show the defaults. weir explain pipeline.spec says what a field means.
apiVersion: %s
kind: %s
metadata:
  name: %s # the first part of its routes
spec:
  # ingress: {rsocket: {port: %d}, http: {port: %d}}
  # schema: {onMismatch: %s, maxColumns: %d, systemColumns: []}
  # flow: {memory: %s, maxEventBytes: %s, maxConnections: %d}
  # observability: {metricsPort: %d}
  sink:
    delta:
      uri: %q # a relative path is relative to where weir runs
`, v1alpha1.GroupVersion(), v1alpha1.Kind, p.Name,
		*p.Spec.Ingress.RSocket.Port, *p.Spec.Ingress.HTTP.Port, p.Spec.Schema.OnMismatch, *p.Spec.Schema.MaxColumns,
		p.Spec.Flow.Memory, p.Spec.Flow.MaxEventBytes, *p.Spec.Flow.MaxConnections, *p.Spec.Observability.MetricsPort, d.URI)
	if best := s.partitions(); len(best) > 0 {
		var all []string
		for _, c := range best {
			all = append(all, fmt.Sprintf("%s (%d)", c.path, len(c.distinct)))
		}
		fmt.Fprintf(&b, "      # Fixed once the table exists. Columns with few values: %s.\n      # partitionBy: [%q]\n",
			strings.Join(all, ", "), best[0].path)
	}
	fmt.Fprintf(&b, "      # batch: {maxRecords: %d, maxAge: %s, maxBytes: %s}\n      # compression: %s\n",
		*d.Batch.MaxRecords, d.Batch.MaxAge.Duration, d.Batch.MaxBytes, d.Compression)
	return b.String()
}

// seen says how much the sample holds.
func (s *sample) seen() string {
	if s.more {
		return fmt.Sprintf("the first %d records", s.records)
	}
	return fmt.Sprintf("%d %s", s.records, plural(s.records, "record"))
}

// remarks are what one should know before sending such records.
func (s *sample) remarks() []string {
	var all []string
	if s.refused > 0 {
		all = append(all, fmt.Sprintf("%d of the records would be refused. Record %d, the first: %s.", s.refused, s.firstRefused, clip(s.reason, 300)))
	}
	for _, m := range s.misfits() {
		all = append(all, fmt.Sprintf("%d %s of %s would not fit the column and go into _rescued. The first is %s.",
			m.count, plural(m.count, "value"), clip(m.path, 60), clip(m.first, 60)))
	}
	for _, c := range s.columns() {
		if c.source != "" {
			all = append(all, fmt.Sprintf("The field %q becomes the column %s: readers of tables do not take its name.", clip(c.source, 60), clip(c.path, 60)))
		}
	}
	const most = 20
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("There are %d more remarks like these.", len(all)-most))
	}
	return all
}

// share is n of all in percent; neither "0 %" nor "100 %" is said of what only comes near it.
func share(n, all int) string {
	p := 100 * float64(n) / float64(all)
	switch {
	case n == 0 || n == all:
		return fmt.Sprintf("%.0f %%", p)
	case p < 1:
		return "<1 %"
	case p > 99:
		return ">99 %"
	}
	return fmt.Sprintf("%.0f %%", p)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// errNoRecord says that a sample has nothing to show.
var errNoRecord = errors.New("it holds no record: weir reads NDJSON, JSON arrays, and CSV with a header")
