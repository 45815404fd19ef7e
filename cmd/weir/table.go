package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta"
)

func newTableCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "table",
		Short: "Look at a Delta table and look after it",
		Long: `Look at a Delta table and look after it: one of weir's, or any other that its protocol lets weir read. Commands that
change the table make a new version, and go on beside running writers.`,
		Example: `  weir table show ./tables/flights
  weir table head ./tables/flights -n 3
  weir table optimize ./tables/flights`,
		Args: cobra.NoArgs, // or an unknown subcommand would be taken for one
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	view := addOutput(cmd)
	cmd.AddCommand(tableShow(view), tableHead(view), tableHistory(view), tableFiles(view), tableSchema(view), tableDiff(view), tableChanges(view))
	cmd.AddCommand(tableCare(view)...)
	return cmd
}

// tableSub makes a subcommand that opens the table its argument names.
func tableSub(use, short string, viewer viewer, do func(context.Context, view, *delta.Table) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " URI", Short: short, Long: short + ". URI is the table's place: a path, file:///path, s3://bucket/path,\ngs://bucket/path, az://container/path or abfss://container@account.dfs.core.windows.net/path. How a bucket is reached\nthe environment says, as for the tools of its cloud: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and others.",
		Args: takes("URI"), ValidArgsFunction: tableDirs,
		Example: "  weir table " + use + " ./tables/flights\n  weir table " + use + " -o json ./tables/flights",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := openTable(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return errors.Join(do(cmd.Context(), viewer(cmd), t), t.Close(cmd.Context()))
		},
	}
}

func openTable(ctx context.Context, uri string) (*delta.Table, error) {
	st, err := openStore(ctx, &v1alpha1.DeltaSink{URI: uri})
	if err != nil {
		return nil, fmt.Errorf("open table %s: %w", uri, err)
	}
	t, err := delta.Open(ctx, st, delta.Options{EngineInfo: "weir/" + buildVersion()})
	switch {
	case errors.Is(err, delta.ErrNotATable):
		return nil, fmt.Errorf("%s: %w with a version in it", uri, err)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%s is a file: a Delta table is a directory", uri)
	case err != nil:
		return nil, fmt.Errorf("open table %s: %w", uri, err)
	}
	return t, nil
}

// tableSummary is what weir table show prints.
type tableSummary struct {
	URI         string            `json:"uri"`
	ID          string            `json:"id"`
	Version     int64             `json:"version"`
	Modified    time.Time         `json:"modified"`
	Reader      int32             `json:"minReaderVersion"`
	Writer      int32             `json:"minWriterVersion"`
	Features    []string          `json:"features,omitempty"`
	Files       int64             `json:"files"`
	Bytes       int64             `json:"bytes"`
	Rows        *int64            `json:"rows"` // null when a file has no statistics
	PartitionBy []string          `json:"partitionBy"`
	Config      map[string]string `json:"configuration"`
	Columns     []columnSummary   `json:"columns"`
}

type columnSummary struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

func summarize(uri string, s *delta.Snapshot) tableSummary {
	p := s.Protocol()
	sum := tableSummary{
		URI: uri, ID: s.Metadata().ID, Version: s.Version(), Modified: s.Timestamp().UTC(),
		Reader: p.MinReaderVersion, Writer: p.MinWriterVersion,
		PartitionBy: append([]string{}, s.PartitionColumns()...), Config: s.Configuration(),
	}
	features := map[string]bool{}
	for _, f := range slices.Concat(p.ReaderFeatures, p.WriterFeatures) {
		features[f] = true
	}
	sum.Features = slices.Sorted(maps.Keys(features))
	sum.Files, sum.Bytes = int64(s.NumFiles()), s.Bytes()
	if rows, ok := s.NumRecords(); ok {
		sum.Rows = &rows
	}
	for _, f := range s.Schema().Fields {
		sum.Columns = append(sum.Columns, columnSummary{f.Name, f.Type.String(), f.Nullable})
	}
	return sum
}

