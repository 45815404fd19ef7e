package delta

import (
	"context"
	"slices"
)

// legacyFeatures are the features that a writer version below 7 stands for, by the version that brought them.
var legacyFeatures = []struct {
	writer   int32
	features []string
}{
	{2, []string{"appendOnly", "invariants"}},
	{3, []string{"checkConstraints"}},
	{4, []string{"changeDataFeed", "generatedColumns"}},
	{5, []string{"columnMapping"}},
	{6, []string{"identityColumns"}},
}

// withFeature is the protocol p raised to have a feature, by name; nil if it has it.
func (p *Protocol) withFeature(name string) *Protocol {
	if p.MinWriterVersion == featureWriterVersion && slices.Contains(p.WriterFeatures, name) {
		return nil
	}
	out := p.clone()
	if p.MinWriterVersion < featureWriterVersion {
		for _, l := range legacyFeatures {
			if p.MinWriterVersion >= l.writer {
				out.WriterFeatures = append(out.WriterFeatures, l.features...)
			}
		}
	}
	out.MinWriterVersion = featureWriterVersion
	if !slices.Contains(out.WriterFeatures, name) {
		out.WriterFeatures = append(out.WriterFeatures, name)
	}
	if !readable[name] {
		return &out
	}
	if p.MinReaderVersion == 2 {
		out.ReaderFeatures = append(out.ReaderFeatures, "columnMapping")
	}
	out.MinReaderVersion = featureReaderVersion
	if !slices.Contains(out.ReaderFeatures, name) {
		out.ReaderFeatures = append(out.ReaderFeatures, name)
	}
	return &out
}

// EnableDeletionVectors lets merges and deletes mark rows instead of rewriting files. From then on only readers that know
// the table feature deletionVectors open the table. It does nothing if that is so already.
//
// Errors: those of [Table.Commit].
func (t *Table) EnableDeletionVectors(ctx context.Context) error {
	if t.Snapshot().deletionVectors() {
		return nil
	}
	_, err := t.Commit(ctx, func(_ context.Context, s *Snapshot) (*Transaction, error) {
		md := s.Metadata()
		if md.Configuration == nil {
			md.Configuration = map[string]string{}
		}
		md.Configuration["delta.enableDeletionVectors"] = "true"
		return &Transaction{
			Operation: "SET TBLPROPERTIES", Parameters: map[string]any{"properties": `{"delta.enableDeletionVectors":"true"}`},
			Protocol: s.protocol.withFeature("deletionVectors"), Metadata: &md,
		}, nil
	})
	return err
}
