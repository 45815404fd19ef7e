package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// format is the value of -o.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(s string) error {
	if s != string(formatText) && s != string(formatJSON) {
		return errors.New("use text or json")
	}
	*f = format(s)
	return nil
}

// addOutput gives cmd and the commands below it the flag -o and returns what prints as it says.
func addOutput(cmd *cobra.Command) viewer {
	f := formatText
	cmd.PersistentFlags().VarP(&f, "output", "o", "text, or json: one object a line")
	completeFlag(cmd, "output", string(formatText), string(formatJSON))
	return func(c *cobra.Command) view {
		return view{out: c.OutOrStdout(), talk: c.ErrOrStderr(), json: f == formatJSON}
	}
}

type viewer = func(*cobra.Command) view

// view is how a command prints: for people or, with -o json, for machines.
type view struct {
	out  io.Writer // data
	talk io.Writer // remarks to people
	json bool
}

// encode prints x as one line of JSON.
func (v view) encode(x any) error {
	b, err := marshal(x)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = fmt.Fprintf(v.out, "%s\n", b)
	return err
}

// columns aligns what write writes, tab by tab.
func (v view) columns(write func(io.Writer)) error {
	w := tabwriter.NewWriter(v.out, 0, 0, gap, ' ', 0)
	write(w)
	return w.Flush()
}

const gap = 2 // blanks between columns

// grid prints rows of cells below their names. On a terminal the columns that do not fit are named, not printed.
func (v view) grid(names []string, rows [][]string) error {
	shown := fitting(names, rows, terminalWidth(v.out))
	err := v.columns(func(w io.Writer) {
		fmt.Fprintln(w, strings.Join(names[:shown], "\t"))
		for _, r := range rows {
			fmt.Fprintln(w, strings.Join(r[:shown], "\t"))
		}
	})
	if hidden := names[shown:]; err == nil && len(hidden) > 0 {
		_, err = fmt.Fprintf(v.talk, "%d more columns do not fit, -o json prints them: %s\n", len(hidden), strings.Join(hidden, ", "))
	}
	return err
}

// fitting returns how many columns fit into width characters, at least one; width 0 holds all.
func fitting(names []string, rows [][]string, width int) int {
	if width == 0 {
		return len(names)
	}
	used := 0
	for c, name := range names {
		cell := utf8.RuneCountInString(name)
		for _, r := range rows {
			cell = max(cell, utf8.RuneCountInString(r[c]))
		}
		if used += cell; used > width {
			return max(c, 1)
		}
		used += gap
	}
	return len(names)
}

// terminalWidth is the width of the terminal behind w in characters, 0 if there is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(x any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// maxCell bounds a printed value, in characters.
const maxCell = 32

// cell is v on one line of at most maxCell characters.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return clip(v, maxCell)
	}
	b, err := marshal(v)
	if err != nil {
		return "?"
	}
	return clip(string(b), maxCell)
}

// clip makes s fit on a line and into n characters.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != utf8.RuneError {
			return r
		}
		return ' ' // line ends of any alphabet, and what steers terminals
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func humanBytes(n int64) string {
	const k = 1024
	switch {
	case n < k:
		return fmt.Sprintf("%d B", n)
	case n < k*k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/k/k)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/k/k/k)
}
