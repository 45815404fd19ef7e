package delta_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func TestCreateOpenCommitUpdate(t *testing.T) {
	st := localStore(t, t.TempDir())
	if _, err := delta.Open(t.Context(), st, delta.Options{}); !errors.Is(err, delta.ErrNotATable) {
		t.Fatalf("open nothing: %v", err)
	}
	a := create(t, st, delta.CreateOptions{
		Schema:           structOf(field("id", schema.Long), field("day", schema.Date)),
		PartitionColumns: []string{"day"}, Name: "events", Configuration: map[string]string{"owner": "<me & you>"},
		EngineInfo: "test/1",
	})
	if _, err := delta.Create(t.Context(), st, delta.CreateOptions{Schema: oneColumn}); !errors.Is(err, delta.ErrExist) {
		t.Fatalf("create again: %v", err)
	}
	b := open(t, st, delta.Options{EngineInfo: "test/2"})
	wantSame(t, a.Snapshot(), b.Snapshot())

	add := file("day=2026-01-01/x.parquet")
	add.PartitionValues = delta.PartitionValues{"day": "2026-01-01"}
	null := file("day=__HIVE_DEFAULT_PARTITION__/y.parquet")
	null.PartitionValues = delta.PartitionValues{"day": ""}
	res := commit(t, b, fixed(delta.Transaction{
		Operation: "WRITE", BlindAppend: true, Adds: []delta.Add{add, null}, Txns: []delta.Txn{{AppID: "app", Version: 7}},
	}))
	if res.Version != 1 || res.Attempts != 1 || res.Snapshot != b.Snapshot() {
		t.Errorf("result %+v", res)
	}
	if a.Snapshot().Version() != 0 {
		t.Error("the other table moved by itself")
	}
	s, err := a.Update(t.Context())
	must(t, err)
	wantSame(t, b.Snapshot(), s)
	if v, ok := s.Txn("app"); !ok || v != 7 {
		t.Errorf("txn %d %v", v, ok)
	}
	if n, ok := s.NumRecords(); s.NumFiles() != 2 || n != 2 || !ok || s.Bytes() != 20 {
		t.Errorf("%d files, %d records, %d bytes", s.NumFiles(), n, s.Bytes())
	}
	wantSame(t, s, open(t, st, delta.Options{}).Snapshot())

	old, err := delta.OpenAt(t.Context(), st, 0)
	must(t, err)
	if old.NumFiles() != 0 || old.Version() != 0 {
		t.Errorf("version 0 has %d files", old.NumFiles())
	}
	for _, v := range []int64{2, -1} {
		if _, err := delta.OpenAt(t.Context(), st, v); err == nil {
			t.Errorf("version %d opens", v)
		}
	}
	history, err := a.History(t.Context(), 0)
	must(t, err)
	if len(history) != 2 || history[0].Operation != "WRITE" || history[0].EngineInfo != "test/2" || history[1].Version != 0 ||
		history[1].Operation != "CREATE TABLE" {
		t.Errorf("history %+v", history)
	}
}

