package strict

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/weir-dev/weir/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestBadFiles compares what is said about each file in testdata/bad with the .txt beside it.
func TestBadFiles(t *testing.T) {
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			got, err := Decode(name, read(t, file))
			if _, ok := errors.AsType[ErrorList](err); !ok || got != nil {
				t.Fatalf("Decode = %v, %v; want no pipeline and an ErrorList", got, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestGoodFiles(t *testing.T) {
	want := map[string][]string{
		"minimal.yaml":  {"/clicks ./clicks"},
		"full.yaml":     {"web/clicks file:///data/clicks", "/bucket s3://tables/web/clicks", "/clicks clicks"},
		"exported.yaml": {"web/clicks /data/clicks"},
	}
	got := map[string][]string{}
	for _, file := range glob(t, "testdata/good/*.yaml") {
		pipelines, err := Decode(file, read(t, file))
		if err != nil {
			t.Error(err)
		}
		for _, p := range pipelines {
			name := filepath.Base(file)
			got[name] = append(got[name], p.Namespace+"/"+p.Name+" "+p.Spec.Sink.Delta.URI)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pipelines (-want +got):\n%s", diff)
	}
}

// TestEveryField sees that no field is lost on the way from the file.
func TestEveryField(t *testing.T) {
	pipelines, err := Decode("full.yaml", read(t, "testdata/good/full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := pipelines[0].Spec
	got := []any{
		*s.Ingress.RSocket.Port, *s.Ingress.HTTP.Port, s.Schema.OnMismatch, *s.Schema.MaxColumns, s.Schema.SystemColumns,
		s.Schema.Columns, s.Schema.OnUnknown, s.Transform, s.OnTransformError,
		s.Flow.Memory.Value(), s.Flow.MaxEventBytes.Value(), *s.Flow.MaxConnections,
		s.Sink.Delta.URI, s.Sink.Delta.PartitionBy, s.Sink.Delta.Compression, s.Sink.Delta.Encodings,
		*s.Sink.Delta.Batch.MaxRecords, s.Sink.Delta.Batch.MaxAge.Duration, s.Sink.Delta.Batch.MaxBytes.Value(),
		*s.Observability.MetricsPort, pipelines[1].Spec.Sink.Delta.Storage,
	}
	want := []any{
		int32(0), int32(8080), v1alpha1.MismatchReject, int32(50),
		[]v1alpha1.SystemColumn{"stream", "seq", "received"},
		[]v1alpha1.ColumnSpec{
			{Name: "at", Type: "timestamp", Required: true, Comment: "when it was seen", Unit: v1alpha1.TimeUnitMilliseconds},
			{Name: "cart", Type: "struct<sku: string not null, price: decimal(12,2)>"},
		},
		v1alpha1.UnknownDrop,
		[]v1alpha1.TransformStep{
			{Filter: `cart.sku != ""`},
			{Set: &v1alpha1.SetStep{Column: "total", Value: "2.0 * double(cart.price)", Type: "double"}},
			{Drop: []string{"debug"}},
			{Rename: &v1alpha1.RenameStep{From: "a", To: "b"}},
			{Flatten: &v1alpha1.FlattenStep{Column: "cart", Separator: "__"}},
			{Mask: &v1alpha1.MaskStep{Columns: []string{"email"}, Method: v1alpha1.MaskHash, Salt: "pepper"}},
			{Derive: &v1alpha1.DeriveStep{Column: "day", From: "at", Part: v1alpha1.TimePartHour}},
			{Route: &v1alpha1.RouteStep{When: "total < 0.0", To: v1alpha1.RouteReject, Reason: "a negative total"}},
		},
		v1alpha1.TransformErrorSuspend,
		int64(3 << 29), int64(65536), int32(100),
		"file:///data/clicks",
		[]string{"country", "day"},
		v1alpha1.CompressionSnappy, v1alpha1.EncodingsV1,
		int32(50000), 90 * time.Second, int64(128 << 20),
		int32(0), &v1alpha1.StorageSpec{Endpoint: "http://minio.store:9000", Region: "eu-central-1", PathStyle: new(true), CredentialsSecret: "minio-keys"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestBoundsOfAFile(t *testing.T) {
	tests := []struct {
		name string
		data string
		want string
	}{
		{"size", strings.Repeat("#", MaxFileBytes+1), "f.yaml: is larger than 1048576 bytes: it cannot be a file of Pipelines"},
		{"errors", strings.Repeat("--- a\n", 50_000), "f.yaml: too many errors, the rest of the file was not read"},
		{"fields", "spec:\n" + strings.Repeat("  ports: 1\n", 50_000), "f.yaml: too many errors, the rest of the file was not read"},
		{"name", "kind: Pipeline\n" + strings.Repeat("x", 1000) + ": 1\n", `"` + strings.Repeat("x", 64) + `"...: unknown field: a Pipeline has`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode("f.yaml", []byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Decode = %.500v; want %s", err, tt.want)
			}
			if list, _ := errors.AsType[ErrorList](err); len(list) > maxErrors+1 {
				t.Errorf("%d errors; want at most %d", len(list), maxErrors+1)
			}
		})
	}
}

// lines is the most lines that data can have for a YAML parser, which takes more than \n for a line break.
func lines(data []byte) int {
	n := 1
	for _, brk := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(brk))
	}
	return n
}

// FuzzDecode looks for files that break the reading, and for accepted ones that are not valid or errors without a place.
func FuzzDecode(f *testing.F) {
	for _, file := range append(glob(f, "testdata/bad/*.yaml"), glob(f, "testdata/good/*.yaml")...) {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pipelines, err := Decode("f", data)
		if err != nil {
			checkErrors(t, err, lines(data))
			return
		}
		if len(pipelines) == 0 {
			t.Fatal("neither a pipeline nor an error")
		}
		for _, p := range pipelines {
			if errs := v1alpha1.Validate(p); len(errs) > 0 {
				t.Errorf("accepted, but %v", errs)
			}
			if least := resource.MustParse("32Mi"); p.Spec.Flow.Memory.Cmp(least) < 0 {
				t.Errorf("memory is %s; want at least %s", p.Spec.Flow.Memory, &least)
			}
		}
	})
}

func checkErrors(t *testing.T, err error, lines int) {
	t.Helper()
	list, ok := errors.AsType[ErrorList](err)
	if !ok || len(list) == 0 {
		t.Fatalf("%v is no ErrorList", err)
	}
	for _, e := range list {
		if e.Position.File != "f" || e.Message == "" || e.Position.Line > lines {
			t.Errorf("%v has no place in the file of %d lines", e, lines)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, file)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func glob(tb testing.TB, pattern string) []string {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		tb.Fatalf("no %s: %v", pattern, err)
	}
	return files
}

func read(tb testing.TB, file string) []byte {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
