package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// The columns of a checkpoint: "Checkpoint Schema" of the protocol.

func leaf(name string, k schema.Kind) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: k}, Nullable: true}
}

func group(name string, fields ...schema.Field) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: schema.Struct, Fields: fields}, Nullable: true}
}

func stringMap(name string) schema.Field {
	text := &schema.Type{Kind: schema.String}
	return schema.Field{Name: name, Type: &schema.Type{Kind: schema.Map, Key: text, Elem: text, ContainsNull: true}, Nullable: true}
}

func stringList(name string) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.String}, ContainsNull: true}, Nullable: true}
}

var deletionVectorGroup = group("deletionVector",
	leaf("storageType", schema.String), leaf("pathOrInlineDv", schema.String), leaf("offset", schema.Integer),
	leaf("sizeInBytes", schema.Integer), leaf("cardinality", schema.Long))

var (
	txnGroup = group("txn", leaf("appId", schema.String), leaf("version", schema.Long), leaf("lastUpdated", schema.Long))
	addGroup = group("add",
		leaf("path", schema.String), stringMap("partitionValues"), leaf("size", schema.Long), leaf("modificationTime", schema.Long),
		leaf("dataChange", schema.Boolean), leaf("stats", schema.String), stringMap("tags"), deletionVectorGroup,
		leaf("baseRowId", schema.Long), leaf("defaultRowCommitVersion", schema.Long), leaf("clusteringProvider", schema.String))
	removeGroup = group("remove",
		leaf("path", schema.String), leaf("deletionTimestamp", schema.Long), leaf("dataChange", schema.Boolean),
		leaf("extendedFileMetadata", schema.Boolean), stringMap("partitionValues"), leaf("size", schema.Long), stringMap("tags"),
		deletionVectorGroup, leaf("baseRowId", schema.Long), leaf("defaultRowCommitVersion", schema.Long))
	metadataGroup = group("metaData",
		leaf("id", schema.String), leaf("name", schema.String), leaf("description", schema.String),
		group("format", leaf("provider", schema.String), stringMap("options")), leaf("schemaString", schema.String),
		stringList("partitionColumns"), stringMap("configuration"), leaf("createdTime", schema.Long))
	protocolGroup = group("protocol",
		leaf("minReaderVersion", schema.Integer), leaf("minWriterVersion", schema.Integer),
		stringList("readerFeatures"), stringList("writerFeatures"))
	domainGroup  = group("domainMetadata", leaf("domain", schema.String), leaf("configuration", schema.String), leaf("removed", schema.Boolean))
	sidecarGroup = group("sidecar", leaf("path", schema.String), leaf("sizeInBytes", schema.Long))
)

// writtenSchema is of the checkpoints that are written here, readSchema asks for all that may be in one.
var (
	writtenSchema = &schema.Type{Kind: schema.Struct, Fields: []schema.Field{txnGroup, addGroup, removeGroup, metadataGroup, protocolGroup, domainGroup}}
	readSchema    = &schema.Type{Kind: schema.Struct, Fields: append(slices.Clone(writtenSchema.Fields), sidecarGroup)}
)

// defaultTombstoneRetention is how long the protocol's reference implementation keeps tombstones.
const defaultTombstoneRetention = 7 * 24 * time.Hour

// Checkpoint writes a checkpoint of the newest snapshot, so that readers need not replay the log up to it.
//
// Errors: *UnsupportedFeatureError, those of [Table.Update] and of the store.
func (t *Table) Checkpoint(ctx context.Context) error {
	s, err := t.Update(ctx)
	if err != nil {
		return err
	}
	if err := t.writeCheckpoint(ctx, s, true); err != nil {
		return err
	}
	t.checkpoints.note(s.version)
	return nil
}

// writeCheckpoint writes s as a classic checkpoint of one file, then the hint at it. Tombstones that have expired by now
// are left out; transactions and statistics all stay. Unless it may replace one, a checkpoint that another writer was faster
// with stays: to a reader between its listing and its ranged reads another file under the name is a damaged one.
func (t *Table) writeCheckpoint(ctx context.Context, s *Snapshot, replace bool) error {
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return err
	}
	blocks, rows, err := t.checkpointBlocks(ctx, s)
	if err != nil {
		return fmt.Errorf("encode a checkpoint of version %d: %w", s.version, err)
	}
	key := checkpointKey(s.version)
	w, err := t.store.Create(ctx, key)
	if err != nil {
		return err
	}
	info, err := parquet.WriteBlocks(w, writtenSchema, blocks)
	if err == nil {
		err = ctx.Err()
	}
	taken := false
	if err == nil && !replace {
		taken, err = exists(ctx, t.store, key)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, errors.Join(err, w.Abort()))
	}
	if taken {
		return w.Abort()
	}
	if err := w.Close(); err != nil {
		return err
	}
	return writeLastCheckpoint(ctx, t.store, lastCheckpoint{
		Version: s.version, Size: rows, SizeInBytes: info.Size, NumOfAddFiles: int64(s.files.len),
	})
}

