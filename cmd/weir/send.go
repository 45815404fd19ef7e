package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/client"
)

// flushGrace is how long an interrupted weir send waits for acks.
const flushGrace = 15 * time.Second

// sendOptions are the flags of weir send.
type sendOptions struct {
	to, pipeline string
	mode         string
	format       string
	csvStrings   bool
	rate         float64 // records a second; 0: no limit
	batch        int     // records in a payload
	batchGiven   bool
	inFlight     int // requests at once
	overflow     string
	buffer       int // payloads
	stream       string
	giveUp       time.Duration
}

var (
	sendModes   = []string{modeChannel, modeRequest, modeFireAndForget}
	sendFormats = []string{inputAuto, inputNDJSON, inputCSV, inputJSON, inputAvro, inputArrow, inputProtobuf}

	// inputFiles are the endings of files that commands complete.
	inputFiles = []string{"ndjson", "jsonl", "json", "csv", "avro", "arrow", "arrows", "feather", "gz"}
)

func newSendCommand() *cobra.Command {
	o := sendOptions{
		to: "localhost:7000", mode: modeChannel, format: inputAuto, batch: 1, inFlight: 1024,
		overflow: client.Block.String(), buffer: 100_000, giveUp: 30 * time.Second,
	}
	cmd := &cobra.Command{
		Use:   "send [FILE|-]",
		Short: "Send the records of a file or of standard input",
		Long: `Send records to a running weir, each an event: the lines of NDJSON, the elements of a JSON array, or the rows of CSV with
a header, gzipped or not. Numbers, true and false of CSV are sent as what they look like, empty cells as null.

Avro object container files and Arrow IPC streams and files go as they are, cut into small ones. Protobuf messages, each
behind its length as a varint (--format protobuf), need a pipeline that knows their type: spec.schema.format.protobuf.

In mode channel records travel on a stream that is paced by the server, opened again after a lost connection, and
acknowledged when they are in the table. In mode request every payload is answered by itself. In mode fnf nothing is
answered.

To several pods the stream goes over all of them, by what is pending on each, and follows them as they come and go; the
summary says what went where.

An interrupt stops the reading; what was read is still sent. The exit code is 0 if every record was taken.`,
		Example: `  echo '{"user":"ada","amount":12.5}' | weir send
  weir send events.ndjson.gz --to localhost:7000 --batch 100
  weir send orders.csv --to weir.example:7000 --pipeline orders --rate 500
  weir send orders.avro
  weir send orders.pb --format protobuf --batch 100 --to localhost:7000
  weir send events.ndjson --to weir://events-headless:7000/events`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return inputFiles, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", o.to, "host:port, several with commas between, or weir://host:port/pipeline: all pods of a headless service")
	f.StringVar(&o.pipeline, "pipeline", "", "pipeline; may be left out if the server runs only one")
	f.StringVar(&o.mode, "mode", o.mode, "channel, request or fnf (fire-and-forget)")
	f.StringVar(&o.format, "format", o.format, "ndjson, csv, json, avro, arrow, protobuf (length-delimited), or auto: by the first bytes")
	f.BoolVar(&o.csvStrings, "csv-strings", false, "send the cells of CSV as strings, whatever they look like")
	f.Float64Var(&o.rate, "rate", 0, "records a second at most; 0: no limit")
	f.IntVar(&o.batch, "batch", o.batch, "records in a payload; more than 1 are sent as NDJSON, or delimited Protobuf. Of avro and arrow 1000 if it is not given")
	f.IntVar(&o.inFlight, "in-flight", o.inFlight, "requests at once in mode request")
	f.StringVar(&o.overflow, "overflow", o.overflow, "when the buffer is full: block, fail, drop-oldest or drop-newest")
	f.IntVar(&o.buffer, "buffer", o.buffer, "payloads kept until they are acknowledged")
	f.StringVar(&o.stream, "stream", "", "name of the stream, a new one for every run (default random)")
	f.DurationVar(&o.giveUp, "give-up", o.giveUp, "give up after so long without success; 0: never")
	view := addOutput(cmd)
	completeFlag(cmd, "mode", sendModes...)
	completeFlag(cmd, "format", sendFormats...)
	completeFlag(cmd, "overflow", "block", "fail", "drop-oldest", "drop-newest")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := "-"
		if len(args) > 0 {
			name = args[0]
		}
		o.batchGiven = cmd.Flags().Changed("batch")
		return send(cmd.Context(), &o, cmd.InOrStdin(), name, view(cmd))
	}
	return cmd
}

