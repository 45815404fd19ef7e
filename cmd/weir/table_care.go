package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
)

// tableWork makes a subcommand that opens the table its argument names and changes or checks it.
func tableWork(use, short, long, example string, viewer viewer, do func(context.Context, view, *delta.Table) error) *cobra.Command {
	cmd := tableSub(use, short, viewer, do)
	cmd.Long = long
	cmd.Example = example
	return cmd
}

func tableCare(viewer viewer) []*cobra.Command {
	return []*cobra.Command{
		tableOptimize(viewer), tableVacuum(viewer), tableRestore(viewer), tableWiden(viewer), tableCheckpoint(viewer), tableCleanLog(viewer),
		tableVerify(viewer),
	}
}

type optimizeReport struct {
	Commits      int   `json:"commits"`
	FilesAdded   int   `json:"filesAdded"`
	FilesRemoved int   `json:"filesRemoved"`
	BytesAdded   int64 `json:"bytesAdded"`
	BytesRemoved int64 `json:"bytesRemoved"`
}

func tableOptimize(viewer viewer) *cobra.Command {
	var o delta.OptimizeOptions
	cmd := tableWork("optimize", "Pack small files into larger ones",
		"Pack small files into larger ones, or sort the rows by several columns at once along a Z-order curve. Packing also writes "+
			"files anew of which more than a twentieth is deleted rows. The rows stay the same, writers go on meanwhile, and the old files stay until they are vacuumed.",
		"  weir table optimize ./tables/flights\n  weir table optimize --zorder carrier,dest ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			if o.TargetSize < 0 {
				return fmt.Errorf("--target-size %d is no size of a file", o.TargetSize)
			}
			done, err := t.Optimize(ctx, o)
			report := optimizeReport(done)
			if v.json {
				return errors.Join(err, v.encode(report))
			}
			switch {
			case o.DryRun && err == nil:
				fmt.Fprintf(v.out, "%d files of %s would become about %d\n", report.FilesRemoved, humanBytes(report.BytesRemoved), report.FilesAdded)
			case err == nil || report.Commits > 0: // what was committed before an error stays
				fmt.Fprintf(v.out, "%d files of %s became %d of %s in %d commits\n",
					report.FilesRemoved, humanBytes(report.BytesRemoved), report.FilesAdded, humanBytes(report.BytesAdded), report.Commits)
			}
			return err
		})
	cmd.Flags().Int64Var(&o.TargetSize, "target-size", 0, "size of a packed file in bytes; 0: what the table says (delta.targetFileSize), or 128 MiB")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say how much would be packed and write nothing")
	cmd.Flags().StringSliceVar(&o.ZOrder, "zorder", nil, "columns whose neighbours shall stand together, most important first")
	return cmd
}

type vacuumReport struct {
	DryRun bool     `json:"dryRun"`
	Files  []string `json:"files"`
	Bytes  int64    `json:"bytes"`
}

func tableVacuum(viewer viewer) *cobra.Command {
	var o delta.VacuumOptions
	cmd := tableWork("vacuum", "Delete files that the table no longer uses",
		"Delete files that the table no longer uses: removed from it, or never committed, for longer than the retention. Versions "+
			"that need them can no longer be read.",
		"  weir table vacuum --dry-run ./tables/flights\n  weir table vacuum ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			gone, err := t.Vacuum(ctx, o)
			report := vacuumReport{o.DryRun, append([]string{}, gone.Files...), gone.Bytes}
			if v.json {
				return errors.Join(err, v.encode(report))
			}
			for _, f := range report.Files {
				fmt.Fprintln(v.out, f)
			}
			verb := "deleted"
			if o.DryRun {
				verb = "would delete"
			}
			fmt.Fprintf(v.talk, "%s %d files, %s\n", verb, len(report.Files), humanBytes(report.Bytes))
			return err
		})
	cmd.Flags().DurationVar(&o.Retention, "retention", 0, "age from which an unused file may go; 0: what the table says, or a week")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "print what would go and delete nothing")
	cmd.Flags().BoolVar(&o.Force, "force", false, "take a retention shorter than the table's, which breaks readers and writers that are still busy with such files")
	return cmd
}

