package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
)

func newSchemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema", Short: "Look at the columns of a pipeline", Args: takes(),
		Example: "  weir schema show pipeline.yaml",
	}
	view := addOutput(cmd)
	cmd.AddCommand(newSchemaShowCommand(view), newSchemaDiffCommand(view), newSchemaInferCommand(), newJSONSchemaCommand())
	return cmd
}

// shownColumn is a column that a pipeline declares or its table has.
type shownColumn struct {
	Pipeline string `json:"pipeline"`
	Name     string `json:"name"`
	Declared string `json:"declared,omitempty"` // type; empty when it is not declared
	Table    string `json:"table,omitempty"`    // type; empty when the table lacks it
	Required bool   `json:"required,omitempty"`
	Comment  string `json:"comment,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

func newSchemaShowCommand(view viewer) *cobra.Command {
	return &cobra.Command{
		Use: "show FILE", Short: "Show the columns that a Pipeline file declares and those that its tables have",
		Example: "  weir schema show pipeline.yaml",
		Args:    takes("FILE"), ValidArgsFunction: pipelineFiles(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := schemaOf(cmd.Context(), args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return view(cmd).shown(all)
		},
	}
}

func newSchemaDiffCommand(view viewer) *cobra.Command {
	return &cobra.Command{
		Use: "diff FILE", Short: "Show where a Pipeline file and its tables disagree",
		Long: `Show the columns that a Pipeline file declares and its table lacks, or has with another type. Steps of transform that move
columns are not followed: a declared column that one of them drops or renames is lacking. The exit code is 1 if a column
has another type: weir run would refuse the file.`,
		Example: "  weir schema diff pipeline.yaml",
		Args:    takes("FILE"), ValidArgsFunction: pipelineFiles(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := schemaOf(cmd.Context(), args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			var differ []shownColumn
			for _, c := range all {
				if c.Problem != "" {
					differ = append(differ, c)
				}
			}
			if err := view(cmd).shown(differ); err != nil {
				return err
			}
			for _, c := range differ {
				if c.Table != "" {
					return &exitError{1}
				}
			}
			return nil
		},
	}
}

func schemaOf(ctx context.Context, file string, stdin io.Reader) ([]shownColumn, error) {
	pipelines, err := readPipelines(file, stdin)
	if err != nil {
		return nil, err
	}
	var all []shownColumn
	for _, p := range pipelines {
		table, err := schemaOfTable(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
		all = append(all, shownColumns(p, table)...)
	}
	return all, nil
}

// schemaOfTable is the schema of p's table, nil when there is none yet.
func schemaOfTable(ctx context.Context, p *v1alpha1.Pipeline) (*schema.Type, error) {
	st, err := openStore(ctx, p.Spec.Sink.Delta)
	if err != nil {
		return nil, fmt.Errorf("spec.sink.delta.uri: %w", err)
	}
	t, err := delta.Open(ctx, st, delta.Options{})
	if errors.Is(err, delta.ErrNotATable) {
		return nil, nil //nolint:nilnil // no table has no schema
	}
	if err != nil {
		return nil, err
	}
	s := t.Snapshot().Schema()
	return s, t.Close(ctx)
}

func shownColumns(p *v1alpha1.Pipeline, table *schema.Type) []shownColumn {
	columns, _, _ := declared(p.Spec.Schema.Columns)
	var all []shownColumn
	seen := map[string]bool{}
	if columns != nil {
		for i := range columns.Fields {
			f := &columns.Fields[i]
			seen[f.Name] = true
			all = append(all, shownDeclared(p, f, table))
		}
	}
	if table != nil {
		for i := range table.Fields {
			if f := &table.Fields[i]; !seen[f.Name] {
				all = append(all, shownColumn{Pipeline: p.Name, Name: f.Name, Table: f.Type.DDL(), Required: !f.Nullable, Comment: commentOf(f)})
			}
		}
	}
	return all
}

func shownDeclared(p *v1alpha1.Pipeline, f *schema.Field, table *schema.Type) shownColumn {
	c := shownColumn{Pipeline: p.Name, Name: f.Name, Declared: f.Type.DDL(), Required: !f.Nullable, Comment: commentOf(f)}
	if table == nil {
		return c
	}
	i := table.Index(f.Name)
	if i < 0 {
		c.Problem = "the table lacks it: it comes with the next commit, nullable"
		return c
	}
	c.Table = table.Fields[i].Type.DDL()
	if _, err := schema.Merge(table.Fields[i].Type, f.Type); err != nil {
		c.Problem = "the table has another type, which never changes: declare that, or use another name"
	}
	return c
}

func commentOf(f *schema.Field) string {
	s, _ := f.Metadata[schema.CommentKey].(string)
	return s
}

func (v view) shown(all []shownColumn) error {
	if v.json {
		for _, c := range all {
			if err := v.encode(c); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(all))
	for _, c := range all {
		rows = append(rows, []string{c.Pipeline, c.Name, dash(c.Declared), dash(c.Table), map[bool]string{true: "NOT NULL", false: ""}[c.Required], c.Comment, c.Problem})
	}
	return v.columns(func(w io.Writer) {
		fmt.Fprintln(w, "PIPELINE\tCOLUMN\tDECLARED\tTABLE\tNULL\tCOMMENT\tPROBLEM")
		for _, r := range rows {
			fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newSchemaInferCommand() *cobra.Command {
	var from sampleOptions
	cmd := &cobra.Command{
		Use: "infer --from FILE", Short: "Print the columns that weir would make of the records of a file",
		Long: `Look at the first records of a file and print schema.columns for a Pipeline. ` + sampleHelp,
		Example: `  weir schema infer --from events.ndjson
  weir schema infer --from orders.avro
  weir schema infer --from orders.pb --proto order.proto --message shop.v1.Order`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := from.check(cmd.CommandPath()); err != nil {
				return err
			}
			s, err := takeSample(cmd.Context(), cmd.InOrStdin(), from)
			if err != nil {
				return err
			}
			return printColumns(cmd.OutOrStdout(), s.schema.Current())
		},
	}
	from.flags(cmd)
	return cmd
}

func printColumns(out io.Writer, t *schema.Type) error {
	var b strings.Builder
	b.WriteString("schema:\n  columns:\n")
	for _, f := range t.Fields {
		if f.Name != rescued {
			fmt.Fprintf(&b, "    - {name: %q, type: %q}\n", f.Name, f.Type.DDL())
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func newJSONSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "jsonschema", Short: "Print the JSON Schema of a Pipeline file, for editors",
		Long: `Print the JSON Schema of a Pipeline file. Editors that know YAML complete fields with it, show what they mean, and mark what
cannot be; the first line of a file can name it: # yaml-language-server: $schema=weir.schema.json`,
		Example: "  weir schema jsonschema > weir.schema.json",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := strict.JSONSchema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
			return err
		},
	}
}
