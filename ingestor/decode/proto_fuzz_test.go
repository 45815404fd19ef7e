package decode_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// edited changes b as edits say, three bytes each: where, how, with what.
func edited(b, edits []byte) []byte {
	for ; len(edits) >= 3 && len(b) > 0; edits = edits[3:] {
		at := int(edits[0]) * len(b) / 256
		switch edits[1] % 5 {
		case 0:
			b[at] = edits[2]
		case 1:
			b = append(b[:at], b[at+1:]...)
		case 2:
			b = append(b[:at], append([]byte{edits[2]}, b[at:]...)...)
		case 3:
			b = b[:at]
		default: // a part of it once more
			from := int(edits[2]) * at / 256
			b = append(b, b[from:at]...)
		}
	}
	return b
}

// FuzzProtobuf compares with dynamicpb what is accepted and what comes out: random messages with edits, and raw bytes.
func FuzzProtobuf(f *testing.F) {
	p, md := protobufOf(f, allProto, "t.All")
	for i := range uint64(8) {
		f.Add(i, []byte(nil), []byte(nil))
		f.Add(i, []byte{byte(i * 30), byte(i), byte(i * 7), 200, 4, 100}, []byte(nil))
	}
	f.Add(uint64(0), []byte(nil), []byte{0x0a, 3, 8, 1, 0x10})
	f.Fuzz(func(t *testing.T, seed uint64, edits, raw []byte) {
		if len(raw) > 1<<15 || len(edits) > 64 {
			return
		}
		b := raw
		if len(b) == 0 {
			b = edited(marshal(t, randomMessage(rand.New(rand.NewPCG(seed, 1)), md, 4, false)), edits)
		}
		m := dynamicpb.NewMessage(md)
		told, err := unmarshal(b, m)
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
		n, rejects := d.Append(event.Protobuf, b, decode.System{}, nil)
		for _, r := range rejects {
			checkReason(t, r.Reason)
		}
		switch {
		case !told:
		case n == 1 && err != nil:
			t.Fatalf("accepted what dynamicpb refuses: %v", err)
		case n == 0 && err == nil && !strictly(rejects[0].Reason):
			t.Fatalf("refused what dynamicpb accepts: %v", rejects)
		}
		estimate, batch := d.Bytes(), d.Take()
		checkBatch(t, batch)
		if used := usedBytes(batch.Columns); estimate != used {
			t.Fatalf("Bytes() said %d, the sealed batch uses %d", estimate, used)
		}
		if told && n == 1 && batch.Schema.Index("_rescued") < 0 {
			want := protoRow(m)
			if diff := cmp.Diff(any(want), marked(want, batch.Row(0)), cmpopts.EquateNaNs()); diff != "" {
				t.Fatalf("(-dynamicpb +weir):\n%s", diff)
			}
		}
		d.Recycle(batch)
		if again, _ := d.Append(event.ProtobufMany, b, decode.System{}, nil); again > 0 {
			checkBatch(t, d.Take())
		}
		if n == 1 {
			checkElsewhere(t, p, b)
		}
	})
}

// unmarshal is proto.Unmarshal. told is false when that panics, as it does in v1.36.12 over some malformed entries of maps
// (testdata/fuzz/FuzzProtobuf): then nobody says what is right.
func unmarshal(b []byte, m proto.Message) (told bool, err error) {
	defer func() { told = recover() == nil }()
	return true, proto.Unmarshal(b, m)
}

// strictly says whether weir has a reason of its own to refuse a record.
func strictly(reason string) bool {
	for _, part := range []string{"nest", "too many slots", "UTF-8"} {
		if strings.Contains(reason, part) {
			return true
		}
	}
	return false
}

// checkElsewhere decodes a record that is valid into a table that fits it nowhere: nothing of it may be lost.
func checkElsewhere(t *testing.T, p *decode.Protobuf, b []byte) {
	t.Helper()
	for _, o := range []decode.Options{{Protobuf: p, OnUnknown: decode.RescueUnknown}, {Protobuf: p, MaxColumns: 5}} {
		d := decode.NewDecoder(decode.NewSchema(everyType(), o))
		n, rejects := d.Append(event.Protobuf, b, decode.System{}, nil)
		if n == 0 && !strictly(rejects[0].Reason) && !strings.Contains(rejects[0].Reason, "NOT NULL") {
			t.Fatal(rejects)
		}
		checkBatch(t, d.Take())
	}
}