func (o *sendOptions) check() error {
	switch {
	case !slices.Contains(sendModes, o.mode):
		return fmt.Errorf("--mode %s is not known: use %s", o.mode, strings.Join(sendModes, ", "))
	case !slices.Contains(sendFormats, o.format):
		return fmt.Errorf("--format %s is not known: use %s", o.format, strings.Join(sendFormats, ", "))
	case o.batch < 1 || o.inFlight < 1 || o.buffer < 1:
		return errors.New("--batch, --in-flight and --buffer are at least 1")
	case !(o.rate >= 0):
		return errors.New("--rate is at least 0")
	case o.pipeline != "" && strings.Contains(o.to, "/"):
		return errors.New("name the pipeline in --to or in --pipeline, not in both")
	}
	_, err := client.ParseOverflow(o.overflow)
	return err
}

// target is what client.Dial takes.
func (o *sendOptions) target() string {
	if o.pipeline == "" {
		return o.to
	}
	return o.to + "/" + o.pipeline
}

// suit fits what was not said to a format.
func (o *sendOptions) suit(format string) {
	if o.format = format; !o.batchGiven && (format == inputAvro || format == inputArrow) {
		o.batch = pieceRecords
	}
}

// send reads name and sends what is in it.
func send(ctx context.Context, o *sendOptions, stdin io.Reader, name string, v view) error {
	if err := o.check(); err != nil {
		return err
	}
	file := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		file = f
	}
	in, err := awaitInput(ctx, file, o.format)
	if err != nil {
		return err
	}
	o.suit(in.format)
	c, err := client.Dial(ctx, o.target(), client.Options{
		Producer: "weir send", MIME: string(mimeOf(o.format, o.batch)), GiveUpAfter: o.giveUp,
	})
	if err != nil {
		return fmt.Errorf("%w: is weir run running there?", err)
	}
	rep := newSendReport(o, v)
	way, err := openWay(ctx, c, o, rep)
	if err != nil {
		return errors.Join(err, c.Close(ctx))
	}
	stop := rep.progress(way)
	err = transfer(ctx, o, in, way, rep)
	stop()
	if errors.Is(err, errUnfinished) { // then there is nothing to wait for
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		_ = c.Close(canceled) // says again what is wrong
	} else {
		err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return rep.summary(way.totals(), err)
}

// awaitInput waits for the first bytes, which say what payloads will be. A reader that hangs when the interrupt comes is left
// behind; the process ends soon.
func awaitInput(ctx context.Context, file io.Reader, format string) (*input, error) {
	type opened struct {
		in  *input
		err error
	}
	done := make(chan opened, 1)
	go func() {
		in, err := openInput(file, format)
		done <- opened{in, err}
	}()
	select {
	case o := <-done:
		return o.in, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("nothing was sent: %w", context.Cause(ctx))
	}
}

// openWay does not wait for ever for a server that speaks something else.
func openWay(ctx context.Context, c *client.Client, o *sendOptions, rep *sendReport) (way, error) {
	if o.giveUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.giveUp, fmt.Errorf("no answer in %s: is this the RSocket port of weir?", o.giveUp))
		defer cancel()
	}
	return newWay(ctx, c, o, rep)
}

// errUnfinished says that not all of what was sent is acknowledged.
var errUnfinished = errors.New("not everything was acknowledged")

// transfer reads until the end, an error or an interrupt, then waits for the acks of what was sent. A reader that hangs
// when the interrupt comes is left behind; the process ends soon.
func transfer(ctx context.Context, o *sendOptions, in *input, w way, rep *sendReport) error {
	read := make(chan error, 1)
	go func() { read <- pump(ctx, o, in, w, rep) }()
	var err error
	select {
	case err = <-read:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		rep.say("interrupted: no more is read, waiting up to %s for acks; interrupt again to stop at once", flushGrace)
		err = nil
	}
	finish, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushGrace, cancel) })
	defer stop()
	return errors.Join(err, w.finish(finish))
}

// pump reads records and sends them in payloads. After an error in what it reads it still sends what it read before.
func pump(ctx context.Context, o *sendOptions, in *input, w way, rep *sendReport) error {
	b := batcher{size: o.batch, pace: newPace(o.rate), way: w, sent: &rep.sent}
	if typed(in.format) {
		c := cutter{o.batch, pieceBytes, func(payload []byte, records int) error { return b.payload(ctx, payload, records) }}
		return c.each(in.r, in.format)
	}
	var failed error // sending, not reading
	err := in.each(o.csvStrings, func(record []byte) error {
		failed = b.add(ctx, record)
		return failed
	})
	if failed != nil {
		return failed
	}
	return errors.Join(err, b.flush(ctx))
}
