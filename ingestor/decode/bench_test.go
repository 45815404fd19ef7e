package decode_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// shape makes event i of a kind of payload.
type shape struct {
	name string
	make func(r *rand.Rand, i int) []byte
}

var shapes = []shape{
	{"flat", flatEvent},
	{"nested", nestedEvent},
	{"wide", wideEvent},
}

// flatEvent is a sensor reading: 20 fields, about 960 bytes.
func flatEvent(r *rand.Rand, i int) []byte {
	cities := []string{"Wien", "Graz", "Linz", "Salzburg", "Innsbruck", "Klagenfurt"}
	e := fmt.Appendf(nil, `{"event_id":"%016x-%08x","device":"sensor-%05d","site":"plant-%02d","line":"line-%d",`, r.Uint64(), i, r.IntN(20000), r.IntN(40), r.IntN(8))
	e = fmt.Appendf(e, `"ts":"2026-11-%02dT%02d:%02d:%02d.%06dZ","seq":%d,"temperature":%.2f,"humidity":%.1f,"pressure":%.3f,`,
		1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6), i, r.Float64()*80-20, r.Float64()*100, 950+r.Float64()*100)
	e = fmt.Appendf(e, `"voltage":%.4f,"rpm":%d,"errors":%d,"ok":%t,"maintenance":%t,"firmware":"v%d.%d.%d",`,
		220+r.Float64()*20, r.IntN(12000), r.IntN(4), r.IntN(10) > 0, r.IntN(50) == 0, r.IntN(4), r.IntN(20), r.IntN(100))
	e = fmt.Appendf(e, `"city":"%s","latitude":%.6f,"longitude":%.6f,"operator":"%s",`, cities[r.IntN(len(cities))], 46+r.Float64()*3, 9+r.Float64()*8, word(r, 12))
	e = append(e, `"note":"`...)
	for len(e) < 958 {
		e = append(e, word(r, 3+r.IntN(8))...)
		e = append(e, ' ')
	}
	return append(e[:958], `"}`...)
}

// nestedEvent is of the shape of a push event of a code host: objects in objects and a list of commits.
func nestedEvent(r *rand.Rand, i int) []byte {
	person := func() map[string]any {
		login := word(r, 8)
		return map[string]any{
			"login": login, "id": r.IntN(1e8), "node_id": word(r, 20), "type": "User", "site_admin": false,
			"avatar_url": "https://avatars.example.com/u/" + login, "url": "https://api.example.com/users/" + login,
		}
	}
	commits := make([]any, 3)
	for c := range commits {
		commits[c] = map[string]any{
			"id": word(r, 40), "tree_id": word(r, 40), "distinct": true, "message": word(r, 20) + "\n\n" + word(r, 60),
			"timestamp": fmt.Sprintf("2026-11-%02dT10:00:00+01:00", 1+r.IntN(28)), "author": map[string]any{"name": word(r, 10), "email": word(r, 8) + "@example.com"},
			"added": []any{}, "removed": []any{word(r, 12)}, "modified": []any{word(r, 14), word(r, 9)},
		}
	}
	b, err := json.Marshal(map[string]any{
		"id": strconv.Itoa(i), "type": "PushEvent", "public": true, "created_at": "2026-11-23T20:15:00Z", "actor": person(),
		"repository": map[string]any{
			"id": r.IntN(1e9), "name": word(r, 10), "private": false, "owner": person(), "fork": r.IntN(2) == 0,
			"size": r.IntN(1e5), "stargazers_count": r.IntN(1e4), "language": "Go", "topics": []any{word(r, 5), word(r, 6)},
			"default_branch": "main", "license": map[string]any{"key": "apache-2.0", "name": "Apache License 2.0"},
		},
		"payload": map[string]any{"ref": "refs/heads/main", "before": word(r, 40), "after": word(r, 40), "forced": false, "commits": commits},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// wideEvent has 200 columns, a fifth of which each event leaves out.
func wideEvent(r *rand.Rand, _ int) []byte {
	e := []byte{'{'}
	for c := range 200 {
		if r.IntN(5) == 0 && c > 0 {
			continue
		}
		if len(e) > 1 {
			e = append(e, ',')
		}
		switch c % 4 {
		case 0:
			e = fmt.Appendf(e, `"column_%03d":%d`, c, r.IntN(1e6))
		case 1:
			e = fmt.Appendf(e, `"column_%03d":%.3f`, c, r.Float64()*1000)
		case 2:
			e = fmt.Appendf(e, `"column_%03d":"%s"`, c, word(r, 8))
		default:
			e = fmt.Appendf(e, `"column_%03d":%t`, c, r.IntN(2) == 0)
		}
	}
	return append(e, '}')
}

func word(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte("abcdefghijklmnopqrstuvwxyz"[r.IntN(26)])
	}
	return b.String()
}

func events(s shape, n int) (all [][]byte, size int64) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		e := s.make(r, i)
		all = append(all, e)
		size += int64(len(e))
	}
	return all, size / int64(n)
}

