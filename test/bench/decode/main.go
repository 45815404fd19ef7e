// Command decode compares ways from payloads to columns: weir's decoder and what one would build with a library, on the
// same events, in one run and one process. It also measures what each step of a transform costs.
//
// A way is measured by the processor time of the process, the collector's included, and each round asks every way in
// turn, so that what else the machine does meets all alike. Before anything is measured, the columns of every way are
// compared, value by value, with weir's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// config is what the flags say.
type config struct {
	cache  string  // where test/setup.sh put the data
	rounds int     // of which the median counts
	spin   float64 // seconds of processor time of a way in a round
	shapes string
	ways   string
}

// sections are the comparisons, in order. One that misses its bar returns errBar after it has printed all.
var sections = []struct {
	name string
	run  func(config, io.Writer) error
}{
	{"json", compareJSON},
	{"formats", compareFormats},
	{"steps", measureSteps},
}

var errBar = errors.New("a bar was missed")

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "decode bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var c config
	f := flag.NewFlagSet("decode", flag.ContinueOnError)
	f.StringVar(&c.cache, "cache", cacheDir(), "where test/setup.sh put the data")
	f.IntVar(&c.rounds, "rounds", 7, "rounds of which the median counts")
	f.Float64Var(&c.spin, "seconds", 0.25, "processor time of each way in each round")
	f.StringVar(&c.shapes, "shapes", "flat,nested,wide", "shapes of JSON to decode")
	f.StringVar(&c.ways, "ways", "", "ways to compare with weir; all when empty")
	only := f.String("only", "", "sections to run; all when empty")
	profile := f.String("profile", "", "write a processor profile to this file")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		w, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer w.Close() //nolint:errcheck // the profile tells when it is cut
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var missed error
	for _, s := range sections {
		if !listed(*only, s.name) {
			continue
		}
		err := s.run(c, os.Stdout)
		if err != nil && !errors.Is(err, errBar) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		missed = errors.Join(missed, err)
	}
	return missed
}

// listed says whether name is in list, separated by commas; an empty list has all names.
func listed(list, name string) bool {
	return list == "" || strings.Contains(","+list+",", ","+name+",")
}

func cacheDir() string {
	if dir := os.Getenv("WEIR_CACHE_DIR"); dir != "" {
		return dir
	}
	return filepath.FromSlash(".cache")
}
