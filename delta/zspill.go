package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// run sorts the rows in memory if they fit. If not it cuts the curve into slices that do, spreads the rows over temporary
// files, one a slice, and sorts one after the other: each row is read twice and written twice, however many slices there are.
func (z *zSorter) run(ctx context.Context) error {
	cuts, err := z.plan(ctx)
	if err != nil || len(cuts) == 0 {
		return err
	}
	first := len(z.out.adds)
	if len(cuts) == 1 {
		err = z.sortAll(ctx)
	} else {
		err = z.sortSlices(ctx, cuts)
	}
	switch {
	case err == nil:
		err = z.close()
	case z.file != nil:
		err = errors.Join(err, z.file.abort())
	}
	for i := range z.out.adds[first:] {
		z.out.adds[first+i].Tags = map[string]string{zOrderTag: z.tag}
	}
	return err
}

// stored are the columns that are in the files.
func (z *zSorter) stored() *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: z.out.fields}
}

// zBuckets is into how many equal parts of the curve rows are counted to find the slices.
const zBuckets = 1 << 12

// plan returns the ascending places on the curve at which a slice begins, by the sample; none if there are no rows.
func (z *zSorter) plan(ctx context.Context) ([]uint64, error) {
	if z.rows.seen == 0 {
		return nil, nil
	}
	shift := max(0, z.curve.bits*len(z.curve.columns)-12)
	var rows [zBuckets]int
	for _, row := range z.rows.rows {
		rows[z.curve.place(row)>>shift]++
	}
	files := max(1, (z.files.size()+z.options.TargetSize/2)/z.options.TargetSize)
	z.rowsPerFile = int((int64(z.rows.seen) + files - 1) / files)
	perRow, err := z.rowBytes(ctx)
	if err != nil {
		return nil, err
	}
	fits := max(1, z.options.Memory/3/perRow) // rows as read, gathered and as they leave
	cuts, held := []uint64{0}, 0
	for i, n := range rows {
		if held > 0 && int64(held+n)*int64(z.rows.seen)/int64(len(z.rows.rows)) > fits {
			cuts, held = append(cuts, uint64(i)<<shift), 0
		}
		held += n
	}
	return cuts, nil
}

var errEnough = errors.New("enough")

// rowBytes is about how much memory a row takes, by the first few thousand of the first, the middle and the last file.
func (z *zSorter) rowBytes(ctx context.Context) (int64, error) {
	var rows, bytes int64
	for _, i := range []int{0, len(z.files) / 2, len(z.files) - 1} {
		one := zSorter{snap: z.snap, files: z.files[i : i+1], options: z.options}
		err := one.each(ctx, z.stored(), func(b *column.Batch) error {
			rows += int64(b.Rows)
			bytes += b.Bytes()
			return errEnough
		})
		if err != nil && !errors.Is(err, errEnough) {
			return 0, err
		}
	}
	return bytes/max(1, rows) + 1, nil
}

// placed are rows with their places on the curve.
type placed struct {
	rows   *column.Batch
	places []uint64
}

