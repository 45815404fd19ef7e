package delta

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/schema"
)

// The actions of a log entry, as "Actions" of the Delta protocol describes them. A field's comment says only what the
// protocol leaves open.

// Add makes a data file part of the table.
type Add struct {
	Path             string            `json:"path"` // URI-encoded, relative to the table unless it has a scheme; see [DataKey]
	PartitionValues  PartitionValues   `json:"partitionValues"`
	Size             int64             `json:"size"`             // bytes
	ModificationTime int64             `json:"modificationTime"` // ms since the epoch
	DataChange       bool              `json:"dataChange"`       // false: the rows were in the table before, in other files
	Stats            string            `json:"stats,omitempty"`  // JSON; empty: none
	Tags             map[string]string `json:"tags,omitempty"`
	DeletionVector   *DeletionVector   `json:"deletionVector,omitempty"`

	BaseRowID               *int64 `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64 `json:"defaultRowCommitVersion,omitempty"`
	ClusteringProvider      string `json:"clusteringProvider,omitempty"`
}

// Remove takes a data file out of the table. It stays as a tombstone, so that the file outlives its slowest reader.
type Remove struct {
	Path                 string            `json:"path"`
	DeletionTimestamp    int64             `json:"deletionTimestamp,omitempty"` // ms since the epoch
	DataChange           bool              `json:"dataChange"`
	ExtendedFileMetadata bool              `json:"extendedFileMetadata,omitempty"` // partition values, size and tags are given
	PartitionValues      PartitionValues   `json:"partitionValues,omitempty"`
	Size                 int64             `json:"size,omitempty"`
	Stats                string            `json:"stats,omitempty"`
	Tags                 map[string]string `json:"tags,omitempty"`
	DeletionVector       *DeletionVector   `json:"deletionVector,omitempty"`

	BaseRowID               *int64 `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64 `json:"defaultRowCommitVersion,omitempty"`
}

// DeletionVector says where the bitmap of a file's deleted rows is.
type DeletionVector struct {
	StorageType    string `json:"storageType"` // u: a file of the table, i: inline, p: an absolute path
	PathOrInlineDV string `json:"pathOrInlineDv"`
	Offset         *int32 `json:"offset,omitempty"`
	SizeInBytes    int32  `json:"sizeInBytes"`
	Cardinality    int64  `json:"cardinality"` // deleted rows
}

// Metadata says what the table is.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      *int64            `json:"createdTime,omitempty"` // ms since the epoch
}

// Format is always Parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// SetSchema replaces the schema.
func (m *Metadata) SetSchema(s *schema.Type) { m.SchemaString = s.JSON() }

// schema parses the schema; without one it is the empty struct.
func (m *Metadata) schema() (*schema.Type, error) {
	if m.SchemaString == "" {
		return &schema.Type{Kind: schema.Struct}, nil
	}
	return schema.Parse(m.SchemaString)
}

func (m *Metadata) clone() Metadata {
	c := *m
	c.PartitionColumns = slices.Clone(m.PartitionColumns)
	c.Configuration = maps.Clone(m.Configuration)
	c.Format.Options = maps.Clone(m.Format.Options)
	return c
}

// normal fills in what readers expect to be there.
func (m *Metadata) normal() Metadata {
	c := m.clone()
	if c.Format.Provider == "" {
		c.Format.Provider = "parquet"
	}
	if c.Format.Options == nil {
		c.Format.Options = map[string]string{}
	}
	if c.PartitionColumns == nil {
		c.PartitionColumns = []string{}
	}
	if c.Configuration == nil {
		c.Configuration = map[string]string{}
	}
	return c
}

// Protocol says what a reader and a writer must be able to do.
type Protocol struct {
	MinReaderVersion int32    `json:"minReaderVersion"`
	MinWriterVersion int32    `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

func (p *Protocol) clone() Protocol {
	c := *p
	c.ReaderFeatures, c.WriterFeatures = slices.Clone(p.ReaderFeatures), slices.Clone(p.WriterFeatures)
	return c
}

// Txn records how far an application has come: its own version numbers, at most one per application in a commit.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitempty"` // ms since the epoch
}

// DomainMetadata is a named configuration of a table feature.
type DomainMetadata struct {
	Domain        string `json:"domain"`
	Configuration string `json:"configuration"`
	Removed       bool   `json:"removed"`
}

// PartitionValues are the values of a file's partition columns, as strings. The empty string is null, for every type.
type PartitionValues map[string]string

// MarshalJSON writes null for null, as Spark does.
func (p PartitionValues) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(p)) {
		if i > 0 {
			b.WriteByte(',')
		}
		encodeJSON(&b, name)
		b.WriteByte(':')
		if p[name] == "" {
			b.WriteString("null")
		} else {
			encodeJSON(&b, p[name])
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encodeJSON appends a string as JSON without escaping <, > and &.
func encodeJSON(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // strings always encode
	b.Truncate(b.Len() - 1)
}

// action is a line of a log entry or of a V2 checkpoint: one member is set, none if the action is of an unknown kind,
// which readers ignore.
type action struct {
	CommitInfo         json.RawMessage     `json:"commitInfo,omitempty"`
	Protocol           *Protocol           `json:"protocol,omitempty"`
	Metadata           *Metadata           `json:"metaData,omitempty"`
	Txn                *Txn                `json:"txn,omitempty"`
	DomainMetadata     *DomainMetadata     `json:"domainMetadata,omitempty"`
	Remove             *Remove             `json:"remove,omitempty"`
	Add                *Add                `json:"add,omitempty"`
	Change             *changeFile         `json:"cdc,omitempty"`
	CheckpointMetadata *checkpointMetadata `json:"checkpointMetadata,omitempty"`
	Sidecar            *sidecar            `json:"sidecar,omitempty"`
}

// checkpointMetadata and sidecar only occur in V2 checkpoints.
type checkpointMetadata struct {
	Version int64 `json:"version"`
}

type sidecar struct {
	Path        string `json:"path"`
	SizeInBytes int64  `json:"sizeInBytes"`
}

// NumRecords is the number of the file's rows by its statistics, those of its deletion vector not counted; false if it has
// none.
func (a *Add) NumRecords() (int64, bool) {
	n, ok := a.storedRecords()
	if ok && a.DeletionVector != nil {
		n -= a.DeletionVector.Cardinality
	}
	return n, ok
}

// storedRecords is NumRecords with those of the deletion vector.
func (a *Add) storedRecords() (int64, bool) {
	if n, ok := leadingRecords(a.Stats); ok {
		return n, true
	}
	var stats struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if a.Stats == "" || json.Unmarshal([]byte(a.Stats), &stats) != nil || stats.NumRecords == nil {
		return 0, false
	}
	return *stats.NumRecords, true
}

// leadingRecords reads the number of rows where most writers put it, in front, without the rest of the statistics.
func leadingRecords(stats string) (int64, bool) {
	rest, ok := strings.CutPrefix(stats, `{"numRecords":`)
	if !ok {
		return 0, false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == len(rest) || rest[digits] != ',' && rest[digits] != '}' || digits > 1 && rest[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(rest[:digits], 10, 64)
	return n, err == nil
}
