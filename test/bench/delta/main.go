// Command delta measures weir's Delta tables beside those of others, doing the same work in one run.
//
//	go run ./test/bench/delta append   [-rows N] [-commits N]          rows per second of CPU, beside delta-rs, pyarrow and DuckDB
//	go run ./test/bench/delta log      [-commits N] [-files N]         commits on a long log, and opening it, beside delta-rs
//	go run ./test/bench/delta optimize [-files N] [-rows N]            packing and Z-order, beside delta-rs
//	go run ./test/bench/delta merge  [-rows N] [-updates N]            one large merge, beside delta-rs
//	go run ./test/bench/delta stream [-rows N] [-batches N] [-changes N] an hour of changes: write amplification
//
// Each contestant runs in a process of its own, so that its CPU time and its peak memory are its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

// commands are the parts of the benchmark; those with a dash in front are the contestants' own processes.
var commands = map[string]func(ctx context.Context, args []string) error{
	"merge":       mergeBench,
	"stream":      streamBench,
	"append":      appendBench,
	"log":         logBench,
	"optimize":    optimizeBench,
	"-merge-weir": mergeWeir,
	"-append":     appendWeir,
	"-load":       loadWeir,
	"-optimize":   optimizeWeir,
	"-stream":     streamWeir,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: delta append|log|optimize|merge|stream [flags]")
		os.Exit(2) //nolint:gocritic // nothing is open yet
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// parse parses the flags of a command.
func parse(name string, args []string, define func(f *flag.FlagSet)) error {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	define(f)
	return f.Parse(args)
}
