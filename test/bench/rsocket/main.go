// Command rsocket compares weir's RSocket core with others that do the same work: rsocket-go, rsocket-java, grpc-go,
// net/http and batched frames over plain TCP.
//
// Each stack serves from a process of its own and is driven from this one, over loopback, one stack after the other in one
// run, so that the ratios mean something on a noisy machine. The work of a load is the same for all: n payloads of the
// same size, taken, counted and dropped.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, errNotOffered) {
		os.Exit(exitNotOffered)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rsocket bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("rsocket", flag.ContinueOnError)
	serve := f.String("serve", "", "serve this stack and print the address (used by the program itself)")
	driving := f.String("drive", "", "drive stack,load,size once and print the result (used by the program itself)")
	only := f.String("stacks", strings.Join(stackNames(), ","), "stacks to compare")
	loads := f.String("loads", strings.Join(loadNames(), ","), "loads to drive")
	seconds := f.Float64("seconds", 2, "about how long each load runs on each stack")
	rounds := f.Int("rounds", 3, "rounds of which the median counts")
	output := f.String("o", "text", "text or json")
	idleConns := f.Int("idle", 0, "instead of loads: what so many idle connections cost each server")
	hostile := f.Bool("hostile", false, "instead of loads: the rate of a good client beside hostile ones")
	attacking := f.String("attack", "", "attack kind,address,WebSocket address (used by the program itself)")
	isolation := f.Bool("isolation", false, "instead of loads: the rate of a stream beside slow ones of its connection")
	pin := f.Bool("pin", true, "give client and server a processor each, so that the kernel does not move them about")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *serve != "" {
		return serveStack(ctx, *serve)
	}
	if *driving != "" {
		return drive(ctx, *driving, *seconds, *pin)
	}
	switch {
	case *attacking != "":
		return attack(ctx, *attacking)
	case *idleConns > 0:
		return compareIdle(ctx, *idleConns, strings.Split(*only, ","), os.Stdout)
	case *hostile:
		return besiege(ctx, *seconds, *rounds, os.Stdout)
	case *isolation:
		return isolate(ctx, *seconds, *rounds, os.Stdout)
	}
	var results []result
	for _, size := range sizes {
		for l := range strings.SplitSeq(*loads, ",") {
			for s := range strings.SplitSeq(*only, ",") {
				r, err := measure(ctx, s, l, size, *seconds, *rounds, *pin)
				if errors.Is(err, errNotOffered) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s, %s of %d bytes: %w", s, l, size, err)
				}
				fmt.Fprintf(os.Stderr, "%-12s %-12s %5d B  %9.0f/s\n", s, l, size, r.Rate)
				results = append(results, r)
			}
		}
	}
	if *output == "json" {
		return json.NewEncoder(os.Stdout).Encode(results)
	}
	report(os.Stdout, results)
	return nil
}

// sizes of payloads, in bytes.
var sizes = []int{1024, 256}
