package delta

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// The rows of a partition are sorted along a Z-order curve: each column's value becomes its rank among a sample of the
// column's values, and the bits of the ranks are interleaved (Morton 1966), so that rows near in every column are near in
// the file. Ranks make the curve indifferent to how values are spread.
//
// Memory is bounded: the rows of a partition that needs more than is allowed are first spread over temporary files, one for
// each slice of the curve that fits (zspill.go).

// Bounds of a curve.
const (
	maxZOrderColumns = 8
	zOrderSample     = 16 << 10 // rows
	maxRankBits      = 10
)

// zOrderTag names, in the tags of a file, the columns along which its rows are sorted.
const zOrderTag = "ZORDER_BY"

// ZOrderError refuses columns for a Z-order.
type ZOrderError struct{ Column, Reason string }

func (e *ZOrderError) Error() string { return fmt.Sprintf("z-order by %s: %s", e.Column, e.Reason) }

// curve places rows on the Z-order curve.
type curve struct {
	columns []schema.Field
	bits    int
	bounds  []ladder // by column
}

func (s *Snapshot) newCurve(names []string) (*curve, error) {
	if len(names) > maxZOrderColumns {
		return nil, &ZOrderError{strings.Join(names, ","), fmt.Sprintf("at most %d columns: each further one weakens the others", maxZOrderColumns)}
	}
	c := &curve{bits: min(maxRankBits, 64/len(names)), bounds: make([]ladder, len(names))}
	for i, name := range names {
		at := slices.IndexFunc(s.schema.Fields, func(f schema.Field) bool { return f.Name == name })
		switch {
		case at < 0:
			return nil, &ZOrderError{name, "the table has no such column"}
		case slices.Contains(s.metadata.PartitionColumns, name):
			return nil, &ZOrderError{name, "it is a partition column: its values never share a file"}
		case slices.Contains(names[:i], name):
			return nil, &ZOrderError{name, "it is named twice"}
		case !sortable(s.schema.Fields[at].Type.Kind):
			return nil, &ZOrderError{name, fmt.Sprintf("a %s has no order", s.schema.Fields[at].Type)}
		}
		c.columns = append(c.columns, s.schema.Fields[at])
	}
	return c, nil
}

func sortable(k schema.Kind) bool {
	return k != schema.Struct && k != schema.Array && k != schema.Map
}

func (c *curve) schema() *schema.Type { return &schema.Type{Kind: schema.Struct, Fields: c.columns} }

// learn sets the bounds from a sample of rows.
func (c *curve) learn(sample *reservoir) {
	ranks := 1 << c.bits
	for i := range c.columns {
		values := make([]string, 0, len(sample.rows))
		for _, row := range sample.rows {
			if row[i] != nil {
				values = append(values, string(row[i]))
			}
		}
		slices.Sort(values)
		bounds := make([][]byte, 0, ranks)
		for k := 1; k < ranks; k++ {
			at := k * len(values) / ranks
			if at < len(values) && (len(bounds) == 0 || string(bounds[len(bounds)-1]) != values[at]) {
				bounds = append(bounds, []byte(values[at]))
			}
		}
		c.bounds[i] = newLadder(bounds)
	}
}

// place is where a row of a sample is on the curve.
func (c *curve) place(row [][]byte) (place uint64) {
	for i, value := range row {
		if value != nil {
			place |= spread(c.bounds[i].rank(value), len(c.columns), len(c.columns)-1-i)
		}
	}
	return place
}

// ladder is the ascending bounds of a column's ranks: a value's rank is the number of bounds at or below it.
type ladder struct {
	bounds [][]byte
	starts []uint64 // their first eight bytes, which decide most comparisons
}

func newLadder(bounds [][]byte) ladder {
	l := ladder{bounds, make([]uint64, len(bounds))}
	for i, b := range bounds {
		l.starts[i] = startOf(b)
	}
	return l
}

func startOf(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var start [8]byte
	copy(start[:], b)
	return binary.BigEndian.Uint64(start[:])
}

func (l *ladder) rank(value []byte) uint64 {
	start := startOf(value)
	low, _ := slices.BinarySearch(l.starts, start) // all before are below
	n := 0
	for low+n < len(l.starts) && l.starts[low+n] == start {
		n++
	}
	if n == 0 || len(value) <= 8 && len(l.bounds[low]) <= 8 && n == 1 && string(l.bounds[low]) <= string(value) {
		return uint64(low + n)
	}
	same := l.bounds[low : low+n]
	return uint64(low + sort.Search(n, func(k int) bool { return string(same[k]) > string(value) }))
}

// keys appends the places on the curve of all rows; the first columns of the batch are those of the curve.
func (c *curve) keys(dst []uint64, b *column.Batch) []uint64 {
	start := len(dst)
	dst = append(dst, make([]uint64, b.Rows)...)
	var value []byte
	for i := range c.columns {
		v := find(b, c.columns[i].Name)
		at := v.Positions(nil)
		for row := range b.Rows {
			rank := uint64(0) // of null
			if at[row] >= 0 {
				value = appendSortable(value[:0], v, int(at[row]))
				rank = c.bounds[i].rank(value)
			}
			dst[start+row] |= spread(rank, len(c.columns), len(c.columns)-1-i)
		}
	}
	return dst
}

// spread puts the bits of rank n apart, the lowest at offset.
func spread(rank uint64, n, offset int) (key uint64) {
	for bit := 0; rank != 0; bit++ {
		key |= (rank & 1) << (bit*n + offset)
		rank >>= 1
	}
	return key
}

