package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"unsafe"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// maxSidecars bounds the side files of a V2 checkpoint.
const maxSidecars = 100_000

// readCheckpoint replays the files of one checkpoint into s.
func readCheckpoint(ctx context.Context, st store.Store, files []logFile, s *state) error {
	var sidecars []sidecar
	apply := func(a *action) error {
		if a.Sidecar == nil {
			s.apply(a)
			return nil
		}
		if sidecars = append(sidecars, *a.Sidecar); len(sidecars) > maxSidecars {
			return fmt.Errorf("more than %d sidecars", maxSidecars)
		}
		return nil
	}
	for _, f := range files {
		if err := readCheckpointFile(ctx, st, f.key, apply); err != nil {
			return err
		}
	}
	for _, side := range sidecars {
		key, err := sidecarKey(side.Path)
		if err == nil {
			err = readCheckpointFile(ctx, st, key, func(a *action) error {
				s.apply(a)
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("sidecar: %w", err)
		}
	}
	return nil
}

// readCheckpointFile hands the actions of one file to apply. Errors: *CorruptLogError, those of apply and of the store.
func readCheckpointFile(ctx context.Context, st store.Store, key string, apply func(*action) error) error {
	if isJSON(key) {
		return readJSONCheckpoint(ctx, st, key, apply)
	}
	r, err := st.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read
	f, err := parquet.Open(r, r.Size())
	if err != nil {
		return checkpointError(key, err)
	}
	var same places
	for b, err := range ahead(f.Read(ctx, checkpointSchema(f.Schema()))) {
		if err != nil {
			return checkpointError(key, err)
		}
		d := newCheckpointDecoder(b, &same)
		for row := range b.Rows {
			a := d.action(row)
			if err := a.check(); err != nil {
				return &CorruptLogError{Key: key, Err: err}
			}
			if err := apply(&a); err != nil {
				return &CorruptLogError{Key: key, Err: err}
			}
		}
	}
	return nil
}

// ahead runs a sequence in a goroutine of its own, one element before its reader: so one core decodes a batch while another
// makes a state of the one before.
func ahead[V any](seq iter.Seq2[V, error]) iter.Seq2[V, error] {
	type element struct {
		v   V
		err error
	}
	return func(yield func(V, error) bool) {
		elements, stop := make(chan element), make(chan struct{})
		go func() {
			defer close(elements)
			for v, err := range seq {
				select {
				case elements <- element{v, err}:
				case <-stop:
					return
				}
			}
		}()
		defer func() {
			close(stop)
			for range elements { // until the goroutine has ended
				continue
			}
		}()
		for e := range elements {
			if !yield(e.v, e.err) {
				return
			}
		}
	}
}

// checkpointError tells a corrupt file from a failing store.
func checkpointError(key string, err error) error {
	if errors.Is(err, parquet.ErrCorrupt) || errors.Is(err, parquet.ErrMisfit) {
		return &CorruptLogError{Key: key, Err: err}
	}
	return fmt.Errorf("read %s: %w", key, err)
}

func readJSONCheckpoint(ctx context.Context, st store.Store, key string, apply func(*action) error) error {
	data, err := readObject(ctx, st, key, maxEntryBytes)
	if err != nil {
		return err
	}
	for a, err := range eachAction(key, data) {
		if err != nil {
			return err
		}
		if err := apply(&a); err != nil {
			return &CorruptLogError{Key: key, Err: err}
		}
	}
	return nil
}

// checkpointDecoder turns the rows of a batch of a [checkpointSchema] into actions.
type checkpointDecoder struct {
	txn, add, remove, metadata, protocol, domain, sidecar fields

	adds []Add // room for the next ones: made one by one they would be most of the work
}

func newCheckpointDecoder(b *column.Batch, same *places) *checkpointDecoder {
	c := make([]fields, len(b.Columns))
	for i, v := range b.Columns {
		c[i] = newFields(v, same)
	}
	return &checkpointDecoder{
		txn: c[txnColumn], add: c[addColumn], remove: c[removeColumn], metadata: c[metadataColumn], protocol: c[protocolColumn],
		domain: c[domainColumn], sidecar: c[domainColumn+1],
	}
}

func (d *checkpointDecoder) action(row int) action {
	var a action
	switch {
	case d.add.has(row):
		a.Add = d.newAdd()
		v := d.add.at(row)
		decodeAdd(a.Add, &v)
	case d.remove.has(row):
		v := d.remove.at(row)
		a.Remove = decodeRemove(&v)
	case d.txn.has(row):
		v := d.txn.at(row)
		a.Txn = &Txn{AppID: v.text(), Version: v.long(), LastUpdated: v.maybeLong()}
	case d.metadata.has(row):
		v := d.metadata.at(row)
		a.Metadata = decodeMetadata(&v)
	case d.protocol.has(row):
		v := d.protocol.at(row)
		a.Protocol = &Protocol{MinReaderVersion: v.int(), MinWriterVersion: v.int(), ReaderFeatures: v.list(), WriterFeatures: v.list()}
	case d.domain.has(row):
		v := d.domain.at(row)
		a.DomainMetadata = &DomainMetadata{Domain: v.text(), Configuration: v.text(), Removed: v.bool()}
	case d.sidecar.has(row):
		v := d.sidecar.at(row)
		a.Sidecar = &sidecar{Path: v.text(), SizeInBytes: v.long()}
	}
	return a
}

func (d *checkpointDecoder) newAdd() *Add {
	if len(d.adds) == 0 {
		d.adds = make([]Add, 64)
	}
	a := &d.adds[0]
	d.adds = d.adds[1:]
	return a
}

func decodeAdd(a *Add, v *values) {
	*a = Add{
		Path: v.text(), PartitionValues: v.strings(), Size: v.long(), ModificationTime: v.long(), DataChange: v.bool(),
		Stats: v.text(), Tags: v.strings(), DeletionVector: v.deletionVector(), BaseRowID: v.maybeLong(),
		DefaultRowCommitVersion: v.maybeLong(), ClusteringProvider: v.text(),
	}
	if v.next < len(v.f.children) { // see checkpointSchema
		if parsed, p := v.field(); p >= 0 {
			a.Stats = string(appendStatsObject(nil, parsed, p))
		}
	}
}

func decodeRemove(v *values) *Remove {
	return &Remove{
		Path: v.text(), DeletionTimestamp: v.long(), DataChange: v.bool(), ExtendedFileMetadata: v.bool(),
		PartitionValues: v.strings(), Size: v.long(), Tags: v.strings(), DeletionVector: v.deletionVector(),
		BaseRowID: v.maybeLong(), DefaultRowCommitVersion: v.maybeLong(),
	}
}

func decodeMetadata(v *values) *Metadata {
	m := &Metadata{ID: v.text(), Name: v.text(), Description: v.text()}
	if format := v.group(); format != nil {
		m.Format = Format{Provider: format.text(), Options: format.strings()}
	}
	m.SchemaString, m.PartitionColumns, m.Configuration, m.CreatedTime = v.text(), v.list(), v.strings(), v.maybeLong()
	return m
}

// fields is a vector with the place of each slot's value, and likewise what is below it.
type fields struct {
	v        *column.Vector
	data     string  // of v, whose memory it is: the texts of a batch are parts of it
	place    []int32 // by slot; -1 for null
	children []fields
}

// newFields takes the vector over: its data must never change again.
func newFields(v *column.Vector, same *places) fields {
	f := fields{v: v, place: same.of(v), data: unsafe.String(unsafe.SliceData(v.Data), len(v.Data))} //nolint:gosec // nobody changes the batch
	for _, c := range v.Children {
		f.children = append(f.children, newFields(c, same))
	}
	return f
}

// places are those of vectors without a null, and of vectors of nothing else, as most columns of a checkpoint are: they are
// the same for all.
type places struct{ all, none []int32 }

func (p *places) of(v *column.Vector) []int32 {
	switch v.Present() {
	case v.Len:
		for len(p.all) < v.Len {
			p.all = append(p.all, int32(len(p.all)))
		}
		return p.all[:v.Len]
	case 0:
		for len(p.none) < v.Len {
			p.none = append(p.none, -1)
		}
		return p.none[:v.Len]
	}
	return v.Positions(nil)
}

func (f *fields) has(slot int) bool { return f.place[slot] >= 0 }

// at begins reading the struct in a valid slot.
func (f *fields) at(slot int) values { return values{f: f, slot: int(f.place[slot])} }

// values reads a struct field by field, in the order of the schema. What is null reads as the zero value.
type values struct {
	f    *fields
	slot int // in the children
	next int
}

// field is the next field and where its value is, -1 for null.
func (v *values) field() (*fields, int) {
	c := &v.f.children[v.next]
	v.next++
	return c, int(c.place[v.slot])
}

func (v *values) text() string {
	c, p := v.field()
	if p < 0 {
		return ""
	}
	return c.text(p)
}

func (f *fields) text(p int) string { return f.data[f.v.Offsets[p]:f.v.Offsets[p+1]] }

func (v *values) long() int64 {
	c, p := v.field()
	if p < 0 {
		return 0
	}
	return c.v.Int64s[p]
}

func (v *values) maybeLong() *int64 {
	c, p := v.field()
	if p < 0 {
		return nil
	}
	n := c.v.Int64s[p]
	return &n
}

func (v *values) int() int32 {
	c, p := v.field()
	if p < 0 {
		return 0
	}
	return c.v.Int32s[p]
}

func (v *values) bool() bool {
	c, p := v.field()
	return p >= 0 && c.v.Bools[p]
}

// strings is a map; a null value in it reads as the empty string.
func (v *values) strings() map[string]string {
	c, p := v.field()
	if p < 0 {
		return nil
	}
	if c.v.Offsets[p] == c.v.Offsets[p+1] {
		return noStrings
	}
	m := make(map[string]string, c.v.Offsets[p+1]-c.v.Offsets[p])
	key, value := &c.children[0], &c.children[1]
	for e := c.v.Offsets[p]; e < c.v.Offsets[p+1]; e++ {
		text := ""
		if at := value.place[e]; at >= 0 {
			text = value.text(int(at))
		}
		if at := key.place[e]; at >= 0 {
			m[key.text(int(at))] = text
		}
	}
	return m
}

func (v *values) list() []string {
	c, p := v.field()
	if p < 0 {
		return nil
	}
	list := make([]string, 0, c.v.Offsets[p+1]-c.v.Offsets[p])
	elem := &c.children[0]
	for e := c.v.Offsets[p]; e < c.v.Offsets[p+1]; e++ {
		if at := elem.place[e]; at >= 0 {
			list = append(list, elem.text(int(at)))
		}
	}
	return list
}

// group begins reading a nested struct; nil if it is null.
func (v *values) group() *values {
	c, p := v.field()
	if p < 0 {
		return nil
	}
	return &values{f: c, slot: p}
}

func (v *values) deletionVector() *DeletionVector {
	d := v.group()
	if d == nil {
		return nil
	}
	dv := &DeletionVector{StorageType: d.text(), PathOrInlineDV: d.text()}
	if c, p := d.field(); p >= 0 {
		offset := c.v.Int32s[p]
		dv.Offset = &offset
	}
	dv.SizeInBytes, dv.Cardinality = d.int(), d.long()
	return dv
}