func exists(ctx context.Context, st store.Store, key string) (bool, error) {
	r, err := st.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// writeLastCheckpoint replaces the hint unless it names a newer checkpoint already.
func writeLastCheckpoint(ctx context.Context, st store.Store, hint lastCheckpoint) error {
	if old, err := readLastCheckpoint(ctx, st); err != nil || old > hint.Version {
		return err
	}
	data, err := json.Marshal(hint)
	if err != nil {
		return fmt.Errorf("encode _last_checkpoint: %w", err)
	}
	return st.Put(ctx, lastCheckpointKey, data)
}

// checkpointBlocks is the content of a checkpoint. Most of it is files, and most of them were in the last one.
func (t *Table) checkpointBlocks(ctx context.Context, s *Snapshot) (blocks []*parquet.Block, rows int64, err error) {
	o := s.writerOptions(parquet.WriterOptions{StatsColumns: -1})
	files := t.checkpoints.takeFiles()
	if err := files.advance(ctx, s.files, o); err != nil {
		return nil, 0, err
	}
	blocks = files.blocks()
	t.checkpoints.keepFiles(files)
	b := checkpointBuilder{full: func(batch *column.Batch) error {
		block, err := encodeActionRows(ctx, batch, o)
		blocks = append(blocks, block)
		return err
	}}
	b.actions(s, t.opt.Now())
	b.seal()
	return blocks, b.rows + int64(s.files.len), b.err
}

// encodeActionRows encodes a batch of writtenSchema.
func encodeActionRows(ctx context.Context, batch *column.Batch, o parquet.WriterOptions) (*parquet.Block, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return parquet.Encode(writtenSchema, []*column.Batch{batch}, o)
}

// actions appends all but the files.
func (b *checkpointBuilder) actions(s *Snapshot, now time.Time) {
	b.protocol(s.protocol)
	b.metadata(s.metadata)
	for _, t := range s.txns.all() {
		b.txn(t)
	}
	for _, d := range s.domains.all() {
		b.domain(d)
	}
	oldest := s.oldestTombstone(now)
	for _, r := range s.tombstones.all() {
		if r.DeletionTimestamp > oldest {
			b.remove(r)
		}
	}
}

// oldestTombstone is the time, in ms since the epoch, up to which removed files need not be remembered any more.
func (s *Snapshot) oldestTombstone(now time.Time) int64 {
	return now.Add(-s.intervalProperty("delta.deletedFileRetentionDuration", defaultTombstoneRetention)).UnixMilli()
}

// forgetEach is how many versions go by between two looks for tombstones that are too old.
const forgetEach = 1024

// forget takes tombstones that the next checkpoint would leave out, and so everyone who opens the table, out of a snapshot
// that nobody has seen yet: a table that stays open for months would remember every file that it ever removed.
func (s *Snapshot) forget(now time.Time) {
	if s.version%forgetEach != 0 {
		return
	}
	oldest := s.oldestTombstone(now)
	left := s.tombstones.editing()
	for id, r := range s.tombstones.all() {
		if r.DeletionTimestamp <= oldest {
			left = left.remove(id)
		}
	}
	s.tombstones = left.settled()
}

// checkpointBuilder appends actions, one a row, to a batch of bounded size, which is handed on whenever it is full.
type checkpointBuilder struct {
	full  func(*column.Batch) error // must not keep the batch
	batch *column.Batch             // being filled; its memory is used again
	n     int                       // rows in it
	size  int                       // bytes of long strings in it
	rows  int64                     // of all
	err   error                     // of full, the first one
}

// The bounds of a batch, and so of a row group. Vectors hold less than 2 GiB.
const (
	batchRows  = 4096
	batchBytes = 32 << 20
)

// Positions of the columns in writtenSchema.
const (
	txnColumn = iota
	addColumn
	removeColumn
	metadataColumn
	protocolColumn
	domainColumn
)

// begin begins a row with a value in one column.
func (b *checkpointBuilder) begin(columnIndex, size int) record {
	if b.isFull() {
		b.seal()
	}
	if b.batch == nil {
		b.batch = column.NewBatch(writtenSchema)
	}
	v := b.batch.Columns[columnIndex]
	v.PadNulls(b.n)
	b.n++
	b.size += size
	b.rows++
	return newRecord(v)
}

func (b *checkpointBuilder) isFull() bool { return b.n >= batchRows || b.size >= batchBytes }

func (b *checkpointBuilder) seal() {
	if b.n == 0 {
		return
	}
	b.batch.Seal(b.n)
	if b.err == nil {
		b.err = b.full(b.batch)
	}
	b.batch.Reset()
	b.n, b.size = 0, 0
}

// record fills a value of a struct field by field, in the order of the schema.
type record struct {
	v    *column.Vector
	at   int // among the valid slots
	next *int
}

func newRecord(v *column.Vector) record { return record{v, v.AppendStruct(), new(int)} }

// field is the vector of the next field, ready for a value.
func (r record) field() *column.Vector {
	v := r.v.Children[*r.next]
	*r.next++
	v.PadNulls(r.at)
	return v
}

func (r record) text(s string) { r.field().AppendString(s) }
func (r record) long(n int64)  { r.field().AppendInt64(n) }
func (r record) int(n int32)   { r.field().AppendInt32(n) }
func (r record) bool(b bool)   { r.field().AppendBool(b) }

// optional is text, null if it is empty.
func (r record) optional(s string) {
	if v := r.field(); s != "" {
		v.AppendString(s)
	}
}

func (r record) maybeLong(n *int64) {
	if v := r.field(); n != nil {
		v.AppendInt64(*n)
	}
}

// strings is a map; emptyIsNull says what an empty value means. A nil map is null.
func (r record) strings(m map[string]string, emptyIsNull bool) {
	v := r.field()
	if m == nil {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v.Children[0].AppendString(k)
		if m[k] == "" && emptyIsNull {
			v.Children[1].AppendNull()
		} else {
			v.Children[1].AppendString(m[k])
		}
	}
	v.AppendList()
}

// list is a list of strings; a nil one is null.
func (r record) list(l []string) {
	v := r.field()
	if l == nil {
		return
	}
	for _, s := range l {
		v.Children[0].AppendString(s)
	}
	v.AppendList()
}

func (r record) deletionVector(d *DeletionVector) {
	v := r.field()
	if d == nil {
		return
	}
	dv := newRecord(v)
	dv.text(d.StorageType)
	dv.text(d.PathOrInlineDV)
	if offset := dv.field(); d.Offset != nil {
		offset.AppendInt32(*d.Offset)
	}
	dv.int(d.SizeInBytes)
	dv.long(d.Cardinality)
}

func (b *checkpointBuilder) txn(t *Txn) {
	r := b.begin(txnColumn, len(t.AppID))
	r.text(t.AppID)
	r.long(t.Version)
	r.maybeLong(t.LastUpdated)
}

func (b *checkpointBuilder) add(a *Add) {
	r := b.begin(addColumn, len(a.Path)+len(a.Stats))
	r.text(a.Path)
	r.strings(orEmpty(a.PartitionValues), true)
	r.long(a.Size)
	r.long(a.ModificationTime)
	r.bool(false) // nothing changes by a checkpoint
	r.optional(a.Stats)
	r.strings(a.Tags, false)
	r.deletionVector(a.DeletionVector)
	r.maybeLong(a.BaseRowID)
	r.maybeLong(a.DefaultRowCommitVersion)
	r.optional(a.ClusteringProvider)
}

func (b *checkpointBuilder) remove(a *Remove) {
	r := b.begin(removeColumn, len(a.Path))
	r.text(a.Path)
	r.long(a.DeletionTimestamp)
	r.bool(false)
	r.bool(a.ExtendedFileMetadata)
	r.strings(a.PartitionValues, true)
	if size := r.field(); a.ExtendedFileMetadata {
		size.AppendInt64(a.Size)
	}
	r.strings(a.Tags, false)
	r.deletionVector(a.DeletionVector)
	r.maybeLong(a.BaseRowID)
	r.maybeLong(a.DefaultRowCommitVersion)
}

func (b *checkpointBuilder) metadata(m *Metadata) {
	n := m.normal()
	r := b.begin(metadataColumn, len(n.SchemaString))
	r.text(n.ID)
	r.optional(n.Name)
	r.optional(n.Description)
	format := newRecord(r.field())
	format.text(n.Format.Provider)
	format.strings(n.Format.Options, false)
	r.text(n.SchemaString)
	r.list(n.PartitionColumns)
	r.strings(n.Configuration, false)
	r.maybeLong(n.CreatedTime)
}

func (b *checkpointBuilder) protocol(p *Protocol) {
	r := b.begin(protocolColumn, 0)
	r.int(p.MinReaderVersion)
	r.int(p.MinWriterVersion)
	if p.MinReaderVersion >= featureReaderVersion { // the lists must be there from these versions on, and only then
		r.list(append([]string{}, p.ReaderFeatures...))
	} else {
		r.list(nil)
	}
	if p.MinWriterVersion >= featureWriterVersion {
		r.list(append([]string{}, p.WriterFeatures...))
	}
}

func (b *checkpointBuilder) domain(d *DomainMetadata) {
	r := b.begin(domainColumn, len(d.Configuration))
	r.text(d.Domain)
	r.text(d.Configuration)
	r.bool(d.Removed)
}
