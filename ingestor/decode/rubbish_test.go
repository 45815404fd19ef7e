package decode

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weir-dev/weir/ingestor/event"
)

// TestAPayloadOfRubbish is given up after a bounded number of malformed records; what was good before it is taken.
func TestAPayloadOfRubbish(t *testing.T) {
	d := NewDecoder(NewSchema(nil, Options{}))
	payload := append([]byte("{\"a\":1}\n"), bytes.Repeat([]byte("x\n"), 1_000_000)...)
	payload = append(payload, "{\"a\":2}\n"...)
	accepted, rejects := d.Append(event.NDJSON, payload, System{}, nil)
	if accepted != 1 || d.Rows() != 1 || len(rejects) != maxRejects+1 {
		t.Fatalf("%d accepted, %d rows, %d rejects", accepted, d.Rows(), len(rejects))
	}
	last := rejects[maxRejects]
	if last.Row != maxRejects+1 || !strings.Contains(last.Reason, "1000 records") || !strings.Contains(last.Reason, "999000 lines") || len(last.Reason) > 256 {
		t.Fatalf("the last reject is %+v", last)
	}
}
