package interop

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/harness"
)

// account is a row that changes.
type account struct {
	ID    int64  `json:"id"`
	At    int64  `json:"at"`
	Op    string `json:"op"`
	Owner string `json:"owner"`
}

// accounts makes the changes of some accounts, late ones and repetitions among them, and says what must be left.
func accounts(n int) (changes []account, left map[int64]account) {
	rng := rand.New(rand.NewPCG(1, 2))
	last := map[int64]account{}
	for i := range n {
		a := account{ID: rng.Int64N(int64(n / 8)), At: int64(n + i - rng.IntN(n/2)), Op: "u", Owner: fmt.Sprintf("owner %d é", i)}
		switch rng.IntN(10) {
		case 0, 1:
			a.Op = "d"
		case 2, 3:
			a.Op = "c"
		}
		changes = append(changes, a)
		if old, ok := last[a.ID]; !ok || a.At >= old.At {
			last[a.ID] = a
		}
	}
	for id, a := range last {
		if a.Op == "d" {
			delete(last, id)
		}
	}
	return changes, last
}

// TestMergedTables sends inserts, updates, deletes and late updates to `weir run`, to a table of plain files and to one with
// deletion vectors. Once all is acknowledged, Spark and deltalake read exactly the rows that must be left.
func TestMergedTables(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	changes, left := accounts(4000)
	want := filepath.Join(t.TempDir(), "want")
	writeAccounts(t, want, left)
	tables := []string{want}
	for _, marks := range []bool{false, true} {
		w := runWeir(t, harness.Pipeline{
			Spec: "  identity: {key: [id], sequence: at, op: {field: op}}\n",
			Sink: fmt.Sprintf("      mode: Merge\n      merge: {deletionVectors: %v}\n      batch: {maxRecords: 400, maxAge: 200ms}\n", marks),
		})
		sendAccounts(t, w, changes)
		stop(t, w)
		tables = append(tables, w.Table)
	}
	spark := sparkRows(t, p, tables...)
	if spark[0].Rows != int64(len(left)) {
		t.Fatalf("spark reads %d expected rows, want %d", spark[0].Rows, len(left))
	}
	for i, table := range tables {
		same(t, "spark, of table "+table, spark[i], spark[0])
		if i < 2 { // of deletion vectors deltalake's way by pyarrow knows nothing; by SQL it does, see delta/mergepeer_test.go
			same(t, "deltalake, of table "+table, pythonRows(t, p, "deltalake", table), spark[0])
		}
	}
	table, err := delta.Open(t.Context(), localStore(t, tables[2]), delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for a := range table.Snapshot().Files() {
		if a.DeletionVector != nil {
			marked++
		}
	}
	if marked == 0 {
		t.Error("no file has a deletion vector: nothing was shown about them")
	}
}

func sendAccounts(t *testing.T, w *harness.Weir, changes []account) {
	t.Helper()
	c, err := client.Dial(t.Context(), "127.0.0.1:"+w.Port(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStream(t.Context(), client.StreamOptions{OnReject: func(r client.Reject) { t.Errorf("rejected: %+v", r) }})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range changes {
		b, err := json.Marshal(a)
		if err == nil {
			_, err = s.Send(t.Context(), b)
		}
		if err == nil && i%500 == 499 { // so that there are several commits
			err = s.Flush(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	unacked, err := s.Close(t.Context())
	if err != nil || len(unacked) > 0 {
		t.Fatalf("%d unacknowledged: %v", len(unacked), err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func localStore(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := store.NewLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// writeAccounts appends the rows to a new table.
func writeAccounts(t *testing.T, dir string, rows map[int64]account) {
	t.Helper()
	s := &schema.Type{Kind: schema.Struct}
	for name, kind := range map[string]schema.Kind{"id": schema.Long, "at": schema.Long, "owner": schema.String} {
		s.Fields = append(s.Fields, schema.Field{Name: name, Type: &schema.Type{Kind: kind}, Nullable: true})
	}
	b := column.NewBatch(s)
	for _, a := range rows {
		b.Columns[s.Index("id")].AppendInt64(a.ID)
		b.Columns[s.Index("at")].AppendInt64(a.At)
		b.Columns[s.Index("owner")].AppendString(a.Owner)
	}
	b.Seal(len(rows))
	table, err := delta.Create(t.Context(), localStore(t, dir), delta.CreateOptions{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Merge(t.Context(), []*column.Batch{b}, delta.MergeOptions{Key: []string{"id"}, Parquet: parquet.WriterOptions{}}); err != nil {
		t.Fatal(err)
	}
}
