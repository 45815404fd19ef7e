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

// sampleHelp says what files can be looked at.
const sampleHelp = `The file (- is the standard input) has NDJSON, a
JSON array or CSV, is an Avro object container file, an Arrow IPC stream or file, or has Protobuf messages, each behind its
length as a varint; it may be gzipped. No more than 10,000 records and 16 MiB are looked at; of Arrow whole record batches.`

func newInitCommand() *cobra.Command {
	var (
		from      sampleOptions
		name, uri string
	)
	cmd := &cobra.Command{
		Use: "init --from FILE", Short: "Print a Pipeline for the events of a file",
		Long: `Look at the first records of a file and print a Pipeline for them. Its comments say which columns weir would make of the
records and what one might set. ` + sampleHelp,
		Example: `  weir init --from events.ndjson > pipeline.yaml
  weir lint pipeline.yaml
  weir init --from orders.avro
  weir init --from orders.pb --proto order.proto --message shop.v1.Order`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := from.check(cmd.CommandPath()); err != nil {
				return err
			}
			return initPipeline(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), from, name, uri)
		},
	}
	from.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the pipeline; default: that of the file")
	f.StringVar(&uri, "uri", "", "directory of the table; default: ./tables/NAME")
	return cmd
}

func initPipeline(ctx context.Context, stdin io.Reader, out io.Writer, from sampleOptions, name, uri string) error {
	if name == "" {
		name = nameOf(from.file)
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
	_, err = io.WriteString(out, s.pipeline(p))
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
func (s *sample) pipeline(p *v1alpha1.Pipeline) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# A Pipeline for events like those of %s, from %s.\n#\n", clip(sourceName(s.from.file), 200), s.seen())
	fmt.Fprintf(&b, "# %s:\n#\n", s.origin())
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
%s  # flow: {memory: %s, maxEventBytes: %s, maxConnections: %d}
  # observability: {metricsPort: %d}
  sink:
    delta:
      uri: %q # a relative path is relative to where weir runs
`, v1alpha1.GroupVersion(), v1alpha1.Kind, p.Name,
		*p.Spec.Ingress.RSocket.Port, *p.Spec.Ingress.HTTP.Port, s.schemaLines(&p.Spec.Schema),
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

// origin says where the columns come from.
func (s *sample) origin() string {
	switch s.format {
	case inputAvro, inputArrow:
		return "weir makes these columns, of the types that the file says its records have; weir send sends it"
	case inputProtobuf:
		return "weir makes these columns of message " + clip(s.from.proto.Message, 200)
	}
	return "weir makes these columns as records come; a column's type is that of its first value"
}

// schemaLines are the defaults of the schema, and the type of messages, which payloads do not bring.
func (s *sample) schemaLines(of *v1alpha1.SchemaSpec) string {
	defaults := fmt.Sprintf("{onMismatch: %s, maxColumns: %d, systemColumns: []}", of.OnMismatch, *of.MaxColumns)
	if s.format != inputProtobuf {
		return "  # schema: " + defaults + "\n"
	}
	return fmt.Sprintf("  schema: # %s\n    format: {protobuf: {file: %q, message: %q}}\n", defaults, s.from.proto.File, s.from.proto.Message)
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
var errNoRecord = errors.New("it holds no record: weir reads NDJSON, JSON arrays, CSV with a header, Avro and Arrow files, and length-delimited Protobuf")