// TestEntryBytes pins the form of a log entry.
func TestEntryBytes(t *testing.T) {
	st := store.NewMemory()
	now := func() time.Time { return time.UnixMilli(1_700_000_000_123) }
	table := create(t, st, delta.CreateOptions{
		Schema: structOf(field("a<b", schema.Long), field("p", schema.String)), PartitionColumns: []string{"p"},
		EngineInfo: "weir/test", Options: delta.Options{Now: now},
	})
	add := file("p=a%252Fb/%C3%BC.parquet")
	add.PartitionValues = delta.PartitionValues{"p": "a/b"}
	add.Stats = `{"numRecords":3}`
	gone := delta.Remove{Path: add.Path, DataChange: true, PartitionValues: add.PartitionValues, Size: 10}
	commit(t, table, fixed(delta.Transaction{
		Operation: "WRITE", Parameters: map[string]any{"mode": "Append", "partitionBy": []string{"p"}, "n": 3},
		Metrics: map[string]string{"numFiles": "1"}, Info: map[string]any{"weir": map[string]int{"n": 1}}, BlindAppend: true,
		Txns: []delta.Txn{{AppID: "app", Version: 1}}, Adds: []delta.Add{add},
	}))
	commit(t, table, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{gone}, Domains: []delta.DomainMetadata{{Domain: "d", Configuration: "{}"}}}))
	id := table.Snapshot().Metadata().ID
	want := []string{
		`{"commitInfo":{"timestamp":1700000000123,"operation":"CREATE TABLE","operationParameters":{"isManaged":"false","partitionBy":"[\"p\"]"},"isolationLevel":"Serializable","isBlindAppend":true,"operationMetrics":{},"engineInfo":"weir/test","txnId":"TXN"}}
{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"` + id + `","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"a<b\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"p\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":["p"],"configuration":{},"createdTime":1700000000123}}
`,
		`{"commitInfo":{"timestamp":1700000000123,"operation":"WRITE","operationParameters":{"mode":"Append","n":"3","partitionBy":"[\"p\"]"},"readVersion":0,"isolationLevel":"Serializable","isBlindAppend":true,"operationMetrics":{"numFiles":"1"},"engineInfo":"weir/test","txnId":"TXN","weir":{"n":1}}}
{"txn":{"appId":"app","version":1,"lastUpdated":1700000000123}}
{"add":{"path":"p=a%252Fb/%C3%BC.parquet","partitionValues":{"p":"a/b"},"size":10,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":3}"}}
`,
		`{"commitInfo":{"timestamp":1700000000123,"operation":"DELETE","operationParameters":{},"readVersion":1,"isolationLevel":"Serializable","isBlindAppend":false,"operationMetrics":{},"engineInfo":"weir/test","txnId":"TXN"}}
{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}
{"remove":{"path":"p=a%252Fb/%C3%BC.parquet","deletionTimestamp":1700000000123,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{"p":"a/b"},"size":10}}
`,
	}
	for v, text := range want {
		data, err := st.Get(t.Context(), fmt.Sprintf("_delta_log/%020d.json", v))
		must(t, err)
		if d := cmp.Diff(text, hideTxn(string(data))); d != "" {
			t.Errorf("version %d (-want +got):\n%s", v, d)
		}
	}
}

func hideTxn(entry string) string {
	before, rest, ok := strings.Cut(entry, `"txnId":"`)
	if !ok {
		return entry
	}
	return before + `"txnId":"TXN` + rest[strings.IndexByte(rest, '"'):]
}