// appendSortable appends value p of v as bytes that sort as the values do. Long strings are cut: they count by their start.
func appendSortable(dst []byte, v *column.Vector, p int) []byte {
	const signBit = 1 << 63
	switch v.Type.Kind {
	case schema.Boolean:
		if v.Bools[p] {
			return append(dst, 1)
		}
		return append(dst, 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return binary.BigEndian.AppendUint64(dst, uint64(int64(v.Int32s[p]))^signBit)
	case schema.Float:
		return appendSortableFloat(dst, float64(v.Float32s[p]))
	case schema.Double:
		return appendSortableFloat(dst, v.Float64s[p])
	case schema.String, schema.Binary:
		text := v.BytesAt(p)
		return append(dst, text[:min(len(text), maxSortableBytes)]...)
	case schema.Decimal:
		if v.Type.Precision > 18 {
			const wide = 16
			dst = append(dst, v.Data[p*wide:(p+1)*wide]...)
			dst[len(dst)-wide] ^= 0x80
			return dst
		}
	default:
	}
	return binary.BigEndian.AppendUint64(dst, uint64(v.Int64s[p])^signBit)
}

const maxSortableBytes = 64

func appendSortableFloat(dst []byte, x float64) []byte {
	bits := math.Float64bits(x)
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, bits)
}

// reservoir is a sample of a stream of rows, each as likely as the others (Vitter 1985, algorithm R).
type reservoir struct {
	columns []schema.Field
	rows    [][][]byte // of each row the sortable values of the columns, nil for null
	seen    int
	rand    *rand.Rand
}

func (r *reservoir) add(b *column.Batch) {
	vectors, at := make([]*column.Vector, len(r.columns)), make([][]int32, len(r.columns))
	for i, c := range r.columns {
		vectors[i] = find(b, c.Name)
		at[i] = vectors[i].Positions(nil)
	}
	for row := range b.Rows {
		r.seen++
		to := len(r.rows)
		if to < zOrderSample {
			r.rows = append(r.rows, make([][]byte, len(r.columns)))
		} else if to = r.rand.IntN(r.seen); to >= zOrderSample {
			continue
		}
		for i, v := range vectors {
			if p := at[i][row]; p >= 0 {
				r.rows[to][i] = appendSortable([]byte{}, v, int(p)) // an empty text is no null
			} else {
				r.rows[to][i] = nil
			}
		}
	}
}

// zOrder sorts the rows of each partition along the curve, a commit for each run of partitions.
func (t *Table) zOrder(ctx context.Context, s *Snapshot, o OptimizeOptions, done *OptimizeResult) error {
	if _, err := s.newCurve(o.ZOrder); err != nil {
		return err
	}
	for round := range rounds(s.unsorted(o, strings.Join(o.ZOrder, ",")), o.RoundBytes) {
		if err := t.replace(ctx, s, round, o, done); err != nil {
			return err
		}
	}
	return nil
}

// sort writes the rows of a bin along the curve.
func (w *dataWriter) sort(ctx context.Context, s *Snapshot, c *curve, b bin, o OptimizeOptions) error {
	z := &zSorter{curve: c, snap: s, files: b, out: w, options: o, tag: strings.Join(o.ZOrder, ",")}
	if err := z.sample(ctx); err != nil {
		return err
	}
	return z.run(ctx)
}

// unsorted are the files of each partition that holds one which is not sorted by tag yet, in runs below the size of a round.
func (s *Snapshot) unsorted(o OptimizeOptions, tag string) []bin {
	byPartition := map[string]bin{}
	stale := map[string]bool{}
	for _, a := range s.inOrder() {
		if o.Where == nil || o.Where(a) {
			key := partitionKey(a.PartitionValues)
			byPartition[key] = append(byPartition[key], a)
			stale[key] = stale[key] || a.Tags[zOrderTag] != tag
		}
	}
	var bins []bin
	for _, key := range slices.Sorted(maps.Keys(stale)) {
		if stale[key] {
			bins = append(bins, chunked(byPartition[key], o.RoundBytes)...)
		}
	}
	return bins
}

// chunked cuts a bin into runs of at most size bytes, at least a file each.
func chunked(b bin, size int64) (out []bin) {
	var run bin
	for _, a := range b {
		if len(run) > 0 && run.size()+a.Size > size {
			out, run = append(out, run), nil
		}
		run = append(run, a)
	}
	return append(out, run)
}

// zSorter writes the rows of one bin in the order of the curve.
type zSorter struct {
	curve   *curve
	snap    *Snapshot
	files   bin
	out     *dataWriter
	options OptimizeOptions
	tag     string

	rows        *reservoir
	rowsPerFile int
	file        *dataFile // that is being written; nil: none
	room        int       // rows that it has yet to get
}

// sample learns the curve from the rows.
func (z *zSorter) sample(ctx context.Context) error {
	z.rows = &reservoir{columns: z.curve.columns, rand: rand.New(rand.NewPCG(1, 1))} // the same files make the same curve
	err := z.each(ctx, z.curve.schema(), func(b *column.Batch) error {
		z.rows.add(b)
		return nil
	})
	z.curve.learn(z.rows)
	return err
}

// each reads the files one after the other, a batch ahead.
func (z *zSorter) each(ctx context.Context, want *schema.Type, do func(*column.Batch) error) error {
	for rows, err := range ahead(z.batches(ctx, want)) {
		if err == nil && rows.Rows > 0 {
			err = do(rows)
		}
		if err == nil {
			err = z.options.Pause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (z *zSorter) batches(ctx context.Context, want *schema.Type) iter.Seq2[*column.Batch, error] {
	return func(yield func(*column.Batch, error) bool) {
		for _, a := range z.files {
			if !z.snap.readFile(ctx, a, want, yield) {
				return
			}
		}
	}
}
