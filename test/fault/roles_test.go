// Package fault runs weir while something is broken.
//
// The test binary plays several parts, each in a process of its own so that its memory can be measured and nothing is
// shared: the ingestor over a store that can be stalled, and the producers.
package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/test/gen"
)

// roleEnv says which part the test binary plays; unset, it runs the tests.
const roleEnv = "WEIR_FAULT_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func(context.Context, []string) error{"server": serve, "producer": produce}
	role := roles[os.Getenv(roleEnv)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleEnv)+":", err)
		os.Exit(1)
	}
}

// play returns the command that runs this binary in a role.
func play(ctx context.Context, role string, args ...string) (*exec.Cmd, error) {
	bin, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd, nil
}

// produced is what a producer, in Go or Java, says at its end.
type produced struct {
	Payloads int64 `json:"payloads"`
	Records  int64 `json:"records"` // acknowledged
}

// produce sends COUNT events from FIRST on with weir's own client: ADDR STREAM FIRST COUNT
func produce(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("arguments are ADDR STREAM FIRST COUNT, got %q", args)
	}
	first, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	count, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, args[0], client.Options{KeepAlive: keepAlive, MaxLifetime: 4 * keepAlive})
	if err != nil {
		return err
	}
	done := produced{}
	s, err := c.OpenStream(ctx, client.StreamOptions{Name: args[1], OnAck: func(a client.Ack) { done.Records = a.Records }})
	if err != nil {
		return err
	}
	var event []byte
	for i := first; i < first+count; i++ {
		event = gen.Events{Seed: 1}.Append(event[:0], i)
		if _, err := s.Send(ctx, event); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		done.Payloads++
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if unacked, err := s.Close(ctx); err != nil {
		return fmt.Errorf("%d not acknowledged: %w", len(unacked), err)
	}
	if err := c.Close(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}
