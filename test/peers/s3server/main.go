// Command s3server is an S3 server for tests: gofakes3 behind a check of signatures, one static file that runs anywhere.
//
//	s3server --listen 127.0.0.1:9000 --bucket tables --access-key test --secret-key testtest
//
// A PUT with If-None-Match: * writes an object only if it is absent, whoever else tries at the same time. Objects live in
// memory, or with --data in a file that survives restarts; a PUT is answered once it is synced. It prints the address it
// listens on, answers GET /_ready to anyone, and ends on SIGTERM. It is a peer of tests and nothing to keep data in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3bolt"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	bolt "go.etcd.io/bbolt"
)

type options struct {
	listen  string
	buckets string
	keys    keys
	data    string
	skew    time.Duration
	clock   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:9000", "address to listen on; port 0 takes any free one")
	flag.StringVar(&o.buckets, "bucket", "tables", "buckets to make, separated by commas")
	flag.StringVar(&o.keys.access, "access-key", "", "access key that requests must be signed with; empty: anyone may do anything")
	flag.StringVar(&o.keys.secret, "secret-key", "", "secret of the access key")
	flag.StringVar(&o.data, "data", "", "file for the objects; empty: they live in memory")
	flag.DurationVar(&o.skew, "skew", 15*time.Minute, "largest difference between the clock of a request and this one")
	flag.DurationVar(&o.clock, "clock", 0, "how much the clock of the server is ahead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

// ahead is a clock that is wrong by so much.
type ahead struct {
	gofakes3.TimeSource
	by time.Duration
}

// Now implements [gofakes3.TimeSource].
func (a ahead) Now() time.Time { return a.TimeSource.Now().Add(a.by) }

// run serves until ctx is done.
func run(ctx context.Context, out io.Writer, o options) error {
	handler, closeData, err := newHandler(o)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return errors.Join(err, closeData())
	}
	fmt.Fprintln(out, ln.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = server.Shutdown(ending)
		<-failed
	}
	return errors.Join(err, closeData())
}

// newHandler is the server without its listener.
func newHandler(o options) (http.Handler, func() error, error) {
	backend, closeData, err := newBackend(o.data)
	if err != nil {
		return nil, nil, err
	}
	for name := range strings.SplitSeq(o.buckets, ",") {
		if ok, err := backend.BucketExists(name); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("bucket %s: %w", name, err), closeData())
		} else if ok {
			continue
		}
		if err := backend.CreateBucket(name); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("bucket %s: %w", name, err), closeData())
		}
	}
	s3 := gofakes3.New(backend, gofakes3.WithTimeSkewLimit(o.skew), gofakes3.WithTimeSource(ahead{gofakes3.DefaultTimeSource(), o.clock}), gofakes3.WithoutVersioning()).Server()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })
	handler := o.keys.check(s3)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ready" {
			mux.ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r) // not through the mux, which would clean the paths of keys
	}), closeData, nil
}

func newBackend(file string) (gofakes3.Backend, func() error, error) {
	if file == "" {
		return s3mem.New(), func() error { return nil }, nil
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: time.Second}) // another server may have it
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", file, err)
	}
	return s3bolt.New(db), db.Close, nil
}
