package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/ingestor"
	"github.com/weir-dev/weir/ingestor/batch"
)

// readPipelines reads the pipelines of a file; "-" is stdin. The defaults are filled in. What is wrong with the content is
// a strict.ErrorList.
func readPipelines(file string, stdin io.Reader) ([]*v1alpha1.Pipeline, error) {
	return readChecked(file, stdin, checkPipeline)
}

func readChecked(file string, stdin io.Reader, check strict.Check) ([]*v1alpha1.Pipeline, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read pipeline: %w", err)
		}
		defer f.Close() //nolint:errcheck // it is only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, strict.MaxFileBytes+1)) // Decode says what it thinks of more
	if err != nil {
		return nil, fmt.Errorf("read pipeline: %w", err)
	}
	return strict.Decode(sourceName(file), b, check)
}

// sourceName is what messages call a file.
func sourceName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

// newConfig turns the user's YAML into what an ingestor takes. The listeners are left to the caller.
func newConfig(ctx context.Context, pipelines []*v1alpha1.Pipeline, log *slog.Logger) (ingestor.Config, error) {
	conf := ingestor.Config{
		MaxConnections: int(*pipelines[0].Spec.Flow.MaxConnections), Version: buildVersion(), Registry: newRegistry(), Log: log,
	}
	for _, p := range pipelines {
		if err := sameDoors(pipelines[0], p); err != nil {
			return conf, err
		}
		s, err := newSettings(ctx, p)
		if err != nil {
			return conf, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
		for _, other := range conf.Pipelines {
			if other.Store.String() == s.Store.String() {
				return conf, fmt.Errorf("pipelines %s and %s have the same table %s: a process has one pipeline for a table", other.Name, s.Name, s.Store)
			}
		}
		conf.Pipelines = append(conf.Pipelines, s)
	}
	return conf, nil
}

// sameDoors refuses pipelines that want different doors: a process has one set for all.
func sameDoors(a, b *v1alpha1.Pipeline) error {
	if *a.Spec.Ingress.RSocket.Port != *b.Spec.Ingress.RSocket.Port || *a.Spec.Ingress.HTTP.Port != *b.Spec.Ingress.HTTP.Port ||
		*a.Spec.Observability.MetricsPort != *b.Spec.Observability.MetricsPort || *a.Spec.Flow.MaxConnections != *b.Spec.Flow.MaxConnections {
		return fmt.Errorf("pipelines %s and %s differ in ports or maxConnections: the pipelines of one process share its doors; give them the same values or run them apart", a.Name, b.Name)
	}
	return nil
}

func newSettings(ctx context.Context, p *v1alpha1.Pipeline) (ingestor.Settings, error) {
	sink := p.Spec.Sink.Delta
	st, err := openStore(ctx, sink)
	if err != nil {
		return ingestor.Settings{}, fmt.Errorf("spec.sink.delta.uri: %w", err)
	}
	columns, hints, program, faults := shape(p)
	if len(faults) > 0 { // the file was checked, so this is no Pipeline of a file
		return ingestor.Settings{}, fmt.Errorf("%s: %s", faults[0].Path, faults[0].Message)
	}
	s := ingestor.Settings{
		Name: p.Name, Store: st, PartitionBy: sink.PartitionBy,
		Parquet: parquet.WriterOptions{Codec: codecs[sink.Compression], Encodings: encodings[sink.Encodings]},
		Decode:  decodeOptions(p, hints),
		Columns: columns, Transform: program,
		Batch: batch.Settings{
			MaxRecords: int64(*sink.Batch.MaxRecords), MaxAge: sink.Batch.MaxAge.Duration, MaxBytes: sink.Batch.MaxBytes.Value(),
		},
		Memory: p.Spec.Flow.Memory.Value(),
		Taps:   tapPolicies[p.Spec.Observability.Tap],
	}
	s.Merge, s.Decode.Identity = mergeSettings(p)
	s.Maintenance = maintenanceSettings(p)
	s.ChangeFeed = *sink.ChangeDataFeed
	return s, nil
}

// openStore opens the store of a table as its Pipeline says. Secrets become environment variables before weir starts.
func openStore(ctx context.Context, sink *v1alpha1.DeltaSink) (store.Store, error) {
	set := backends.Settings{Agent: "weir/" + buildVersion()}
	if s := sink.Storage; s != nil {
		set.Endpoint, set.Region, set.PathStyle, set.Account = s.Endpoint, s.Region, s.PathStyle, s.Account
	}
	return backends.Open(ctx, sink.URI, set)
}

var tapPolicies = map[v1alpha1.TapPolicy]ingestor.TapPolicy{
	v1alpha1.TapMasked: ingestor.TapMasked, v1alpha1.TapAll: ingestor.TapAll, v1alpha1.TapOff: ingestor.TapOff,
}

var codecs = map[v1alpha1.Compression]parquet.Codec{
	v1alpha1.CompressionZstd:   parquet.Zstd,
	v1alpha1.CompressionSnappy: parquet.Snappy,
	v1alpha1.CompressionNone:   parquet.Uncompressed,
}

var encodings = map[v1alpha1.Encodings]parquet.Encodings{
	v1alpha1.EncodingsV2: parquet.EncodingsV2,
	v1alpha1.EncodingsV1: parquet.EncodingsV1,
}

// openDoors opens the listeners that p asks for.
func openDoors(ctx context.Context, p *v1alpha1.Pipeline, host string) (doors, error) {
	d, err := openProducerDoors(ctx, p, host)
	if err != nil {
		return doors{}, err
	}
	if d.admin, err = listen(ctx, host, *p.Spec.Observability.MetricsPort, "metrics"); err != nil {
		return doors{}, errors.Join(err, d.close())
	}
	return d, nil
}

// openProducerDoors opens the listeners for producers that p asks for.
func openProducerDoors(ctx context.Context, p *v1alpha1.Pipeline, host string) (doors, error) {
	var d doors
	var err error
	if d.rsocket, err = listen(ctx, host, *p.Spec.Ingress.RSocket.Port, "rsocket"); err != nil {
		return doors{}, err
	}
	if d.http, err = listen(ctx, host, *p.Spec.Ingress.HTTP.Port, "http"); err != nil {
		return doors{}, errors.Join(err, d.close())
	}
	return d, nil
}
