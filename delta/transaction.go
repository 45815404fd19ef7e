package delta

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/schema"
)

// Isolation says which commits of others a transaction may be ordered after without having seen them.
type Isolation string

// The isolation levels of Delta.
const (
	// Serializable is the default: as if the transactions had run one after another.
	Serializable Isolation = "Serializable"
	// WriteSerializable lets blind appends of others come in between.
	WriteSerializable Isolation = "WriteSerializable"
	// SnapshotIsolation lets any append come in between; for transactions that change no data.
	SnapshotIsolation Isolation = "SnapshotIsolation"
)

// Transaction is what a commit is to contain. Everything except Operation may be left empty.
type Transaction struct {
	Operation   string            // such as WRITE
	Parameters  map[string]any    // of the operation; what is not a string is stored as JSON text
	Metrics     map[string]string // of the operation
	Info        map[string]any    // further members of commitInfo
	BlindAppend bool              // nothing was read: the files are added whatever the table holds
	Isolation   Isolation         // empty: that of the table (delta.isolationLevel), or Serializable

	Protocol *Protocol
	Metadata *Metadata // its ID may be left empty
	Txns     []Txn     // at most one per application; LastUpdated is filled in
	Domains  []DomainMetadata
	Adds     []Add
	Removes  []Remove // DeletionTimestamp is filled in

	// Constraints is what [Snapshot.Constraints] said when the added rows were checked, by [Table.WriteData]. It must be
	// that of the table whenever files with new rows are added.
	Constraints string

	// What the transaction depends on. Base is the snapshot it was read from; nil means the one that build was given.
	// With an older one, the commits since are checked for conflicts with the reads.
	Base     *Snapshot
	Reads    ReadSet
	changes  []changeFile
	restores bool     // the rows were in the table before
	ReadTxns []string // applications whose Txn was read; those in Txns count as read
}

// ReadSet is what a transaction read of the table's files.
type ReadSet struct {
	Whole bool                // all of it
	Match func(a *Add) bool   // a file that it would have read
	Files map[string]struct{} // paths of the files it did read
}

func (r *ReadSet) reads(a *Add) bool { return r.Whole || r.Match != nil && r.Match(a) }

// prepared is a transaction made into a log entry.
type prepared struct {
	version int64
	id      string // commitInfo.txnId
	data    []byte
	mark    mark
	tx      *Transaction
}

// validate checks tx against the snapshot that it will follow, and returns the protocol and metadata after it.
//
// Errors: *InvalidTransactionError, *UnsupportedFeatureError, ErrAppendOnly, *ConflictError (a removed file is gone).
func (tx *Transaction) validate(s *Snapshot) (*state, error) {
	if tx.Operation == "" {
		return nil, invalid("it names no operation")
	}
	if tx.BlindAppend && (len(tx.Removes) > 0 || tx.Reads.Whole || tx.Reads.Match != nil || len(tx.Reads.Files) > 0) {
		return nil, invalid("a blind append neither reads nor removes")
	}
	after, err := tx.after(s)
	if err != nil {
		return nil, err
	}
	if err := checkWritable(after.protocol, after.metadata, after.schema); err != nil {
		return nil, err
	}
	return after, errors.Join(tx.validateInfo(), tx.validateTxns(), tx.validateFiles(s, after))
}

// after is the state's protocol and metadata once tx is committed.
func (tx *Transaction) after(s *Snapshot) (*state, error) {
	after := s.state
	if tx.Protocol != nil {
		if old := s.protocol; old != nil && (tx.Protocol.MinReaderVersion < old.MinReaderVersion || tx.Protocol.MinWriterVersion < old.MinWriterVersion) {
			return nil, invalid("the protocol cannot be lowered")
		}
		after.protocol = tx.Protocol
	}
	if tx.Metadata != nil {
		md := tx.Metadata.normal()
		if s.metadata != nil {
			if md.ID != "" && md.ID != s.metadata.ID {
				return nil, invalid("the table's id cannot change")
			}
			md.ID = s.metadata.ID
			if !slices.Equal(md.PartitionColumns, s.metadata.normal().PartitionColumns) && len(tx.Removes) < s.files.len {
				return nil, invalid("the partition columns cannot change while files of the old partitioning stay")
			}
		}
		after.metadata, after.schema = &md, nil
	}
	if err := after.settle(); err != nil {
		if IsFatal(err) {
			return nil, invalid("%v", err)
		}
		return nil, err
	}
	if tx.Metadata == nil {
		return &after, nil
	}
	if s.metadata != nil && len(tx.Removes) < s.files.len {
		if path, changed := typeChange(s.schema, after.schema); changed {
			return nil, invalid("column %q cannot change its type while files of the old type stay: see Table.Widen", strings.Join(path, "."))
		}
	}
	return &after, validateMetadata(&s.state, &after)
}

