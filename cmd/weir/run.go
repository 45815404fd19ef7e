package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/ingestor"
)

// runGrace leaves a few of the 30 s that most supervisors give.
const runGrace = 25 * time.Second

// runOptions are the flags of weir run and of weir ingest.
type runOptions struct {
	listen    string
	portsFile string
	logLevel  slog.Level
	logFormat string
	grace     time.Duration
	cluster   clusterOptions
}

func newRunCommand() *cobra.Command {
	o := runOptions{listen: "127.0.0.1", grace: runGrace, logFormat: "text"}
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run the pipelines of a file in this process",
		Long: `Run the pipelines of a file in this process, until SIGINT or SIGTERM; - is the standard input. Then weir drains: it takes
nothing new, tells open streams to move on, commits what it has taken and acknowledges it, and says what that was. A
second signal ends it at once: producers then have to send again what was not acknowledged.

The exit code is 0 after a clean stop, and 1 when the pipelines could not be started or had to stop.`,
		Example: `  weir init --from events.ndjson > pipeline.yaml
  weir run pipeline.yaml`,
		Args: takes("FILE"), ValidArgsFunction: pipelineFiles(1),
	}
	return runs(cmd, o, "address to listen on; 0.0.0.0 for every interface", runFile)
}

// runs gives a command that runs pipelines its flags, with o for defaults, and what it does with them.
func runs(cmd *cobra.Command, o runOptions, listen string, do func(cmd *cobra.Command, file string, o runOptions) error) *cobra.Command {
	level := "info"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.logLevel.UnmarshalText([]byte(level)); err != nil {
			return fmt.Errorf("--log-level %q: use debug, info, warn or error", level)
		}
		return do(cmd, args[0], o)
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", o.listen, listen)
	f.StringVar(&o.portsFile, "ports-file", "", "write the addresses of the doors to this file as JSON as soon as they are open")
	f.StringVar(&level, "log-level", level, "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", o.logFormat, "text or json")
	f.DurationVar(&o.grace, "grace", o.grace, "how long a stop may take to commit and acknowledge what was taken")
	o.cluster.flags(f)
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
	completeFlag(cmd, "log-format", "text", "json")
	return cmd
}

func runFile(cmd *cobra.Command, file string, o runOptions) error {
	ctx := cmd.Context()
	log, err := newLogger(cmd.ErrOrStderr(), o)
	if err != nil {
		return err
	}
	pipelines, err := readPipelines(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	conf, err := newConfig(ctx, pipelines, log)
	if err != nil {
		return err
	}
	conf.Grace = o.grace
	if conf.Cluster, err = o.cluster.cluster(); err != nil {
		return err
	}
	limitMemory(conf)
	doors, err := openDoors(ctx, pipelines[0], o.listen)
	if err != nil {
		return err
	}
	conf.RSocket, conf.HTTP, conf.Admin = doors.rsocket, doors.http, doors.admin
	in, err := ingestor.New(ctx, conf)
	if err != nil {
		return errors.Join(err, doors.close())
	}
	for _, p := range conf.Pipelines {
		log.Info("running", "pipeline", p.Name, "table", p.Store.String(), "version", buildVersion())
	}
	log.Info("listening", doors.attrs()...)
	if err := doors.write(o.portsFile); err != nil {
		return errors.Join(err, doors.close())
	}
	err = in.Run(ctx)
	for _, s := range in.Status() {
		log.Info("stopped", "pipeline", s.Pipeline, "committed", s.Committed, "rejected", s.Rejected, "notCommitted", s.InFlight,
			"version", s.Version)
	}
	return err
}

func newLogger(w io.Writer, o runOptions) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: o.logLevel}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: use text or json", o.logFormat)
}

// limitMemory tells the garbage collector what the pipelines may take, so that garbage does not grow beyond it.
func limitMemory(conf ingestor.Config) {
	const runtimeShare = 32 << 20 // code, stacks, and what the runtime itself needs
	total := int64(runtimeShare)
	for _, p := range conf.Pipelines {
		total += p.Memory
	}
	debug.SetMemoryLimit(total)
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// doors are the open listeners of a process.
type doors struct{ rsocket, http, admin net.Listener }

func listen(ctx context.Context, host string, port int32, what string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("open the %s door: %w (is another weir running? set another port in the pipeline, 0 for any)", what, err)
	}
	return ln, nil
}

func (d doors) all() []net.Listener { return []net.Listener{d.rsocket, d.http, d.admin} }

func (d doors) close() error {
	var errs []error
	for _, ln := range d.all() {
		if ln != nil {
			errs = append(errs, ln.Close())
		}
	}
	return errors.Join(errs...)
}

func (d doors) attrs() []any {
	return []any{"rsocket", d.rsocket.Addr().String(), "http", d.http.Addr().String(), "metrics", d.admin.Addr().String()}
}

// write puts the addresses of those that are open into file, whole or not at all.
func (d doors) write(file string) error {
	if file == "" {
		return nil
	}
	addresses := map[string]string{}
	for name, ln := range map[string]net.Listener{"rsocket": d.rsocket, "http": d.http, "metrics": d.admin} {
		if ln != nil {
			addresses[name] = ln.Addr().String()
		}
	}
	b, err := json.Marshal(addresses)
	if err != nil {
		return fmt.Errorf("ports file: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("ports file: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return errors.Join(fmt.Errorf("ports file: %w", err), os.Remove(tmp))
	}
	return nil
}
