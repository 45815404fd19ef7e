package delta_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// peerServer is a deltalake that does what it is told.
type peerServer struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeer(t *testing.T) *peerServer {
	t.Helper()
	needPeer(t)
	// The peer ends when its input does, which is after the test's context has ended.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Getenv("WEIR_PYTHON"), filepath.Join("testdata", "peer.py"), "serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, in.Close())
		must(t, cmd.Wait())
	})
	return &peerServer{in, bufio.NewReaderSize(out, 1<<20)}
}

// peerState is a table as the peer sees it.
type peerState struct {
	Error   string
	Version int64
	Schema  []string
	Rows    []json.RawMessage
}

func (p *peerServer) do(t *rapid.T, command map[string]any) peerState {
	t.Helper()
	line, err := json.Marshal(command)
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	var answer []byte
	if err == nil {
		answer, err = p.out.ReadBytes('\n')
	}
	var state peerState
	if err == nil {
		err = json.Unmarshal(answer, &state)
	}
	if err != nil {
		t.Fatalf("peer: %v", err)
	}
	return state
}

// differ runs random operations by either side on one table.
type differ struct {
	t           *testing.T
	peer        *peerServer
	dir         string
	st          store.Store
	table       *delta.Table
	partitionBy []string
	nextID      int64
	evolved     int // columns added
	done        map[string]int
}

// rows draws some rows as columns of the peer's form.
func (d *differ) rows(t *rapid.T) (n int, columns map[string][2]any, names []string) {
	n = rapid.IntRange(1, 5).Draw(t, "rows")
	var ids, values []int64
	var texts, parts []*string
	text := rapid.Ptr(rapid.SampledFrom([]string{"x", "é/ü %", "日本=", "__", "a'b\"c", " "}), true)
	for range n {
		ids = append(ids, d.nextID)
		d.nextID++
		texts = append(texts, rapid.Ptr(rapid.StringMatching(`[a-zé\n"']{0,8}`), true).Draw(t, "s"))
		parts = append(parts, text.Draw(t, "p"))
		values = append(values, rapid.Int64().Draw(t, "value"))
	}
	columns = map[string][2]any{"id": {"int64", ids}, "s": {"string", texts}, "p": {"string", parts}}
	names = []string{"id", "s", "p"}
	if rapid.IntRange(0, 4).Draw(t, "evolve") == 0 {
		name := fmt.Sprintf("c%d", d.evolved)
		d.evolved++
		columns[name] = [2]any{"int64", values}
		names = append(names, name)
	}
	return n, columns, names
}

func (d *differ) batch(n int, columns map[string][2]any, names []string) *column.Batch {
	s := &schema.Type{Kind: schema.Struct}
	b := &column.Batch{Schema: s}
	for _, name := range names {
		kind := schema.Long
		if columns[name][0] == "string" {
			kind = schema.String
		}
		s.Fields = append(s.Fields, field(name, kind))
		v := column.New(s.Fields[len(s.Fields)-1].Type)
		switch values := columns[name][1].(type) {
		case []int64:
			for _, x := range values {
				v.AppendInt64(x)
			}
		case []*string:
			for _, x := range values {
				if x == nil {
					v.AppendNull()
				} else {
					v.AppendString(*x)
				}
			}
		}
		b.Columns = append(b.Columns, v)
	}
	b.Seal(n)
	return b
}

// append appends by weir, the schema with it.
func (d *differ) append(t *rapid.T) error {
	n, columns, names := d.rows(t)
	b := d.batch(n, columns, names)
	merged, err := schema.Merge(d.table.Snapshot().Schema(), b.Schema)
	if err != nil {
		return err
	}
	adds, err := d.table.WriteData(d.t.Context(), merged, d.partitionBy, []*column.Batch{b}, parquet.WriterOptions{})
	if err != nil {
		return err
	}
	_, err = d.table.Commit(d.t.Context(), func(_ context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
		tx := &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}
		if !merged.Equal(s.Schema()) {
			md := s.Metadata()
			md.SetSchema(merged)
			tx.Metadata = &md
		}
		return tx, nil
	})
	return err
}

