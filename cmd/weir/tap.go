package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// tapOptions are the flags of weir tap.
type tapOptions struct {
	stage   string
	address string
	rate    int
	bytes   int
	limit   int
	last    time.Duration
}

func newTapCommand() *cobra.Command {
	o := tapOptions{stage: "decoded", address: "localhost:9090", rate: 10, bytes: 4096}
	cmd := &cobra.Command{
		Use: "tap PIPELINE", Short: "Show samples of the events that pass through a running pipeline",
		Long: `Show samples of the events that pass through a running pipeline, until interrupted, or until --limit or --for is reached.

  received   payloads as producers sent them
  decoded    rows as they go into the table, behind all steps; they show when their batch is cut
  rejected   records that were refused, and why

A tap takes nothing from the flow: it shows at most --rate samples a second, and says how many it did not show. weir answers
it on the metrics port, to the same host only. What mask and drop steps hide does not show: a pipeline with such steps has
only the stage decoded, unless spec.observability.tap is All. On Kubernetes:

  kubectl port-forward POD 9090 &
  weir tap PIPELINE`,
		Example: `  weir tap events --for 1s
  weir tap events --stage rejected --for 1s -o json`,
		Args: takes("PIPELINE"),
	}
	f := cmd.Flags()
	f.StringVar(&o.stage, "stage", o.stage, "received, decoded or rejected")
	f.StringVar(&o.address, "metrics", o.address, "host and port of the weir's metrics door")
	f.IntVar(&o.rate, "rate", o.rate, "most samples a second, up to 1000")
	f.IntVar(&o.bytes, "bytes", o.bytes, "most bytes of an event to show, up to 65536")
	f.IntVar(&o.limit, "limit", 0, "end after so many samples; 0 for never")
	f.DurationVar(&o.last, "for", 0, "end after so long; 0 for never")
	completeFlag(cmd, "stage", "received", "decoded", "rejected")
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return tap(cmd.Context(), view(cmd), args[0], o) }
	return cmd
}

// errTapEnded says that the server ended the tap, not the user.
var errTapEnded = errors.New("the pipeline has stopped")

func tap(ctx context.Context, v view, pipeline string, o tapOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.last > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.last)
		defer cancel()
	}
	body, err := openTap(ctx, pipeline, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was to end before it had begun
		}
		return err
	}
	defer body.Close() //nolint:errcheck // it is only read
	lines := bufio.NewReader(body)
	for shown := 0; o.limit == 0 || shown < o.limit; shown++ {
		line, err := lines.ReadBytes('\n')
		switch {
		case ctx.Err() != nil:
			return nil // the user, or --for, ended it
		case err != nil:
			return errTapEnded
		}
		if err := v.sample(line); err != nil {
			return err
		}
	}
	return nil
}

// openTap returns the samples, one JSON object a line.
func openTap(ctx context.Context, pipeline string, o tapOptions) (io.ReadCloser, error) {
	address := o.address
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	at, err := url.Parse(address)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("--metrics %q: use host:port", o.address)
	}
	at = at.JoinPath("tap", pipeline)
	at.RawQuery = url.Values{"stage": {o.stage}, "rate": {strconv.Itoa(o.rate)}, "bytes": {strconv.Itoa(o.bytes)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("tap: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("tap: %w: name the metrics address of the running weir with --metrics, as spec.observability.metricsPort has it", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close() //nolint:errcheck // it is only read
	var told struct {
		Error string `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil || json.Unmarshal(text, &told) != nil || told.Error == "" {
		return nil, fmt.Errorf("tap: %s answers %s: is it the metrics port of a weir?", at.Host, res.Status)
	}
	return nil, fmt.Errorf("tap: %s", told.Error)
}

// shownSample is what weir tap reads of a sample.
type shownSample struct {
	At       time.Time       `json:"at"`
	Door     string          `json:"door"`
	Stream   string          `json:"stream"`
	Sequence int64           `json:"sequence"`
	Line     *int            `json:"line"`
	Reason   string          `json:"reason"`
	Bytes    int             `json:"bytes"`
	Text     *string         `json:"text"`
	Base64   string          `json:"base64"`
	Row      json.RawMessage `json:"row"`
	Cut      bool            `json:"cut"`
	Skipped  int64           `json:"skipped"`
}

// sample prints one sample: as it came, or for people.
func (v view) sample(line []byte) error {
	if v.json {
		_, err := v.out.Write(line)
		return err
	}
	var s shownSample
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("tap: no sample of weir's: %w", err)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(v.talk, "(%d more, not shown)\n", s.Skipped)
	}
	_, err := fmt.Fprintln(v.out, s.String())
	return err
}

// String is the sample on one line.
func (s *shownSample) String() string {
	parts := []string{s.At.Local().Format("15:04:05.000")}
	if s.Door != "" {
		parts = append(parts, s.Door)
	}
	if s.Stream != "" {
		parts = append(parts, clip(s.Stream, maxCell))
	}
	if s.Sequence > 0 {
		parts = append(parts, "#"+strconv.FormatInt(s.Sequence, 10))
	}
	if s.Line != nil && *s.Line > 0 {
		parts = append(parts, "line "+strconv.Itoa(*s.Line))
	}
	if s.Reason != "" {
		parts = append(parts, clip(s.Reason, len(s.Reason))+":")
	}
	switch {
	case s.Row != nil:
		parts = append(parts, clip(string(s.Row), len(s.Row)))
	case s.Text != nil:
		parts = append(parts, clip(*s.Text, len(*s.Text)))
	default:
		parts = append(parts, "base64 "+s.Base64)
	}
	if s.Cut {
		parts = append(parts, fmt.Sprintf("... (%d bytes)", s.Bytes))
	}
	return strings.Join(parts, " ")
}
