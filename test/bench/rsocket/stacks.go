package main

import (
	"context"
	"os/exec"
	"time"
)

var stacks = []stack{
	{name: "weir", serve: weirServe, dial: weirDial},
	{name: "tcp", serve: tcpServe, dial: tcpDial},
	{name: "rsocket-go", serve: rsocketGoServe, dial: rsocketGoDial},
	{name: "rsocket-java", command: func() (*exec.Cmd, error) { return javaCommand("serve") }, dial: javaDial},
	{name: "grpc-go", serve: grpcServe, dial: grpcDial},
	{name: "net-http", serve: httpServe, dial: httpDial},
}

// retry calls do until it succeeds, for servers that open their port after they have named it.
func retry(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