// typeChange is the way to the first column that has another type in the second schema, by the names in files.
func typeChange(from, to *schema.Type) (path []string, changed bool) {
	if from == nil || to == nil || from == to {
		return nil, false
	}
	if from.Kind != to.Kind || from.Precision != to.Precision || from.Scale != to.Scale {
		return nil, true
	}
	for i := range to.Fields {
		name := physical(&to.Fields[i])
		old := slices.IndexFunc(from.Fields, func(f schema.Field) bool { return physical(&f) == name })
		if old < 0 {
			continue
		}
		if path, changed = typeChange(from.Fields[old].Type, to.Fields[i].Type); changed {
			return append([]string{to.Fields[i].Name}, path...), true
		}
	}
	if path, changed = typeChange(from.Key, to.Key); changed {
		return path, true
	}
	return typeChange(from.Elem, to.Elem)
}

func validateMetadata(before, after *state) error {
	if err := after.schema.Validate(); err != nil {
		return invalid("%v", err)
	}
	if len(after.schema.Fields) == 0 {
		return invalid("the schema has no column")
	}
	if hasKind(after.schema, schema.TimestampNTZ) && !slices.Contains(after.protocol.WriterFeatures, "timestampNtz") {
		return invalid("the type timestamp_ntz needs the table feature timestampNtz")
	}
	if before.metadata != nil && after.inCommitTimestamps() != before.inCommitTimestamps() {
		return invalid("in-commit timestamps are for the whole life of a table")
	}
	columns := after.metadata.PartitionColumns
	for i, c := range columns {
		f, ok := after.schema.Field(c)
		if !ok || slices.Contains(columns[:i], c) {
			return invalid("partition column %q is missing or named twice", c)
		}
		switch f.Type.Kind {
		case schema.Struct, schema.Array, schema.Map, schema.Binary:
			return invalid("column %q of type %s cannot partition a table", c, f.Type)
		default:
		}
	}
	if len(columns) == len(after.schema.Fields) {
		return invalid("every column is a partition column")
	}
	return nil
}

func hasKind(t *schema.Type, k schema.Kind) bool {
	if t == nil {
		return false
	}
	return t.Kind == k || hasKind(t.Key, k) || hasKind(t.Elem, k) ||
		slices.ContainsFunc(t.Fields, func(f schema.Field) bool { return hasKind(f.Type, k) })
}

func (tx *Transaction) validateTxns() error {
	seen := map[string]bool{}
	for _, txn := range tx.Txns {
		if txn.AppID == "" || seen[txn.AppID] {
			return invalid("application %q has no name or two versions", txn.AppID)
		}
		seen[txn.AppID] = true
	}
	seen = map[string]bool{}
	for _, d := range tx.Domains {
		if d.Domain == "" || seen[d.Domain] {
			return invalid("domain %q has no name or occurs twice", d.Domain)
		}
		seen[d.Domain] = true
	}
	return nil
}

func (tx *Transaction) validateFiles(s *Snapshot, after *state) error {
	touched := make(map[string]bool, len(tx.Adds)+len(tx.Removes))
	dataChange := false
	for i := range tx.Removes {
		r := &tx.Removes[i]
		id := fileID(r.Path, r.DeletionVector)
		if touched[id] {
			return invalid("file %s is touched twice", r.Path)
		}
		touched[id] = true
		dataChange = dataChange || r.DataChange
		if _, ok := s.files.get(id); !ok {
			return &ConflictError{Kind: ConflictDeleteDelete, Version: s.version, Subject: r.Path}
		}
	}
	if dataChange && isTrue(after.metadata.Configuration["delta.appendOnly"]) {
		return ErrAppendOnly
	}
	if dataChange && len(tx.Adds) > 0 && len(tx.changes) == 0 && !tx.restores && s.feeds() {
		return invalid("the table has a change data feed, and the transaction does not say which rows it changes")
	}
	if err := tx.validateConstraints(s, after); err != nil {
		return err
	}
	for i := range tx.Adds {
		a := &tx.Adds[i]
		id := fileID(a.Path, a.DeletionVector)
		if touched[id] {
			return invalid("file %s is touched twice", a.Path)
		}
		touched[id] = true
		if err := validateAdd(a, after.metadata.PartitionColumns); err != nil {
			return err
		}
	}
	return nil
}

// validateConstraints refuses rows that were not checked against the table's constraints: those of before, since what a
// transaction itself makes a constraint is its own affair.
func (tx *Transaction) validateConstraints(s *Snapshot, after *state) error {
	if tx.restores || !slices.ContainsFunc(tx.Adds, func(a Add) bool { return a.DataChange }) {
		return nil
	}
	switch want := constraintsOf(after.metadata, after.schema); {
	case want == tx.Constraints:
		return nil
	case tx.Constraints == "":
		return invalid("the table has constraints (%s), and the rows were not checked", want)
	default:
		return &ConflictError{Kind: ConflictMetadata, Version: s.version, Subject: "constraints"}
	}
}