func TestCreateRefuses(t *testing.T) {
	cols := structOf(field("id", schema.Long), field("s", schema.Struct), field("t", schema.Date))
	for name, c := range map[string]struct {
		o    delta.CreateOptions
		want string
	}{
		"no columns":        {delta.CreateOptions{Schema: structOf()}, "no column"},
		"unknown partition": {delta.CreateOptions{Schema: cols, PartitionColumns: []string{"x"}}, `"x" is not in the schema`},
		"twice":             {delta.CreateOptions{Schema: cols, PartitionColumns: []string{"t", "t"}}, "named twice"},
		"nested partition":  {delta.CreateOptions{Schema: cols, PartitionColumns: []string{"s"}}, "cannot partition"},
		"only partitions":   {delta.CreateOptions{Schema: oneColumn, PartitionColumns: []string{"id"}}, "every column is a partition"},
		"bad name":          {delta.CreateOptions{Schema: structOf(field("a b", schema.Long))}, "contains ' '"},
		"ntz":               {delta.CreateOptions{Schema: structOf(field("a", schema.TimestampNTZ))}, "timestampNtz"},
		"unknown feature":   {delta.CreateOptions{Schema: cols, Features: []string{"rowTracking"}}, "uses rowTracking"},
		"constraint":        {delta.CreateOptions{Schema: cols, Configuration: map[string]string{"delta.constraints.c": "id % 2 = 0"}}, "CHECK constraint c"},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			_, err := delta.Create(t.Context(), st, c.o)
			if !delta.IsReject(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
			if _, err := delta.Open(t.Context(), st, delta.Options{}); !errors.Is(err, delta.ErrNotATable) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

func TestCreateRaces(t *testing.T) {
	st := store.NewMemory()
	var wg sync.WaitGroup
	var won, lost sync.Map
	for i := range 16 {
		wg.Go(func() {
			table, err := delta.Create(t.Context(), st, delta.CreateOptions{Schema: oneColumn, Name: strconv.Itoa(i)})
			switch {
			case err == nil:
				won.Store(table.Snapshot().Metadata().Name, true)
			case errors.Is(err, delta.ErrExist):
				lost.Store(i, true)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
	if count(&won) != 1 || count(&lost) != 15 {
		t.Errorf("%d won, %d lost", count(&won), count(&lost))
	}
	if _, ok := won.Load(open(t, st, delta.Options{}).Snapshot().Metadata().Name); !ok {
		t.Error("the table is not the winner's")
	}
}

func TestCommitInfoOfAnyForm(t *testing.T) {
	for _, in := range []string{
		`{}`,
		`{"timestamp":"yesterday","operation":7,"operationParameters":[1],"operationMetrics":{"a":1,"b":"x","c":null},"txnId":"i"}`,
		`{"timestamp":5,"operationParameters":{"p":{"q":[1]},"r":"s"},"readVersion":1.0,"custom":{"deep":[{}]}}`,
	} {
		var c delta.CommitInfo
		must(t, json.Unmarshal([]byte(in), &c))
		out, err := json.Marshal(&c)
		must(t, err)
		var again delta.CommitInfo
		must(t, json.Unmarshal(out, &again))
		if c.Operation != again.Operation || c.TxnID != again.TxnID {
			t.Errorf("%s came back as %s", in, out)
		}
	}
	var c delta.CommitInfo
	must(t, json.Unmarshal([]byte(`{"operationParameters":{"p":{"q":[1]},"r":"s"},"job":{"id":1}}`), &c))
	if d := cmp.Diff(map[string]string{"p": `{"q":[1]}`, "r": "s"}, c.Parameters); d != "" {
		t.Error(d)
	}
	if string(c.Other["job"]) != `{"id":1}` {
		t.Errorf("other members: %s", c.Other)
	}
	if err := json.Unmarshal([]byte(`[1]`), &c); err == nil {
		t.Error("an array is taken for a commitInfo")
	}
}

func TestClosedTable(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{})
	must(t, table.Close(t.Context()))
	if _, err := table.Commit(t.Context(), appending("a")); !errors.Is(err, delta.ErrClosed) {
		t.Errorf("commit after close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("update with a cancelled context: %v", err)
	}
}

func TestCreateWithFeatures(t *testing.T) {
	dir := t.TempDir()
	table := create(t, localStore(t, dir), delta.CreateOptions{
		Schema:        structOf(field("at", schema.TimestampNTZ), field("id", schema.Long)),
		Features:      []string{"timestampNtz", "inCommitTimestamp"},
		Configuration: map[string]string{"delta.enableInCommitTimestamps": "true"},
	})
	want := delta.Protocol{
		MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"timestampNtz"},
		WriterFeatures: []string{"appendOnly", "invariants", "timestampNtz", "inCommitTimestamp"},
	}
	if d := cmp.Diff(want, table.Snapshot().Protocol()); d != "" {
		t.Errorf("protocol (-want +got):\n%s", d)
	}
	b := column.NewBatch(table.Snapshot().Schema())
	b.Columns[0].AppendInt64(-1)
	b.Seal(1)
	write(t, table, b)
	must(t, table.Checkpoint(t.Context()))
	wantSame(t, table.Snapshot(), open(t, table.Store(), delta.Options{}).Snapshot())
	if os.Getenv("WEIR_PYTHON") != "" {
		if d := cmp.Diff(peerRows(t, table.Snapshot()), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
	}
	md := table.Snapshot().Metadata()
	delete(md.Configuration, "delta.enableInCommitTimestamps")
	if _, err := table.Commit(t.Context(), fixed(delta.Transaction{Operation: "SET", Metadata: &md})); !delta.IsReject(err) {
		t.Errorf("in-commit timestamps can be turned off: %v", err)
	}
}

// TestARemovedTableIsNotWrittenInto: the put of version 2 would succeed in an empty directory, and in the log of a table
// that was made anew; neither has the version 1 that it follows.
func TestARemovedTableIsNotWrittenInto(t *testing.T) {
	for name, again := range map[string]bool{"removed": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			st := localStore(t, dir)
			options := delta.CreateOptions{Schema: structOf(field("id", schema.Long))}
			tab := create(t, st, options)
			commit(t, tab, appending("a"))
			if err := os.RemoveAll(filepath.Join(dir, "_delta_log")); err != nil {
				t.Fatal(err)
			}
			if again {
				commit(t, create(t, st, options), appending("b"))
			}
			_, err := tab.Commit(t.Context(), appending("c"))
			if !errors.Is(err, delta.ErrTableRecreated) || !delta.IsFatal(err) {
				t.Fatalf("commit into the log of another table: %v", err)
			}
			if _, err := st.Get(t.Context(), "_delta_log/00000000000000000002.json"); !errors.Is(err, store.ErrNotExist) {
				t.Fatalf("version 2 was written: %v", err)
			}
		})
	}
}