type versionReport struct {
	Version int64 `json:"version"`
}

func tableRestore(viewer viewer) *cobra.Command {
	var at timePoint
	dryRun := false
	cmd := tableWork("restore", "Make the table hold what it held before",
		"Make the table hold what it held at an earlier version, as a new version. Nothing is lost: the versions between stay.",
		"  weir table restore --version 1 ./tables/flights\n  weir table restore --version 2 -o json ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			if !at.given() {
				return errors.New("restore needs --version or --as-of: weir table history lists the versions")
			}
			then, err := at.snapshot(ctx, t)
			if err != nil {
				return err
			}
			if dryRun {
				return planRestore(ctx, v, t, then.Version())
			}
			res, err := t.Restore(ctx, then.Version())
			if err != nil {
				return err
			}
			if v.json {
				return v.encode(versionReport{res.Version})
			}
			_, err = fmt.Fprintf(v.out, "version %d holds what version %d held\n", res.Version, then.Version())
			return err
		})
	at.flags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would come back and what would go, and change nothing")
	return cmd
}

type restoreReport struct {
	Version      int64 `json:"version"`
	FilesAdded   int   `json:"filesAdded"`
	FilesRemoved int   `json:"filesRemoved"`
	BytesAdded   int64 `json:"bytesAdded"`
	BytesRemoved int64 `json:"bytesRemoved"`
	Metadata     bool  `json:"metadata"`
	DryRun       bool  `json:"dryRun"`
}

func planRestore(ctx context.Context, v view, t *delta.Table, version int64) error {
	p, err := t.PlanRestore(ctx, version)
	if err != nil {
		return err
	}
	if v.json {
		return v.encode(restoreReport{p.Version, p.FilesAdded, p.FilesRemoved, p.BytesAdded, p.BytesRemoved, p.Metadata, true})
	}
	also := ""
	if p.Metadata {
		also = "; schema or properties would change"
	}
	_, err = fmt.Fprintf(v.out, "%d files of %s would come back, %d of %s would go%s\n",
		p.FilesAdded, humanBytes(p.BytesAdded), p.FilesRemoved, humanBytes(p.BytesRemoved), also)
	return err
}

type widenReport struct {
	Version      int64 `json:"version"`
	FilesAdded   int   `json:"filesAdded"`
	FilesRemoved int   `json:"filesRemoved"`
	BytesAdded   int64 `json:"bytesAdded"`
	BytesRemoved int64 `json:"bytesRemoved"`
	DryRun       bool  `json:"dryRun"`
}

func tableWiden(viewer viewer) *cobra.Command {
	var columns []string
	var o delta.WidenOptions
	cmd := tableWork("widen", "Give columns a wider type",
		"Give columns a type that holds all values of the one they have, and write every file of the table anew, in one commit. Byte, "+
			"short, integer and long widen upwards, the smaller three and float to double, integers and decimals to a decimal with "+
			"enough digits. With --exact any number type is taken if the value of every row is exactly one of it; else a row that is in "+
			"the way is named, and nothing changes. Readers need nothing new. Stop the pipelines that write to the table: what they add "+
			"meanwhile has to be written anew as well. A Pipeline that declares the column has to name the new type.",
		"  weir table widen --column 'dep_delay=decimal(22,2)' ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			to, err := columnTypes(columns)
			if err != nil {
				return err
			}
			done, err := t.Widen(ctx, to, o)
			if err != nil {
				return err
			}
			if v.json {
				return v.encode(widenReport{done.Version, done.FilesAdded, done.FilesRemoved, done.BytesAdded, done.BytesRemoved, o.DryRun})
			}
			if o.DryRun {
				_, err = fmt.Fprintf(v.out, "%d files of %s would be written anew\n", done.FilesRemoved, humanBytes(done.BytesRemoved))
				return err
			}
			_, err = fmt.Fprintf(v.out, "%d files of %s became %d of %s, version %d\n",
				done.FilesRemoved, humanBytes(done.BytesRemoved), done.FilesAdded, humanBytes(done.BytesAdded), done.Version)
			return err
		})
	cmd.Flags().StringArrayVar(&columns, "column", nil, "column and its new type, as NAME=TYPE; a dot behind each struct that it lies in")
	cmd.Flags().BoolVar(&o.Exact, "exact", false, "take a type that holds fewer or other numbers, if it has the value of every row")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say how much would be written anew and write nothing; looks at no row")
	return cmd
}

