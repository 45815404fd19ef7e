package parquet

import (
	"encoding/base64"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
)

// emptyGroup is what pyarrow writes of a table without rows: a row group whose chunk has a dictionary, no data page, and the
// offset 0 for one.
const emptyGroup = "" +
	"UEFSMRUEFQAVAkwVABUAEgAAABUEGSw1ABgGc2NoZW1hFQIAFQQlAhgBYQAWABkcGRwmABwVBBklAAYZGAFhFQIWABYcFh4mACYIKRwVBBUAFQ" +
	"IAAAAWHBYAJggWHgAZHBgMQVJST1c6c2NoZW1hGKwBLy8vLy8zZ0FBQUFRQUFBQUFBQUtBQXdBQmdBRkFBZ0FDZ0FBQUFBQkJBQU1BQUFBQ0FB" +
	"SUFBQUFCQUFJQUFBQUJBQUFBQUVBQUFBVUFBQUFFQUFVQUFnQUJnQUhBQXdBQUFBUUFCQUFBQUFBQUFFQ0VBQUFBQndBQUFBRUFBQUFBQUFBQU" +
	"FFQUFBQmhBQUFBQ0FBTUFBZ0FCd0FJQUFBQUFBQUFBVUFBQUFBPQAYIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGRwcAAAANAEA" +
	"AFBBUjE="

func TestEmptyRowGroup(t *testing.T) {
	file, err := base64.StdEncoding.DecodeString(emptyGroup)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, file, structOf(optional("a", kind(schema.Long)))); len(got) != 0 {
		t.Errorf("%d batches of a file without rows", len(got))
	}
}