// step draws and does one operation, and returns what the peer then sees.
func (d *differ) step(t *rapid.T) peerState {
	ctx := d.t.Context()
	command := map[string]any{"path": d.dir, "op": "look"}
	var err error
	op := rapid.SampledFrom([]string{
		"append", "append", "their append", "their append", "their delete", "optimize", "their compact", "their zorder",
		"checkpoint", "their checkpoint", "restore", "their restore", "vacuum", "their vacuum",
	}).Draw(t, "op")
	switch op {
	case "append":
		err = d.append(t)
	case "optimize":
		_, err = d.table.Optimize(ctx, delta.OptimizeOptions{})
	case "checkpoint":
		err = d.table.Checkpoint(ctx)
	case "vacuum":
		_, err = d.table.Vacuum(ctx, delta.VacuumOptions{Force: true})
	case "restore":
		_, err = d.table.Restore(ctx, rapid.Int64Range(0, d.table.Snapshot().Version()).Draw(t, "version"))
		if _, vacuumed := errors.AsType[*delta.MissingFileError](err); vacuumed {
			err = nil
		}
	default:
		command["op"] = op[len("their "):]
		d.theirs(t, command)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.done[op]++
	state := d.peer.do(t, command)
	if state.Error != "" && command["op"] == "restore" { // what is missing was vacuumed: nothing has changed
		state = d.peer.do(t, map[string]any{"path": d.dir, "op": "look"})
	}
	return state
}

// theirs draws the arguments of an operation of the peer.
func (d *differ) theirs(t *rapid.T, command map[string]any) {
	switch command["op"] {
	case "append":
		_, columns, _ := d.rows(t)
		command["columns"], command["partition_by"] = columns, d.partitionBy
	case "delete":
		k := rapid.IntRange(2, 5).Draw(t, "k")
		command["where"] = fmt.Sprintf("id %% %d = %d", k, rapid.IntRange(0, k-1).Draw(t, "r"))
	case "restore":
		command["version"] = rapid.Int64Range(0, d.table.Snapshot().Version()).Draw(t, "version")
	}
}

// TestDifferential lets weir and deltalake work on one table in turns. After each step both see the same table. The number
// of sequences is that of rapid's flag -rapid.checks; a failure prints the seed that repeats it.
func TestDifferential(t *testing.T) {
	peer := startPeer(t)
	base := t.TempDir()
	sequence, done := 0, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		sequence++
		d := &differ{t: t, peer: peer, dir: filepath.Join(base, strconv.Itoa(sequence)), done: done}
		d.st = localStore(t, d.dir)
		if rapid.Bool().Draw(rt, "partitioned") {
			d.partitionBy = []string{"p"}
		}
		var err error
		if rapid.Bool().Draw(rt, "their table") {
			_, columns, _ := d.rows(rt)
			if state := peer.do(rt, map[string]any{"path": d.dir, "op": "append", "columns": columns, "partition_by": d.partitionBy}); state.Error != "" {
				rt.Fatal(state.Error)
			}
			d.table, err = delta.Open(t.Context(), d.st, delta.Options{})
		} else {
			d.table, err = delta.Create(t.Context(), d.st, delta.CreateOptions{
				Schema:           structOf(field("id", schema.Long), field("s", schema.String), field("p", schema.String)),
				PartitionColumns: d.partitionBy,
			})
		}
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			d.compare(rt, d.step(rt))
		}
		done["versions"] += int(d.table.Snapshot().Version())
		if err := os.RemoveAll(d.dir); err != nil {
			rt.Fatal(err)
		}
	})
	t.Logf("%d sequences: %v", sequence, done)
}

// compare compares what both sides see: the open table, and one opened anew.
func (d *differ) compare(t *rapid.T, theirs peerState) {
	t.Helper()
	if theirs.Error != "" {
		t.Fatalf("deltalake: %s", theirs.Error)
	}
	want := make([]string, 0, len(theirs.Rows))
	for _, r := range theirs.Rows {
		want = append(want, spaced(d.t, string(r)))
	}
	slices.Sort(want)
	fresh, err := delta.Open(d.t.Context(), d.st, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := d.table.Update(d.t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*delta.Snapshot{ours, fresh.Snapshot()} {
		names := []string{}
		for _, f := range s.Schema().Fields {
			names = append(names, f.Name)
		}
		if s.Version() != theirs.Version || !slices.Equal(names, theirs.Schema) {
			t.Fatalf("version %d with columns %q, deltalake has %d with %q", s.Version(), names, theirs.Version, theirs.Schema)
		}
		if diff := cmp.Diff(want, peerRows(d.t, s)); diff != "" {
			t.Fatalf("version %d (-deltalake +weir):\n%s", s.Version(), diff)
		}
	}
}
