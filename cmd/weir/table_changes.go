package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/delta"
)

func tableChanges(viewer viewer) *cobra.Command {
	from, to, n := int64(-1), int64(-1), 0
	cmd := tableWork("changes", "Print which rows changed",
		"Print which rows were inserted, updated and deleted by the versions from --from to --to (the newest if it is not given). "+
			"The table must have a change data feed (sink.delta.changeDataFeed, or the table property delta.enableChangeDataFeed) since before.",
		"  weir table changes --from 3 ./tables/accounts\n  weir table changes --from 3 --to 5 -o json ./tables/accounts", viewer,
		func(ctx context.Context, v view, t *delta.Table) error {
			if from < 0 {
				return errors.New("changes needs --from: weir table history lists the versions")
			}
			return printChanges(ctx, v, t, from, to, n)
		})
	cmd.Flags().Int64Var(&from, "from", -1, "the first version")
	cmd.Flags().Int64Var(&to, "to", -1, "the last version; the newest if it is not given")
	cmd.Flags().IntVarP(&n, "rows", "n", 0, "number of rows at most; 0: all")
	return cmd
}

// printChanges prints rows as they are read: one JSON object a line, or what changed and the row.
func printChanges(ctx context.Context, v view, t *delta.Table, from, to int64, most int) error {
	printed := 0
	for b, err := range t.Changes(ctx, from, to) {
		if err != nil {
			return err
		}
		for i := range b.Rows {
			if printed++; most > 0 && printed > most {
				return nil
			}
			row := printableRow(b, i)
			if v.json {
				if err := v.encode(row); err != nil {
					return err
				}
				continue
			}
			columns := len(row) - 3 // the feed's own stand at the end
			text, err := marshal(row[:columns])
			if err != nil {
				return err
			}
			fmt.Fprintf(v.out, "%v  %-16v  %s\n", row[columns+1].value, row[columns].value, text)
		}
	}
	return nil
}
