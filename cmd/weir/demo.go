package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/ingestor"
	"github.com/weir-dev/weir/test/data"
)

// demoPipeline is the Pipeline of the demo; the table stands beside the file.
const demoPipeline = `# The pipeline of weir demo. Run it yourself: weir run %[2]q
apiVersion: weir.dev/v1alpha1
kind: Pipeline
metadata:
  name: flights
spec:
  sink:
    delta:
      uri: %[1]q
      partitionBy: [origin]
`

func newDemoCommand() *cobra.Command {
	dir := ""
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Send real flights through an embedded pipeline and show the table they make",
		Long: `Run a pipeline in this process, send it the 27,004 flights that were to leave New York City in January 2013 over a real TCP
RSocket connection, and show the table. Nothing is fetched; the data is in this program. With --dir a second run appends
to the table of the first.`,
		Example: `  weir demo
  weir demo --dir ./demo`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := view{out: cmd.OutOrStdout(), talk: cmd.ErrOrStderr()}
			if err := demo(cmd.Context(), v, dir); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "directory for the pipeline and its table; default: a new temporary one")
	if err := cmd.MarkFlagDirname("dir"); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

func demo(ctx context.Context, v view, dir string) error {
	file, table, err := demoFiles(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(v.talk, "1. a pipeline: %s\n", file)
	before, err := rowsBefore(ctx, table)
	if err != nil {
		return err
	}
	if before > 0 {
		fmt.Fprintf(v.talk, "   its table has %d rows from an earlier run; this one appends\n", before)
	}
	err = withIngestor(ctx, file, func(ctx context.Context, addr string) error {
		fmt.Fprintf(v.talk, "2. weir listens on %s; sending %d flights over RSocket\n", addr, data.FlightsRows)
		return sendFlights(ctx, v.talk, addr)
	})
	if err != nil {
		return err
	}
	return showDemo(ctx, v, table)
}

// demoFiles makes what the demo needs in dir, or in a new directory if that is empty. A pipeline of an earlier run stays.
func demoFiles(dir string) (file, table string, err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
			return "", "", err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	file, table = filepath.Join(dir, "pipeline.yaml"), filepath.Join(dir, "flights")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a table is meant to be read by others
		return "", "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // so is its pipeline
	switch {
	case errors.Is(err, fs.ErrExist):
		pipelines, err := readPipelines(file, nil)
		if err != nil {
			return "", "", err
		}
		return file, pipelines[0].Spec.Sink.Delta.URI, nil
	case err != nil:
		return "", "", err
	}
	_, err = fmt.Fprintf(f, demoPipeline, table, file)
	return file, table, errors.Join(err, f.Close())
}

// rowsBefore counts the rows of a table, which need not exist.
func rowsBefore(ctx context.Context, uri string) (int64, error) {
	t, err := openTable(ctx, uri)
	if errors.Is(err, delta.ErrNotATable) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, _ := t.Snapshot().NumRecords()
	return n, t.Close(ctx)
}

// withIngestor runs the pipeline of file, its RSocket door on a free port, around do.
func withIngestor(ctx context.Context, file string, do func(ctx context.Context, addr string) error) error {
	pipelines, err := readPipelines(file, nil)
	if err != nil {
		return err
	}
	conf, err := newConfig(ctx, pipelines, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if conf.RSocket, err = listen(ctx, "127.0.0.1", 0, "rsocket"); err != nil {
		return err
	}
	in, err := ingestor.New(ctx, conf)
	if err != nil {
		return errors.Join(err, conf.RSocket.Close())
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- in.Run(serving) }()
	err = do(ctx, conf.RSocket.Addr().String())
	stop()
	return errors.Join(err, <-done)
}

func sendFlights(ctx context.Context, talk io.Writer, addr string) (err error) {
	src, err := data.FlightsJanuary()
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, addr, client.Options{Producer: "weir demo"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	p := progress{talk: talk, total: data.FlightsRows, began: time.Now()}
	s, err := c.OpenStream(ctx, client.StreamOptions{Name: "flights-2013-01", OnAck: p.acked})
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(src)
	for n := 1; lines.Scan(); n++ {
		if _, err := s.Send(ctx, lines.Bytes()); err != nil {
			return fmt.Errorf("send flight %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read flights: %w", err)
	}
	if _, err := s.Close(ctx); err != nil {
		return err
	}
	took, st := time.Since(p.began), s.Stats()
	fmt.Fprintf(talk, "   all %d acknowledged after %s, %.0f/s: they are in the table, version %d\n",
		st.Acked, took.Round(time.Millisecond), float64(st.Acked)/took.Seconds(), st.Version)
	return nil
}

// progress tells of every ack but the last, which the summary tells of; there are at most five a second.
type progress struct {
	talk  io.Writer
	total int64
	began time.Time
}

func (p *progress) acked(a client.Ack) {
	if a.Sequence == p.total {
		return
	}
	fmt.Fprintf(p.talk, "   acknowledged %6d of %d, %.0f/s, in version %d of the table\n",
		a.Sequence, p.total, float64(a.Sequence)/time.Since(p.began).Seconds(), a.Version)
}

func showDemo(ctx context.Context, v view, table string) error {
	t, err := openTable(ctx, table)
	if err != nil {
		return err
	}
	rows, _ := t.Snapshot().NumRecords()
	fmt.Fprintf(v.talk, "3. the table has %d rows in %d files, version %d:\n\n", rows, t.Snapshot().NumFiles(), t.Snapshot().Version())
	err = printHead(ctx, v, t.Snapshot(), 5)
	fmt.Fprintf(v.talk, `
4. look at it:
   %[2]s table show %[1]s
   %[2]s table head %[1]s -n 3 -o json
   python3 -c 'import deltalake; print(deltalake.DeltaTable("%[1]s").to_pyarrow_table().num_rows)'
`, table, os.Args[0]) // as this program was called, which need not be in the PATH
	return errors.Join(err, t.Close(ctx))
}
