package delta

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/schema"
)

// The protocol that new tables get: every reader opens it.
const (
	defaultReaderVersion = 1
	defaultWriterVersion = 2
)

// The versions from which on features are listed by name.
const (
	featureReaderVersion = 3
	featureWriterVersion = 7
)

// readable are the reader features that change nothing for this reader, or that it honours.
var readable = map[string]bool{
	"vacuumProtocolCheck":  true, // concerns VACUUM alone
	"timestampNtz":         true,
	"columnMapping":        true,
	"deletionVectors":      true,
	"typeWidening":         true, // what the Parquet reader cannot widen it refuses
	"typeWidening-preview": true,
	"v2Checkpoint":         true,
	"variantType":          true, // deltalake lists it in tables without such a column; one with is refused for its type
	"variantType-preview":  true,
}

// writable are the writer features that may be in a table that this writer appends to. Those that matter only when they
// are in use are checked by activeFeatures.
var writable = map[string]bool{
	"appendOnly":          true,
	"invariants":          true,
	"checkConstraints":    true,
	"generatedColumns":    true,
	"allowColumnDefaults": true,
	"changeDataFeed":      true,
	"identityColumns":     true,
	"vacuumProtocolCheck": true,
	"timestampNtz":        true,
	"domainMetadata":      true,
	"inCommitTimestamp":   true,
	"columnMapping":       true,
	"deletionVectors":     true, // files with one are kept as they are
	"v2Checkpoint":        true, // classic checkpoints are allowed
	"variantType":         true, // see readable
	"variantType-preview": true,
}

// inCommitTimestamps says whether commits carry a time that never goes back.
func (s *state) inCommitTimestamps() bool {
	return isTrue(s.metadata.Configuration["delta.enableInCommitTimestamps"]) && slices.Contains(s.protocol.WriterFeatures, "inCommitTimestamp")
}

// needed are the features that the table properties ask for and that a writer version stands for.
func needed(configuration map[string]string) (features []string, writer int32) {
	writer = defaultWriterVersion
	for key := range configuration {
		if strings.HasPrefix(key, constraintPrefix) {
			features, writer = []string{"checkConstraints"}, 3
			break
		}
	}
	if isTrue(configuration[changeFeedProperty]) {
		features, writer = append(features, "changeDataFeed"), 4
	}
	return features, writer
}

// protocolWith is the protocol of a new table that has the given features, besides those of the default protocol and those
// that its properties need. It is the lowest that says so.
func protocolWith(features []string, configuration map[string]string) *Protocol {
	more, writer := needed(configuration)
	if len(features) == 0 {
		return &Protocol{MinReaderVersion: defaultReaderVersion, MinWriterVersion: writer}
	}
	features = slices.Clone(features)
	for _, f := range more {
		if !slices.Contains(features, f) {
			features = append(features, f)
		}
	}
	p := &Protocol{
		MinReaderVersion: defaultReaderVersion, MinWriterVersion: featureWriterVersion,
		WriterFeatures: append([]string{"appendOnly", "invariants"}, features...),
	}
	for _, f := range features {
		if readable[f] {
			p.MinReaderVersion = featureReaderVersion
			p.ReaderFeatures = append(p.ReaderFeatures, f)
		}
	}
	return p
}

// CheckWritable says whether this package can commit to the table as it is; a Commit would say the same. Error:
// *UnsupportedFeatureError.
func (s *Snapshot) CheckWritable() error {
	return checkWritable(s.state.protocol, s.state.metadata, s.state.schema)
}

// checkReadable refuses tables that this reader would misread. Error: *UnsupportedFeatureError.
func checkReadable(p *Protocol, m *Metadata) error {
	switch {
	case p.MinReaderVersion < 1:
		return &CorruptLogError{Err: fmt.Errorf("reader version %d", p.MinReaderVersion)}
	case p.MinReaderVersion > featureReaderVersion:
		return &UnsupportedFeatureError{Feature: fmt.Sprintf("reader version %d", p.MinReaderVersion)}
	case p.MinReaderVersion == featureReaderVersion:
		for _, f := range p.ReaderFeatures {
			if !readable[f] {
				return &UnsupportedFeatureError{Feature: f}
			}
		}
	}
	if provider := m.Format.Provider; provider != "" && provider != "parquet" {
		return &UnsupportedFeatureError{Feature: "format " + provider}
	}
	return nil
}

// checkWritable refuses tables whose rules this writer could break. Error: *UnsupportedFeatureError.
func checkWritable(p *Protocol, m *Metadata, s *schema.Type) error {
	if p.MinWriterVersion > featureWriterVersion {
		return &UnsupportedFeatureError{Feature: fmt.Sprintf("writer version %d", p.MinWriterVersion), Write: true}
	}
	if p.MinWriterVersion == featureWriterVersion {
		for _, f := range p.WriterFeatures {
			if !writable[f] {
				return &UnsupportedFeatureError{Feature: f, Write: true}
			}
		}
	}
	if f := activeFeature(m, s); f != "" {
		return &UnsupportedFeatureError{Feature: f, Write: true}
	}
	return nil
}

// activeFeature names something in use that asks a writer to evaluate expressions which this one cannot, or to make up
// values. Empty: nothing.
func activeFeature(m *Metadata, s *schema.Type) string {
	if _, bad := rulesOf(m, s); bad != nil {
		return fmt.Sprintf("%s (%v)", bad.what, bad.err)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Configuration)) {
		value := m.Configuration[key]
		switch {
		case key == mappingMode && value != "none":
			return "columnMapping"
		case strings.HasPrefix(key, "delta.enableIcebergCompat") && isTrue(value),
			key == "delta.enableRowTracking" && isTrue(value):
			return strings.TrimPrefix(key, "delta.")
		}
	}
	return activeFieldFeature(s, "")
}

// nestedInvariant is a feature of fields inside of others only: those of columns are evaluated.
const nestedInvariant = "column invariant"

// fieldFeatures are the members of a field's metadata that ask something of a writer.
var fieldFeatures = map[string]string{
	invariantKey:                 nestedInvariant,
	"delta.generationExpression": "generated column",
	"delta.identity.start":       "identity column",
	"delta.identity.step":        "identity column",
	"CURRENT_DEFAULT":            "default value of column",
}

func activeFieldFeature(t *schema.Type, path string) string {
	if t == nil {
		return ""
	}
	for _, f := range t.Fields {
		full := strings.TrimPrefix(path+"."+f.Name, ".")
		for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
			if what, ok := fieldFeatures[key]; ok && (path != "" || what != nestedInvariant) {
				return what + " " + full
			}
		}
		if found := activeFieldFeature(f.Type, full); found != "" {
			return found
		}
	}
	if found := activeFieldFeature(t.Key, path); found != "" {
		return found
	}
	return activeFieldFeature(t.Elem, path)
}

func isTrue(value string) bool {
	ok, err := strconv.ParseBool(strings.ToLower(value))
	return ok && err == nil
}
