package commit

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// batchOf is a batch of one row with n in column name.
func batchOf(name string, n int64) *column.Batch {
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: name, Type: &schema.Type{Kind: schema.Long}, Nullable: true}}}
	b := column.NewBatch(s)
	b.Columns[0].AppendInt64(n)
	b.Seal(1)
	return b
}

func newLocal(t *testing.T, st store.Store, partitionBy ...string) *Local {
	t.Helper()
	l, err := NewLocal(t.Context(), Settings{Store: st, PartitionBy: partitionBy, Engine: "weir/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

// write writes b and returns its submission.
func write(t *testing.T, l *Local, b *column.Batch) *Submission {
	t.Helper()
	s := &Submission{Schema: b.Schema, Rows: int64(b.Rows)}
	if err := l.Write(t.Context(), s, []*column.Batch{b}); err != nil {
		t.Fatal(err)
	}
	return s
}

func submit(t *testing.T, l *Local, s *Submission) Verdict {
	t.Helper()
	v, err := l.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheFirstFilesMakeTheTable(t *testing.T) {
	st := store.NewMemory()
	l := newLocal(t, st, "day")
	if l.Version() != -1 || l.Schema() != nil {
		t.Fatalf("before the first file: version %d", l.Version())
	}
	if v := submit(t, l, &Submission{}); v.Version != -1 {
		t.Fatalf("a submission without files made version %d", v.Version)
	}
	if v := submit(t, l, write(t, l, batchOf("a", 1))); v.Version != 1 {
		t.Fatalf("%+v", v)
	}
	if f, ok := l.Schema().Field("day"); !ok || f.Type.Kind != schema.String {
		t.Fatalf("a partition column that no record had: %v", l.Schema())
	}
	second := newLocal(t, st, "day") // the second start
	if v := submit(t, second, write(t, second, batchOf("b", 2))); v.Version != 2 {
		t.Fatalf("%+v", v)
	}
	if got := second.Schema().String(); got != "struct<a:long,day:string,b:long>" {
		t.Fatalf("schema %s", got)
	}
}

// TestPropertiesOfANewTable: what a pipeline asks for that others have to know stands in the table.
func TestPropertiesOfANewTable(t *testing.T) {
	for _, set := range []Settings{{}, {ChangeFeed: true}, {Parquet: parquet.WriterOptions{Encodings: parquet.EncodingsV1}}} {
		want := map[string]string{}
		if set.ChangeFeed {
			want["delta.enableChangeDataFeed"] = "true"
		}
		if set.Parquet.Encodings == parquet.EncodingsV1 {
			want["delta.parquet.format.version"] = "1.0.0"
		}
		set.Store, set.Engine = store.NewMemory(), "weir/test"
		l, err := NewLocal(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		submit(t, l, write(t, l, batchOf("a", 1)))
		if diff := cmp.Diff(want, l.table.Load().Snapshot().Metadata().Configuration); diff != "" {
			t.Errorf("properties (-want +got):\n%s", diff)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAnotherPartitioningIsRefused(t *testing.T) {
	st := store.NewMemory()
	l := newLocal(t, st, "day")
	submit(t, l, write(t, l, batchOf("a", 1)))
	_, err := NewLocal(t.Context(), Settings{Store: st, PartitionBy: []string{"hour"}})
	if err == nil || !strings.Contains(err.Error(), "partitionBy") {
		t.Fatal(err)
	}
	newLocal(t, st) // no wish takes the table's
}

// TestATableThatCannotBeWrittenIsRefusedAtTheStart and not at the first commit.
func TestATableThatCannotBeWrittenIsRefusedAtTheStart(t *testing.T) {
	st := store.NewMemory()
	l := newLocal(t, st)
	submit(t, l, write(t, l, batchOf("a", 1)))
	err := st.PutIfAbsent(t.Context(), "_delta_log/00000000000000000002.json", []byte(
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[],"writerFeatures":["fromTheFuture"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewLocal(t.Context(), Settings{Store: st})
	if e, ok := errors.AsType[*delta.UnsupportedFeatureError](err); !ok || !strings.Contains(e.Error(), "fromTheFuture") {
		t.Fatal(err)
	}
}

// TestAMovedSchema: another writer took the column for text.
func TestAMovedSchema(t *testing.T) {
	st := store.NewMemory()
	ours := newLocal(t, st)
	submit(t, ours, write(t, ours, batchOf("a", 1)))
	theirs := newLocal(t, st)
	s := column.NewBatch(&schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "b", Type: &schema.Type{Kind: schema.String}, Nullable: true}}})
	s.Columns[0].AppendString("text")
	s.Seal(1)
	submit(t, theirs, write(t, theirs, s))
	v := submit(t, ours, write(t, ours, batchOf("b", 2)))
	if f, ok := v.NewerSchema.Field("b"); !ok || f.Type.Kind != schema.String {
		t.Fatalf("%+v", v)
	}
}

// lossy is a store that loses the answer of a put: the object is there, the caller hears of an outage.
type lossy struct {
	store.Store
	lose int
}

var errLost = errors.New("the answer was lost")

func (s *lossy) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	err := s.Store.PutIfAbsent(ctx, key, data)
	if s.lose > 0 && err == nil {
		s.lose--
		return errLost
	}
	return err
}

func (s *lossy) Get(ctx context.Context, key string) ([]byte, error) {
	if s.lose > 0 && strings.HasSuffix(key, "2.json") {
		return nil, errLost
	}
	return s.Store.Get(ctx, key)
}

// TestASubmissionIsCommittedOnce although its first try is reported as failed after it landed.
func TestASubmissionIsCommittedOnce(t *testing.T) {
	st := &lossy{Store: store.NewMemory()}
	l := newLocal(t, st)
	submit(t, l, write(t, l, batchOf("a", 1)))
	sub := write(t, l, batchOf("a", 2))
	st.lose = 2
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := l.Submit(ctx, sub); err == nil {
			break
		}
		ctx = t.Context()
	}
	if n, ok := l.table.Load().Snapshot().NumRecords(); !ok || n != 2 || l.Version() != 2 {
		t.Fatalf("%d rows in version %d", n, l.Version())
	}
}

// late is a store that carries out the put of a log entry only after its caller has given up.
type late struct {
	store.Store
	hold bool
	puts map[string][]byte // by key, the first of each
}

func (s *late) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if !s.hold {
		return s.Store.PutIfAbsent(ctx, key, data)
	}
	if s.puts[key] == nil {
		s.puts[key] = data
	}
	return errLost
}

// TestALateCommitIsNotMadeTwice: the put of a submission lands after it was given up, and its file is packed into another
// one before the submission is tried again.
func TestALateCommitIsNotMadeTwice(t *testing.T) {
	st := &late{Store: store.NewMemory(), puts: map[string][]byte{}}
	l := newLocal(t, st)
	submit(t, l, write(t, l, batchOf("a", 1)))
	sub := write(t, l, batchOf("a", 2))
	st.hold = true
	if _, err := l.Submit(t.Context(), sub); !errors.Is(err, errLost) {
		t.Fatalf("got %v, want an unknown outcome", err)
	}
	st.hold = false
	for key, data := range st.puts {
		if err := st.PutIfAbsent(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
	other, err := delta.Open(t.Context(), st.Store, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := other.Optimize(t.Context(), delta.OptimizeOptions{})
	if err != nil || done.FilesRemoved != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if v := submit(t, l, sub); v.Version != 2 {
		t.Errorf("committed in version %d, not in that of the first try", v.Version)
	}
	if n, ok := l.table.Load().Snapshot().NumRecords(); !ok || n != 2 || l.Version() != 3 {
		t.Errorf("%d rows in version %d", n, l.Version())
	}
}

// TestTheTableOfAnotherWriter that was made first is checked as one that was there at the start.
func TestTheTableOfAnotherWriter(t *testing.T) {
	st := store.NewMemory()
	first, second := newLocal(t, st, "day"), newLocal(t, st, "hour")
	submit(t, first, write(t, first, batchOf("a", 1)))
	b := batchOf("a", 2)
	err := second.Write(t.Context(), &Submission{Schema: b.Schema, Rows: 1}, []*column.Batch{b})
	if err == nil || !strings.Contains(err.Error(), "is partitioned by [day] and the pipeline says partitionBy [hour]") {
		t.Error(err)
	}
}