// columnTypes reads NAME=TYPE.
func columnTypes(columns []string) (map[string]*schema.Type, error) {
	if len(columns) == 0 {
		return nil, errors.New("widen needs --column NAME=TYPE: weir table schema lists the columns and their types")
	}
	to := map[string]*schema.Type{}
	for _, c := range columns {
		name, text, ok := strings.Cut(c, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--column %q: write NAME=TYPE, such as amount=double", c)
		}
		d, err := schema.ParseDDL(text)
		if err != nil {
			return nil, fmt.Errorf("--column %q: %w", c, err)
		}
		if to[name] != nil {
			return nil, fmt.Errorf("--column %q: the column is named twice", c)
		}
		to[name] = d.Type
	}
	return to, nil
}

func tableCheckpoint(viewer viewer) *cobra.Command {
	dryRun := false
	cmd := tableWork("checkpoint", "Write a checkpoint of the newest version",
		"Write a checkpoint of the newest version, so that readers start there and not at the first entry of the log.",
		"  weir table checkpoint ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			version, verb := t.Snapshot().Version(), "checkpoint"
			if dryRun {
				verb = "would write a checkpoint"
			} else if err := t.Checkpoint(ctx); err != nil {
				return err
			}
			if v.json {
				return v.encode(versionReport{version})
			}
			_, err := fmt.Fprintf(v.out, "%s of version %d\n", verb, version)
			return err
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say of which version and write nothing")
	return cmd
}

type cleanLogReport struct {
	DryRun bool `json:"dryRun"`
	Files  int  `json:"files"`
}

func tableCleanLog(viewer viewer) *cobra.Command {
	dryRun := false
	cmd := tableWork("clean-log", "Delete log entries that no reader needs",
		"Delete entries and checkpoints of the log that are older than its retention (delta.logRetentionDuration, 30 days if the "+
			"table does not say) and that no version within it needs.",
		"  weir table clean-log --dry-run ./tables/flights\n  weir table clean-log ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			verb := "deleted"
			var n int
			var err error
			if dryRun {
				var files []string
				files, err = t.ExpiredLog(ctx)
				verb, n = "would delete", len(files)
			} else {
				n, err = t.CleanLog(ctx)
			}
			if v.json {
				return errors.Join(err, v.encode(cleanLogReport{dryRun, n}))
			}
			fmt.Fprintf(v.out, "%s %d files of the log\n", verb, n)
			return err
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say how many files would go and delete nothing")
	return cmd
}

type verifyReport struct {
	Version  int64           `json:"version"`
	Files    int             `json:"files"`
	Rows     int64           `json:"rows"`
	Bytes    int64           `json:"bytes"`
	Problems []problemReport `json:"problems"`
}

type problemReport struct {
	Path   string `json:"path,omitempty"` // empty: the log
	Reason string `json:"reason"`
}

func tableVerify(viewer viewer) *cobra.Command {
	var o delta.VerifyOptions
	cmd := tableWork("verify", "Look whether the table is whole",
		"Look whether the table is whole: each file is there, of the size and with the rows that the log says, and the newest "+
			"checkpoint agrees with the log. It fails if something is wrong.",
		"  weir table verify ./tables/flights\n  weir table verify --rows ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			r, err := t.Verify(ctx, o)
			if err != nil {
				return err
			}
			report := verifyReport{r.Version, r.Files, r.Rows, r.Bytes, []problemReport{}}
			for _, p := range r.Problems {
				report.Problems = append(report.Problems, problemReport(p))
			}
			if err := printVerified(v, report); err != nil {
				return err
			}
			if n := len(report.Problems); n > 0 {
				return fmt.Errorf("%s has %d problems", t.Store(), n)
			}
			return nil
		})
	cmd.Flags().BoolVar(&o.Rows, "rows", false, "read every row, not only the files' footers")
	return cmd
}

func printVerified(v view, r verifyReport) error {
	if v.json {
		return v.encode(r)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(v.out, "%s: %s\n", cmp.Or(p.Path, "log"), p.Reason)
	}
	_, err := fmt.Fprintf(v.talk, "version %d: %d files, %d rows, %s; %d problems\n", r.Version, r.Files, r.Rows, humanBytes(r.Bytes), len(r.Problems))
	return err
}

// timePoint is a version of the table, said by number or by time.
type timePoint struct {
	version int64
	asOf    string
	named   func() bool // whether the flag of the version was given
	flag    string
}

func (p *timePoint) flags(cmd *cobra.Command) {
	p.versionFlag(cmd, "version", "the table as of this version")
	cmd.Flags().StringVar(&p.asOf, "as-of", "", "the table as of this time, such as 2026-01-31T12:00:00Z")
	cmd.MarkFlagsMutuallyExclusive("version", "as-of")
}

func (p *timePoint) versionFlag(cmd *cobra.Command, name, usage string) {
	p.flag = name
	p.named = func() bool { return cmd.Flags().Changed(name) }
	cmd.Flags().Int64Var(&p.version, name, -1, usage)
}

func (p *timePoint) given() bool { return p.named() || p.asOf != "" }

// snapshot is the table at that point, or its newest version if none is given.
func (p *timePoint) snapshot(ctx context.Context, t *delta.Table) (*delta.Snapshot, error) {
	switch {
	case p.named() && p.version < 0:
		return nil, fmt.Errorf("--%s %d is no version: weir table history lists them", p.flag, p.version)
	case p.named():
		s, err := delta.OpenAt(ctx, t.Store(), p.version)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", p.version, err)
		}
		return s, nil
	case p.asOf != "":
		at, err := time.Parse(time.RFC3339, p.asOf)
		if err != nil {
			return nil, fmt.Errorf("--as-of %q is no time: write it as 2026-01-31T12:00:00Z", p.asOf)
		}
		s, err := delta.OpenAtTime(ctx, t.Store(), at)
		if err != nil {
			return nil, fmt.Errorf("as of %s: %w", p.asOf, err)
		}
		return s, nil
	}
	return t.Snapshot(), nil
}