func validateAdd(a *Add, partitionColumns []string) error {
	if _, err := DataKey(a.Path); err != nil || a.Path == "" {
		return invalid("add of %q: not the path of a file of the table", a.Path)
	}
	if len(a.PartitionValues) != len(partitionColumns) {
		return invalid("add of %s: %d partition values for %d columns", a.Path, len(a.PartitionValues), len(partitionColumns))
	}
	for _, c := range partitionColumns {
		if _, ok := a.PartitionValues[c]; !ok {
			return invalid("add of %s: no value of partition column %q", a.Path, c)
		}
	}
	return nil
}

// actions is the content of the entry, commitInfo first.
func (tx *Transaction) actions(s *Snapshot, info *CommitInfo, now time.Time) ([]action, error) {
	raw, err := info.MarshalJSON()
	if err != nil {
		return nil, invalid("%v", err)
	}
	ms := now.UnixMilli()
	out := append(make([]action, 0, 3+len(tx.Txns)+len(tx.Adds)+len(tx.Removes)), action{CommitInfo: raw})
	if tx.Protocol != nil {
		out = append(out, action{Protocol: tx.Protocol})
	}
	if tx.Metadata != nil {
		md := tx.Metadata.normal()
		if s.metadata != nil {
			md.ID = s.metadata.ID
		}
		out = append(out, action{Metadata: &md})
	}
	for _, txn := range tx.Txns {
		txn.LastUpdated = &ms
		out = append(out, action{Txn: &txn})
	}
	for i := range tx.Domains {
		out = append(out, action{DomainMetadata: &tx.Domains[i]})
	}
	for _, r := range tx.Removes {
		r.DeletionTimestamp = ms
		r.ExtendedFileMetadata = true
		out = append(out, action{Remove: &r})
	}
	for _, a := range tx.Adds {
		if a.PartitionValues == nil {
			a.PartitionValues = PartitionValues{}
		}
		out = append(out, action{Add: &a})
	}
	for i := range tx.changes {
		out = append(out, action{Change: &tx.changes[i]})
	}
	return out, nil
}

// info is the commitInfo of tx as version s.version+1.
func (tx *Transaction) info(s *Snapshot, after *state, engine string, now time.Time) (*CommitInfo, error) {
	read := s.version
	if tx.Base != nil {
		read = tx.Base.version
	}
	c := &CommitInfo{
		Timestamp: now.UnixMilli(), Operation: tx.Operation, IsolationLevel: string(tx.isolation(after)),
		IsBlindAppend: &tx.BlindAppend, Metrics: tx.Metrics, EngineInfo: engine, TxnID: newUUID(),
	}
	if read >= 0 {
		c.ReadVersion = &read
	}
	if after.inCommitTimestamps() {
		at := now.UnixMilli()
		if s.version >= 0 {
			at = max(at, s.at.UnixMilli()+1)
		}
		c.InCommitTimestamp = &at
	}
	var err error
	if c.Parameters, err = textValues(tx.Parameters); err != nil {
		return nil, err
	}
	c.Other = make(map[string]json.RawMessage, len(tx.Info))
	for name, v := range tx.Info {
		if c.Other[name], err = json.Marshal(v); err != nil {
			return nil, invalid("commitInfo.%s: %v", name, err)
		}
	}
	return c, nil
}

func textValues(values map[string]any) (map[string]string, error) {
	out := make(map[string]string, len(values))
	for name, v := range values {
		switch v := v.(type) {
		case string:
			out[name] = v
		case bool:
			out[name] = strconv.FormatBool(v)
		case []string: // nil too is a list
			out[name] = "[" + strings.Join(quoted(v), ",") + "]"
		default:
			raw, err := json.Marshal(v)
			if err != nil {
				return nil, invalid("parameter %s: %v", name, err)
			}
			out[name] = string(raw)
		}
	}
	return out, nil
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		raw, _ := json.Marshal(s) // strings always encode
		out[i] = string(raw)
	}
	return out
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string { return uuidText(newUUIDBytes()) }

func newUUIDBytes() (b [16]byte) {
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return b
}

func uuidText(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// reservedInfo are the members of commitInfo that Transaction.Info may not replace.
var reservedInfo = []string{
	"inCommitTimestamp", "timestamp", "operation", "operationParameters", "readVersion", "isolationLevel",
	"isBlindAppend", "operationMetrics", "engineInfo", "txnId", "version",
}

func (tx *Transaction) validateInfo() error {
	for name := range maps.Keys(tx.Info) {
		if slices.Contains(reservedInfo, name) {
			return invalid("commitInfo.%s is not free to set", name)
		}
	}
	return nil
}
