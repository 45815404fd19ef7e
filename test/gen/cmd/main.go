// Command gen prints generated events as NDJSON.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/weir-dev/weir/test/gen"
)

func main() {
	set := flag.String("set", "events", "events or interop")
	rows := flag.Int64("rows", 50_000, "how many")
	seed := flag.Uint64("seed", 1, "the same seed gives the same bytes")
	size := flag.Int("size", 1024, "bytes of an event of the set events")
	flag.Parse()
	if err := write(os.Stdout, *set, *rows, *seed, *size); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(to io.Writer, set string, rows int64, seed uint64, size int) error {
	var event func([]byte, int64) []byte
	switch {
	case set == "events" && size >= gen.MinSize:
		event = gen.Events{Seed: seed, Size: size}.Append
	case set == "interop":
		event = gen.Interop{Seed: seed, Rows: rows}.Append
	case set == "events":
		return fmt.Errorf("size %d: an event has at least %d bytes", size, gen.MinSize)
	default:
		return errors.New("set must be events or interop")
	}
	w := bufio.NewWriterSize(to, 1<<20)
	var line []byte
	for i := range rows {
		line = append(event(line[:0], i), '\n')
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