func tableShow(viewer viewer) *cobra.Command {
	var at timePoint
	cmd := tableSub("show", "Print version, size and schema", viewer, func(ctx context.Context, v view, t *delta.Table) error {
		s, err := at.snapshot(ctx, t)
		if err != nil {
			return err
		}
		sum := summarize(t.Store().String(), s)
		if v.json {
			return v.encode(sum)
		}
		rows := "unknown: a file has no statistics"
		if sum.Rows != nil {
			rows = strconv.FormatInt(*sum.Rows, 10)
		}
		return v.columns(func(w io.Writer) {
			fmt.Fprintf(w, "table\t%s\n", sum.URI)
			fmt.Fprintf(w, "version\t%d, of %s\n", sum.Version, when(sum.Modified))
			fmt.Fprintf(w, "rows\t%s\n", rows)
			fmt.Fprintf(w, "files\t%d, %s\n", sum.Files, humanBytes(sum.Bytes))
			fmt.Fprintf(w, "protocol\t%s\n", strings.TrimSpace(fmt.Sprintf("reader %d, writer %d %s", sum.Reader, sum.Writer, strings.Join(sum.Features, " "))))
			fmt.Fprintf(w, "partitioned by\t%s\n", cmp.Or(strings.Join(sum.PartitionBy, ", "), "nothing"))
			for _, k := range slices.Sorted(maps.Keys(sum.Config)) {
				fmt.Fprintf(w, "%s\t%s\n", k, sum.Config[k])
			}
			fmt.Fprintln(w, "columns")
			for _, c := range sum.Columns {
				null := ""
				if !c.Nullable {
					null = " not null"
				}
				fmt.Fprintf(w, "  %s\t%s%s\n", c.Name, c.Type, null)
			}
		})
	})
	at.flags(cmd)
	return cmd
}

func tableHead(viewer viewer) *cobra.Command {
	n := 10
	var at timePoint
	cmd := tableSub("head", "Print some rows", viewer, func(ctx context.Context, v view, t *delta.Table) error {
		s, err := at.snapshot(ctx, t)
		if err != nil {
			return err
		}
		return printHead(ctx, v, s, n)
	})
	at.flags(cmd)
	cmd.Flags().IntVarP(&n, "rows", "n", n, "number of rows")
	return cmd
}

// printHead prints the first n rows of the table's files: one JSON object a line, or a grid with long values cut.
func printHead(ctx context.Context, v view, s *delta.Snapshot, n int) error {
	rows, err := head(ctx, s, n)
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	if v.json {
		for _, r := range rows {
			if err := v.encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	names := make([]string, len(s.Schema().Fields))
	for i, f := range s.Schema().Fields {
		names[i] = clip(f.Name, maxCell)
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		for _, m := range r {
			cells[i] = append(cells[i], cell(m.value))
		}
	}
	if len(names) > 0 {
		err = v.grid(names, cells)
	}
	if len(rows) == 0 && n > 0 {
		fmt.Fprintln(v.talk, "the table has no rows")
	}
	return err
}

func head(ctx context.Context, s *delta.Snapshot, n int) ([]object, error) {
	var rows []object
	if n <= 0 {
		return nil, nil
	}
	for b, err := range s.Read(ctx, s.Schema()) {
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			if rows = append(rows, printableRow(b, i)); len(rows) == n {
				return rows, nil
			}
		}
	}
	return rows, nil
}

// commitView is a commit for machines.
type commitView struct {
	Version int64             `json:"version"`
	Info    *delta.CommitInfo `json:"commitInfo"` // as it is in the log
}

func tableHistory(viewer viewer) *cobra.Command {
	n := 20
	cmd := tableSub("history", "Print the newest commits, newest first", viewer, func(ctx context.Context, v view, t *delta.Table) error {
		commits, err := t.History(ctx, n)
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		if v.json {
			for i := range commits {
				if err := v.encode(commitView{commits[i].Version, &commits[i]}); err != nil {
					return err
				}
			}
			return nil
		}
		return v.columns(func(w io.Writer) {
			fmt.Fprintln(w, "VERSION\tTIME\tOPERATION\tROWS\tFILES\tENGINE")
			for _, c := range commits {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", c.Version, when(c.Time()), cmp.Or(c.Operation, "-"),
					cmp.Or(c.Metrics["numOutputRows"], "-"), cmp.Or(c.Metrics["numFiles"], "-"), cmp.Or(c.EngineInfo, "-"))
			}
		})
	})
	cmd.Flags().IntVarP(&n, "commits", "n", n, "number of commits")
	return cmd
}

func tableFiles(viewer viewer) *cobra.Command {
	var at timePoint
	cmd := tableSub("files", "Print the data files, oldest first", viewer, func(ctx context.Context, v view, t *delta.Table) error {
		s, err := at.snapshot(ctx, t)
		if err != nil {
			return err
		}
		files := slices.SortedFunc(s.Files(), func(a, b delta.Add) int {
			return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), strings.Compare(a.Path, b.Path))
		})
		if v.json {
			for i := range files {
				if err := v.encode(&files[i]); err != nil {
					return err
				}
			}
			return nil
		}
		return v.columns(func(w io.Writer) {
			fmt.Fprintln(w, "PATH\tSIZE\tROWS\tMODIFIED")
			for i := range files {
				rows := "-"
				if n, ok := files[i].NumRecords(); ok {
					rows = strconv.FormatInt(n, 10)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", files[i].Path, humanBytes(files[i].Size), rows, when(time.UnixMilli(files[i].ModificationTime)))
			}
		})
	})
	at.flags(cmd)
	return cmd
}

// when prints a time, which not every writer gives.
func when(t time.Time) string {
	if t.IsZero() || t.UnixMilli() == 0 {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