type fileChange struct {
	Change string `json:"change"` // added or removed
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Rows   *int64 `json:"rows"` // null without statistics
}

type columnChange struct {
	Change string `json:"change"` // added, removed or changed
	Column string `json:"column"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
}

type tableDiffReport struct {
	From    int64          `json:"from"`
	To      int64          `json:"to"`
	Columns []columnChange `json:"columns"`
	Files   []fileChange   `json:"files"`
}

func tableDiff(viewer viewer) *cobra.Command {
	var from, to timePoint
	cmd := tableWork("diff", "Print what changed between two versions",
		"Print which columns and files changed between two versions: from --from to --to (the newest if it is not given).",
		"  weir table diff --from 1 ./tables/flights\n  weir table diff --from 1 --to 2 -o json ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			if !from.given() {
				return errors.New("diff needs --from: weir table history lists the versions")
			}
			a, err := from.snapshot(ctx, t)
			if err != nil {
				return err
			}
			b, err := to.snapshot(ctx, t)
			if err != nil {
				return err
			}
			return printDiff(v, diffSnapshots(a, b))
		})
	from.versionFlag(cmd, "from", "the version before")
	to.versionFlag(cmd, "to", "the version after; the newest if it is not given")
	return cmd
}

func diffSnapshots(a, b *delta.Snapshot) tableDiffReport {
	r := tableDiffReport{From: a.Version(), To: b.Version(), Columns: diffColumns(a, b), Files: []fileChange{}}
	r.Files = append(r.Files, filesOnlyIn(a, b, "removed")...)
	r.Files = append(r.Files, filesOnlyIn(b, a, "added")...)
	return r
}

func diffColumns(a, b *delta.Snapshot) []columnChange {
	changes := []columnChange{}
	before := map[string]string{}
	for _, f := range a.Schema().Fields {
		before[f.Name] = f.Type.String()
	}
	for _, f := range b.Schema().Fields {
		was, ok := before[f.Name]
		delete(before, f.Name)
		switch now := f.Type.String(); {
		case !ok:
			changes = append(changes, columnChange{Change: "added", Column: f.Name, To: now})
		case was != now:
			changes = append(changes, columnChange{"changed", f.Name, was, now})
		}
	}
	for _, f := range a.Schema().Fields {
		if was, ok := before[f.Name]; ok {
			changes = append(changes, columnChange{Change: "removed", Column: f.Name, From: was})
		}
	}
	return changes
}

func filesOnlyIn(s, other *delta.Snapshot, change string) (files []fileChange) {
	for f := range s.Files() {
		if other.Holds(&f) {
			continue
		}
		c := fileChange{Change: change, Path: f.Path, Size: f.Size}
		if n, ok := f.NumRecords(); ok {
			c.Rows = &n
		}
		files = append(files, c)
	}
	return files
}

func printDiff(v view, r tableDiffReport) error {
	if v.json {
		return v.encode(r)
	}
	return v.columns(func(w io.Writer) {
		fmt.Fprintf(w, "from version %d to version %d\n", r.From, r.To)
		for _, c := range r.Columns {
			fmt.Fprintf(w, "%s\tcolumn %s\t%s\n", c.Change, c.Column, strings.Join(nonEmpty(c.From, c.To), " to "))
		}
		for _, f := range r.Files {
			rows := "rows unknown"
			if f.Rows != nil {
				rows = strconv.FormatInt(*f.Rows, 10) + " rows"
			}
			fmt.Fprintf(w, "%s\tfile %s\t%s, %s\n", f.Change, f.Path, humanBytes(f.Size), rows)
		}
	})
}

func nonEmpty(texts ...string) (out []string) {
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

func tableSchema(viewer viewer) *cobra.Command {
	var at timePoint
	cmd := tableWork("schema", "Print the schema",
		"Print the columns and their types, with those inside of structs, arrays and maps; with -o json as the Delta log has it.",
		"  weir table schema ./tables/flights\n  weir table schema --version 1 -o json ./tables/flights", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			s, err := at.snapshot(ctx, t)
			if err != nil {
				return err
			}
			if v.json {
				_, err := fmt.Fprintln(v.out, s.Schema().JSON())
				return err
			}
			return v.columns(func(w io.Writer) { printFields(w, s.Schema(), "") })
		})
	at.flags(cmd)
	return cmd
}

// printFields prints a line for each field, those inside of it below it.
func printFields(w io.Writer, t *schema.Type, indent string) {
	for _, f := range t.Fields {
		null := ""
		if !f.Nullable {
			null = " not null"
		}
		fmt.Fprintf(w, "%s%s\t%s%s\n", indent, f.Name, typeName(f.Type), null)
		printFields(w, inner(f.Type), indent+"  ")
	}
}

// inner is the struct whose fields stand below a column of type t: t itself, or what its list or map ends in.
func inner(t *schema.Type) *schema.Type {
	for t.Kind == schema.Array || t.Kind == schema.Map {
		t = t.Elem
	}
	return t
}

// typeName is a type without the fields of its structs.
func typeName(t *schema.Type) string {
	switch t.Kind {
	case schema.Struct:
		return "struct"
	case schema.Array:
		return "array<" + typeName(t.Elem) + ">"
	case schema.Map:
		return "map<" + typeName(t.Key) + "," + typeName(t.Elem) + ">"
	default:
		return t.String()
	}
}