// sortAll sorts what fits into the memory.
func (z *zSorter) sortAll(ctx context.Context) error {
	p := placed{rows: column.NewBatch(z.stored())}
	err := z.each(ctx, z.stored(), func(b *column.Batch) error {
		p.places = z.curve.keys(p.places, b)
		p.rows.AppendBatch(b)
		if p.rows.Rows == b.Rows { // the first
			p.rows.Reserve(z.rows.seen)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return z.write(ctx, p)
}

// write writes rows in the order of their places, behind those of the slice before, and begins another file when one has the
// rows of the target size.
func (z *zSorter) write(ctx context.Context, p placed) error {
	order := make([]int, len(p.places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.places[a], p.places[b]) })
	for len(order) > 0 {
		if z.file == nil {
			z.file, z.room = z.out.begin(z.files[0].PartitionValues, math.MaxInt64), z.rowsPerFile
		}
		n := min(z.room, len(order))
		err := z.file.add(ctx, p.rows.Gather(order[:n]))
		if err == nil {
			err = z.file.flush()
		}
		order, z.room = order[n:], z.room-n
		if err == nil && z.room == 0 {
			err = z.close()
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

// close ends the file that is being written.
func (z *zSorter) close() error {
	f := z.file
	z.file = nil
	if f == nil {
		return nil
	}
	return f.close()
}

// placeColumn holds the places in a temporary file. No column of a table can have this name.
const placeColumn = "\x00place"

// sortSlices spreads the rows over temporary files and sorts these.
func (z *zSorter) sortSlices(ctx context.Context, cuts []uint64) (err error) {
	dir, err := os.MkdirTemp("", "weir-zorder-")
	if err != nil {
		return fmt.Errorf("z-order needs room for temporary files (TMPDIR): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &spills{schema: z.stored(), memory: z.options.Memory / 3, cuts: cuts, slices: make([]*spill, len(cuts))}
	s.schema.Fields = append(slices.Clip(s.schema.Fields), schema.Field{Name: placeColumn, Type: &schema.Type{Kind: schema.Long}})
	defer func() { err = errors.Join(err, s.close()) }()
	for i := range s.slices {
		if s.slices[i], err = s.open(dir); err != nil {
			return err
		}
	}
	var keys []uint64
	err = z.each(ctx, z.stored(), func(b *column.Batch) error {
		keys = z.curve.keys(keys[:0], b)
		return s.add(b, keys)
	})
	for i := 0; i < len(s.slices) && err == nil; i++ {
		var p placed
		if p, err = s.slices[i].read(ctx, s.schema); err == nil {
			err = z.write(ctx, p)
		}
	}
	return err
}

// spills are the temporary files of a sort.
type spills struct {
	schema *schema.Type // of the rows, with their places
	memory int64        // bytes of rows held before they are written
	cuts   []uint64
	slices []*spill
	held   int64
	picked [][]int
}

// spill is the rows of one slice.
type spill struct {
	file *os.File
	out  *parquet.Writer
	held []*column.Batch
}

func (s *spills) open(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "slice-")
	if err != nil {
		return nil, fmt.Errorf("z-order: %w", err)
	}
	out, err := parquet.NewWriter(f, s.schema, parquet.WriterOptions{Codec: parquet.Snappy, StatsColumns: -1})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spill{file: f, out: out}, nil
}

// add takes in rows with their places.
func (s *spills) add(b *column.Batch, keys []uint64) error {
	s.picked = slices.Grow(s.picked[:0], len(s.slices))[:len(s.slices)]
	for i := range s.picked {
		s.picked[i] = s.picked[i][:0]
	}
	for row, k := range keys {
		at, found := slices.BinarySearch(s.cuts, k)
		if !found {
			at--
		}
		s.picked[at] = append(s.picked[at], row)
	}
	for i, rows := range s.picked {
		if len(rows) == 0 {
			continue
		}
		part := b.Gather(rows)
		places := column.New(&schema.Type{Kind: schema.Long})
		for _, row := range rows {
			places.AppendInt64(int64(keys[row]))
		}
		places.Seal(len(rows))
		part.Schema, part.Columns = s.schema, append(slices.Clip(part.Columns), places)
		s.slices[i].held = append(s.slices[i].held, part)
		s.held += part.Bytes()
	}
	if s.held < s.memory {
		return nil
	}
	for _, one := range s.slices {
		if err := one.flush(); err != nil {
			return err
		}
	}
	s.held = 0
	return nil
}

func (s *spill) flush() error {
	if len(s.held) == 0 {
		return nil
	}
	err := s.out.Write(s.held)
	s.held = nil
	if err != nil {
		return fmt.Errorf("z-order: %w", err)
	}
	return nil
}

// read is what the slice holds. It can be called once.
func (s *spill) read(ctx context.Context, all *schema.Type) (placed, error) {
	if err := s.flush(); err != nil {
		return placed{}, err
	}
	info, err := s.out.Close()
	s.out = nil
	if err != nil {
		return placed{}, fmt.Errorf("z-order: %w", err)
	}
	f, err := parquet.Open(s.file, info.Size)
	if err != nil {
		return placed{}, fmt.Errorf("z-order: %w", err)
	}
	n := len(all.Fields) - 1
	rows := &schema.Type{Kind: schema.Struct, Fields: all.Fields[:n:n]}
	p := placed{rows: column.NewBatch(rows), places: make([]uint64, 0, info.Rows)}
	for b, err := range f.Read(ctx, all) {
		if err != nil {
			return placed{}, fmt.Errorf("z-order: %w", err)
		}
		for _, k := range b.Columns[n].Int64s {
			p.places = append(p.places, uint64(k))
		}
		p.rows.AppendBatch(&column.Batch{Schema: rows, Columns: b.Columns[:n:n], Rows: b.Rows})
		if p.rows.Rows == b.Rows { // the first
			p.rows.Reserve(int(info.Rows))
		}
	}
	return p, nil
}

func (s *spills) close() error {
	var errs []error
	for _, one := range s.slices {
		if one == nil {
			continue
		}
		if one.out != nil {
			_, _ = one.out.Close() // gives its memory back
		}
		errs = append(errs, one.file.Close())
	}
	return errors.Join(errs...)
}
