package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weir-dev/weir/test/gen"
	"github.com/weir-dev/weir/test/harness"
)

// TestFormats sends the same events as JSON, Protobuf, Avro and Arrow, made by Python and Java from one .proto and one .avsc
// file, to a pipeline each. Each table must hold what the events say, read by deltalake.
func TestFormats(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	count := int64(5_000)
	if os.Getenv("WEIR_INTEROP_LONG") != "" {
		count = 100_000
	}
	dir := t.TempDir()
	file := eventFile(t, dir, count)
	schema := p.Path("test", "interop", "formats", "event.schema.json")
	avsc := p.Path("test", "interop", "formats", "event.avsc")
	source := p.Path("test", "interop", "formats", "event.proto")
	set := descriptorSet(t, dir, source)
	const message = "weir.test.Event"
	want := pythonRows(t, p, "expect", schema, file)
	python := func(args ...string) func(*harness.Weir) {
		return func(w *harness.Weir) {
			var got produced
			last(t, output(t, p.Formats, "formats.py", append([]string{w.Port(), file}, args...)...), &got)
			if got.Sent != count || got.Acked != count {
				t.Errorf("%s: %d sent, %d acknowledged: %s", args[0], got.Sent, got.Acked, got.Messages)
			}
		}
	}
	java := func(format string) func(*harness.Weir) {
		return func(w *harness.Weir) {
			cmd, err := p.Java(t.Context(), "FormatProducer", "--port", w.Port(), "--file", file, "--format", format,
				"--set", set, "--message", message, "--avsc", avsc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := harness.Output(cmd); err != nil {
				t.Fatalf("%v\n%s", err, w.Log())
			}
		}
	}
	protobuf := "{protobuf: {file: " + source + ", message: " + message + "}}"
	avro := "{avro: {file: " + avsc + "}}"
	for _, c := range []struct {
		name, format string
		send         func(*harness.Weir)
	}{
		{"JSON", "", python("json")},
		{"Protobuf from Python", protobuf, python("protobuf", set, message)},
		{"Protobuf from Java", protobuf, java("protobuf")},
		{"Avro from Python", avro, python("avro", avsc)},
		{"Avro from Java", avro, java("avro")},
		{"Arrow from Python", "", python("arrow", schema)},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := "  schema:\n" + declaredColumns(t, schema)
			if c.format != "" {
				spec += "    format: " + c.format + "\n"
			}
			w := runWeir(t, harness.Pipeline{Spec: spec})
			c.send(w)
			committed(t, w, count)
			stop(t, w)
			same(t, "deltalake", pythonRows(t, p, "deltalake", w.Table), want)
		})
	}
}

// eventFile writes events of the benchmarks.
func eventFile(t *testing.T, dir string, count int64) string {
	t.Helper()
	path := filepath.Join(dir, "events.ndjson")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, set := bufio.NewWriter(f), gen.Events{Seed: 3}
	var line []byte
	for i := range count {
		line = append(set.Append(line[:0], i), '\n')
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return path
}

// descriptorSet compiles a .proto file for the producers.
func descriptorSet(t *testing.T, dir, source string) string {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(source)}})}
	files, err := c.Compile(context.Background(), filepath.Base(source))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protoutil.ProtoFromFileDescriptor(f))
	}
	add(files[0])
	b, err := proto.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "event.binpb")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// declaredColumns are the columns of a schema file as schema.columns.
func declaredColumns(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	out := "    columns:\n"
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var kind any
		if err := dec.Decode(&kind); err != nil {
			t.Fatal(err)
		}
		out += "      - {name: " + name.(string) + `, type: "` + ddl(kind) + "\"}\n"
	}
	return out
}

func ddl(kind any) string {
	switch k := kind.(type) {
	case []any:
		return "array<" + ddl(k[0]) + ">"
	case map[string]any:
		var fields []string
		for name, inner := range k {
			fields = append(fields, name+": "+ddl(inner))
		}
		return "struct<" + strings.Join(fields, ", ") + ">"
	}
	return kind.(string)
}