// batchRows is how many rows the benchmarks collect before they take a batch, as a flush does.
const batchRows = 8192

func BenchmarkDecode(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			in, size := events(s, 1024)
			d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
			appendAll := func(n int) {
				for i := range n {
					if _, rejects := d.Append(event.JSON, in[i%len(in)], decode.System{}, nil); len(rejects) > 0 {
						b.Fatal(rejects[0].Reason)
					}
					if d.Rows() == batchRows {
						d.Recycle(d.Take())
					}
				}
			}
			appendAll(3 * batchRows)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			stop := reportCPU(b)
			appendAll(b.N)
			stop()
		})
	}
}

// BenchmarkProtobuf decodes readings of a sensor, as the flat shape of test/bench/decode has them: 20 fields, 750 bytes, seven of
// ten text.
func BenchmarkProtobuf(b *testing.B) {
	p, md := protobufOf(b, `syntax = "proto3"; package t; import "google/protobuf/timestamp.proto"; message M {
		string event_id = 1; string device = 2; string site = 3; string line = 4; google.protobuf.Timestamp ts = 5; int64 seq = 6; double temperature = 7;
		double humidity = 8; double pressure = 9; double voltage = 10; int64 rpm = 11; int64 errors = 12; bool ok = 13; bool maintenance = 14;
		string firmware = 15; string city = 16; double latitude = 17; double longitude = 18; string operator = 19; string note = 20; }`, "t.M")
	r := rand.New(rand.NewPCG(1, 2))
	lengths := map[string]int{"event_id": 25, "device": 12, "site": 8, "line": 6, "firmware": 8, "city": 8, "operator": 12, "note": 540}
	var many []byte
	const records = 128
	for i := range records {
		m := dynamicpb.NewMessage(md)
		for k := range md.Fields().Len() {
			f := md.Fields().Get(k)
			switch f.Kind() {
			case protoreflect.StringKind:
				m.Set(f, protoreflect.ValueOfString(word(r, lengths[string(f.Name())])))
			case protoreflect.DoubleKind:
				m.Set(f, protoreflect.ValueOfFloat64(r.Float64()))
			case protoreflect.Int64Kind:
				m.Set(f, protoreflect.ValueOfInt64(r.Int64N(12000)))
			case protoreflect.BoolKind:
				m.Set(f, protoreflect.ValueOfBool(r.IntN(2) == 0))
			default:
				m.Set(f, protoreflect.ValueOfMessage(timestamppb.New(time.Unix(1_795_536_000+int64(i), 123_456_000)).ProtoReflect()))
			}
		}
		many = protowire.AppendBytes(many, marshal(b, m))
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
	appendAll := func(n int) {
		for range n {
			if _, rejects := d.Append(event.ProtobufMany, many, decode.System{}, nil); len(rejects) > 0 {
				b.Fatal(rejects[0].Reason)
			}
			if d.Rows() >= batchRows {
				d.Recycle(d.Take())
			}
		}
	}
	appendAll(3 * batchRows / records)
	b.SetBytes(int64(len(many) / records))
	b.ReportAllocs()
	b.ResetTimer()
	stop := reportCPU(b)
	appendAll(b.N/records + 1)
	stop()
}

func BenchmarkEncodingJSON(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			in, size := events(s, 1024)
			b.SetBytes(size)
			b.ReportAllocs()
			stop := reportCPU(b)
			for i := range b.N {
				var v map[string]any
				if err := json.Unmarshal(in[i%len(in)], &v); err != nil {
					b.Fatal(err)
				}
			}
			stop()
		})
	}
}

// BenchmarkEvolve makes a thousand columns, one record for each.
func BenchmarkEvolve(b *testing.B) {
	var records [][]byte
	for i := range decode.DefaultMaxColumns {
		records = append(records, fmt.Appendf(nil, `{"column_%d":1}`, i))
	}
	b.ReportAllocs()
	stop := reportCPU(b)
	for b.Loop() {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
		for _, r := range records {
			if n, rejects := d.Append(event.JSON, r, decode.System{}, nil); n != 1 {
				b.Fatal(rejects)
			}
		}
	}
	stop()
}
