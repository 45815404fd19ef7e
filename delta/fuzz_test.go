package delta

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzLogLine: whatever a line of the log holds, parsing ends in an action that can be written and read again, or in an
// error.
func FuzzLogLine(f *testing.F) {
	for _, line := range []string{
		`{"commitInfo":{"timestamp":1,"operation":"WRITE","operationParameters":{"mode":"Append"},"operationMetrics":{"a":"1"}}}`,
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["x"],"writerFeatures":[]}}`,
		`{"metaData":{"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["p"],"configuration":{"a":"b"},"createdTime":1}}`,
		`{"add":{"path":"p=1/a%20b","partitionValues":{"p":null,"q":"1"},"size":1,"modificationTime":1,"dataChange":true,"stats":"{}","tags":{"a":"b"},"deletionVector":{"storageType":"i","pathOrInlineDv":"x","offset":1,"sizeInBytes":2,"cardinality":3}}}`,
		`{"remove":{"path":"file:///a","deletionTimestamp":200,"dataChange":false}}`,
		`{"txn":{"appId":"a","version":1,"lastUpdated":2}}`,
		`{"domainMetadata":{"domain":"d","configuration":"c","removed":true}}`,
		`{"cdc":{"path":"x"}}`, `{}`, `null`, `{"add":null}`, `{"add":{"size":1e99}}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseEntry(1, line)
		if err != nil {
			return
		}
		var s state
		for i := range e.actions {
			s.apply(&e.actions[i])
		}
		_ = s.settle()
		e.info()
		data, err := encodeActions(e.actions)
		if err != nil {
			t.Fatalf("does not encode: %v", err)
		}
		again, err := parseEntry(1, data)
		if err != nil {
			t.Fatalf("%s does not parse again: %v", data, err)
		}
		twice, err := encodeActions(again.actions)
		if err != nil || !bytes.Equal(data, twice) {
			t.Fatalf("(-once +twice, %v):\n%s", err, cmp.Diff(string(data), string(twice)))
		}
	})
}

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"a", "p=a%2Fb/é", "file:///x", "%", "%zz", "..", "a//b", "s3://b/k", "c:d/e"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		key, err := DataKey(path)
		if err != nil {
			return
		}
		again, err := DataKey(encodePath(key))
		if err != nil || again != key {
			t.Fatalf("key %q is encoded as %q and read as %q (%v)", key, encodePath(key), again, err)
		}
		if identity(encodePath(key)) != identity(path) {
			t.Fatalf("%q and %q name one file but differ", path, encodePath(key))
		}
	})
}

// FuzzAddLine: what the fast parser of add actions takes, encoding/json takes for the same.
func FuzzAddLine(f *testing.F) {
	for _, line := range []string{
		`{"add":{"path":"p=1/a%20b","partitionValues":{"p":null,"q":"1"},"size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}","tags":{"a":"b"}}}`,
		`{"add":{"path":"x\u00e4\n\\","partitionValues":{},"size":0,"modificationTime":-1,"dataChange":false,"stats":null,"tags":null}}`,
		`{"add":{"path":"a","path":"b"}}`, `{"add":{"Path":"a"}}`, `{"add":{"path":"a","size":01}}`, `{"add":{}}`, `{"add":{"path":"a"}} `,
		`{"add":{"path":"a"},"remove":null}`, `{"add":{"path":"a","partitionValues":{"a":"1","a":"2"}}}`, "{\"add\":{\"path\":\"\xff\"}}",
		`{"add":{"path":"\ud800","size":9223372036854775808}}`, `{"add":{"path":"a\`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got, ok := parseAdd(line)
		if !ok {
			return
		}
		var want action
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("%q is taken, though %v", line, err)
		}
		if diff := cmp.Diff(action{Add: got}, want); diff != "" {
			t.Fatalf("%q (-fast +encoding/json):\n%s", line, diff)
		}
		if n, ok := leadingRecords(got.Stats); ok {
			var stats struct{ NumRecords *int64 }
			if json.Valid([]byte(got.Stats)) && (json.Unmarshal([]byte(got.Stats), &stats) != nil || *stats.NumRecords != n) && strings.Count(strings.ToLower(got.Stats), `"numrecords"`) == 1 {
				t.Fatalf("%d rows in %s", n, got.Stats)
			}
		}
	})
}

// TestAddLinesAreTaken: the fast parser takes what weir writes, or it would be of no use.
func TestAddLinesAreTaken(t *testing.T) {
	a := &Add{
		Path: "day=1/part-00000.parquet", PartitionValues: PartitionValues{"day": "1", "none": ""}, Size: 123, ModificationTime: 1_760_000_000_000,
		DataChange: true, Stats: `{"numRecords":10,"minValues":{"a":"x\"y\\z"}}`, Tags: map[string]string{"ZORDER_BY": "a,b"},
	}
	line, err := encodeActions([]action{{Add: a}})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := parseAdd(bytes.TrimSpace(line))
	if diff := cmp.Diff(a, got); !ok || diff != "" {
		t.Fatalf("taken: %t, (-written +read):\n%s", ok, diff)
	}
	if n, ok := got.NumRecords(); !ok || n != 10 {
		t.Fatalf("%d rows", n)
	}
}
