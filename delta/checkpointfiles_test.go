package delta

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/parquet"
)

// filesOf reads a file of the parts, and checks that no add is in two of them.
func filesOf(t *testing.T, e *encodedFiles) map[string]Add {
	t.Helper()
	var file bytes.Buffer
	if _, err := parquet.WriteBlocks(&file, writtenSchema, e.blocks()); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Add{}
	for b, err := range f.Read(t.Context(), readSchema) {
		if err != nil {
			t.Fatal(err)
		}
		d := newCheckpointDecoder(b, &places{})
		for row := range b.Rows {
			a := d.action(row).Add
			if _, twice := got[a.Path]; twice {
				t.Fatalf("%s is there twice", a.Path)
			}
			got[a.Path] = *a
		}
	}
	return got
}

// TestEncodedFiles makes checkpoints of a table whose files come, go and are replaced: each holds the files of its snapshot.
func TestEncodedFiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var files pmap[*Add]
	var e encodedFiles
	o := parquet.WriterOptions{StatsColumns: -1}
	next := 0
	for step := range 12 {
		if step == 8 { // the table asks for other encodings from now on
			o.Encodings = parquet.EncodingsV1
		}
		for range rng.IntN(3000) {
			a := &Add{Path: strconv.Itoa(next), Size: int64(next), Stats: strings.Repeat("s", next%50), PartitionValues: PartitionValues{}}
			files = files.set(a.Path, a)
			next++
		}
		if step%3 == 2 {
			for path, a := range files.all() {
				switch rng.IntN(400) {
				case 0:
					files = files.remove(path)
				case 1:
					other := *a
					other.Size++
					files = files.set(path, &other)
				}
			}
		}
		if err := e.advance(t.Context(), files, o); err != nil {
			t.Fatal(err)
		}
		want := map[string]Add{}
		for path, a := range files.all() {
			want[path] = *a
		}
		if d := cmp.Diff(want, filesOf(t, &e)); d != "" {
			t.Fatalf("step %d (-want +got):\n%s", step, d)
		}
	}
}

// TestEncodedFilesEncodeLittle: of the 10,000 files of a hundred checkpoints each is encoded a few times, not fifty.
func TestEncodedFilesEncodeLittle(t *testing.T) {
	var files pmap[*Add]
	var e encodedFiles
	o := parquet.WriterOptions{StatsColumns: -1}
	encoded := 0
	seen := map[*parquet.Block]bool{}
	for i := range 100 {
		for j := range 100 {
			a := &Add{Path: strconv.Itoa(100*i + j)}
			files = files.set(a.Path, a)
		}
		if err := e.advance(t.Context(), files, o); err != nil {
			t.Fatal(err)
		}
		for _, p := range e.parts {
			if !seen[p.block] {
				seen[p.block] = true
				encoded += len(p.adds)
			}
		}
	}
	if n := files.len; encoded > 6*n {
		t.Errorf("%d files were encoded %d times", n, encoded)
	}
	if len(e.parts) > 8 {
		t.Errorf("%d parts", len(e.parts))
	}
}

// TestEncodedFilesAfterAnError: a checkpoint that was cut short leaves nothing behind for the next one.
func TestEncodedFilesAfterAnError(t *testing.T) {
	table := &Table{opt: Options{}.withDefaults()}
	s := &Snapshot{state: state{protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, metadata: &Metadata{}}}
	a := &Add{Path: "a", PartitionValues: PartitionValues{}}
	s.files = s.files.set(a.Path, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := table.checkpointBlocks(ctx, s); !errors.Is(err, context.Canceled) {
		t.Fatalf("a checkpoint under a cancelled context: %v", err)
	}
	for range 2 {
		blocks, rows, err := table.checkpointBlocks(t.Context(), s)
		if err != nil || rows != 3 || len(blocks) != 2 { // the file; protocol and metadata
			t.Fatalf("%d blocks of %d rows (%v)", len(blocks), rows, err)
		}
	}
}
