package delta

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"time"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// Snapshot is the state of a table at a version. It never changes.
type Snapshot struct {
	version int64
	at      time.Time // of the commit, by its writer's clock
	mark    mark      // of the entry; zero if it was not there to be read
	replay  int64     // bytes of the entries since the checkpoint that it was loaded from
	store   store.Store
	state
}

// state is what the log's actions add up to.
type state struct {
	protocol   *Protocol
	metadata   *Metadata
	schema     *schema.Type  // of metadata
	files      pmap[*Add]    // by fileID
	tombstones pmap[*Remove] // by fileID
	txns       pmap[*Txn]    // by application
	domains    pmap[*DomainMetadata]
	bytes      int64 // of the files
}

// edit begins a run of changes of which only the end is used; seal ends it.
func (s *state) edit() {
	s.files, s.tombstones = s.files.editing(), s.tombstones.editing()
	s.txns, s.domains = s.txns.editing(), s.domains.editing()
}

func (s *state) seal() {
	s.files, s.tombstones = s.files.settled(), s.tombstones.settled()
	s.txns, s.domains = s.txns.settled(), s.domains.settled()
}

// apply replays one action, in the order of the log.
func (s *state) apply(a *action) {
	switch {
	case a.Add != nil:
		id := fileID(a.Add.Path, a.Add.DeletionVector)
		var old *Add
		var had bool
		if s.files, old, had = s.files.put(id, a.Add); had {
			s.bytes -= old.Size
		}
		s.bytes += a.Add.Size
		s.tombstones = s.tombstones.remove(id)
	case a.Remove != nil:
		id := fileID(a.Remove.Path, a.Remove.DeletionVector)
		s.drop(id)
		s.tombstones = s.tombstones.set(id, a.Remove)
	case a.Txn != nil:
		s.txns = s.txns.set(a.Txn.AppID, a.Txn)
	case a.DomainMetadata != nil:
		if a.DomainMetadata.Removed {
			s.domains = s.domains.remove(a.DomainMetadata.Domain)
		} else {
			s.domains = s.domains.set(a.DomainMetadata.Domain, a.DomainMetadata)
		}
	case a.Protocol != nil:
		s.protocol = a.Protocol
	case a.Metadata != nil:
		s.metadata = a.Metadata
		s.schema = nil // parsed when the entry is complete
	}
}

func (s *state) drop(id string) {
	if old, ok := s.files.get(id); ok {
		s.bytes -= old.Size
		s.files = s.files.remove(id)
	}
}

// settle checks what must hold after each version. Errors: *CorruptLogError, *UnsupportedFeatureError.
func (s *state) settle() error {
	switch {
	case s.protocol == nil:
		return &CorruptLogError{Err: errors.New("no protocol action")}
	case s.metadata == nil:
		return &CorruptLogError{Err: errors.New("no metaData action")}
	}
	if err := checkReadable(s.protocol, s.metadata); err != nil {
		return err
	}
	if s.schema != nil {
		return nil
	}
	t, err := s.metadata.schema()
	if err != nil {
		if unknown, ok := errors.AsType[*schema.UnknownTypeError](err); ok {
			return &UnsupportedFeatureError{Feature: "type " + unknown.Type}
		}
		return &CorruptLogError{Err: err}
	}
	for _, c := range s.metadata.PartitionColumns {
		if t.Index(c) < 0 && len(t.Fields) > 0 {
			return &CorruptLogError{Err: fmt.Errorf("partition column %q is not in the schema", c)}
		}
	}
	s.schema = t
	return nil
}

// next is the snapshot after e.
func (s *Snapshot) next(e *entry) (*Snapshot, error) {
	n := *s
	n.version, n.mark, n.replay = e.version, e.mark, s.replay+e.size
	for i := range e.actions {
		n.apply(&e.actions[i])
	}
	if err := n.settle(); err != nil {
		return nil, fmt.Errorf("version %d: %w", e.version, err)
	}
	info := e.info()
	if at := info.Time(); !at.IsZero() {
		n.at = at
	}
	return &n, nil
}

// Version is the number of the commit that made the snapshot.
func (s *Snapshot) Version() int64 { return s.version }

// Timestamp is when that commit was made, by its writer's clock.
func (s *Snapshot) Timestamp() time.Time { return s.at }

// Protocol is what the table asks of readers and writers.
func (s *Snapshot) Protocol() Protocol { return s.protocol.clone() }

// Metadata is a copy of what the table is.
func (s *Snapshot) Metadata() Metadata { return s.metadata.clone() }

// Schema is the table's schema, partition columns included.
func (s *Snapshot) Schema() *schema.Type { return s.schema }

// PartitionColumns are the names of the partition columns, in order.
func (s *Snapshot) PartitionColumns() []string { return slices.Clone(s.metadata.PartitionColumns) }

// Configuration are the table's properties.
func (s *Snapshot) Configuration() map[string]string { return s.metadata.normal().Configuration }

// Txn is the version that the application recorded last.
func (s *Snapshot) Txn(appID string) (int64, bool) {
	t, ok := s.txns.get(appID)
	if !ok {
		return 0, false
	}
	return t.Version, true
}

// Domain is the configuration of a metadata domain.
func (s *Snapshot) Domain(name string) (string, bool) {
	d, ok := s.domains.get(name)
	if !ok {
		return "", false
	}
	return d.Configuration, true
}

// Files yields the data files, in no particular order, with DataChange false: in a state nothing changes. What an Add
// points to must not be changed.
func (s *Snapshot) Files() iter.Seq[Add] {
	return func(yield func(Add) bool) {
		// Many at a time: they lie all over the memory, and a processor fetches what a short loop touches side by side.
		var some [32]*Add
		var copies [len(some)]Add
		flush := func(n int) bool {
			touched := byte(0)
			for i, a := range some[:n] {
				copies[i] = *a
				copies[i].DataChange = false
				if a.Stats != "" {
					touched += a.Stats[0]
				}
			}
			runtime.KeepAlive(touched)
			for i := range n {
				if !yield(copies[i]) {
					return false
				}
			}
			return true
		}
		n := 0
		for _, a := range s.files.all() {
			some[n] = a
			if n++; n == len(some) {
				if !flush(n) {
					return
				}
				n = 0
			}
		}
		flush(n)
	}
}

// NumFiles is the number of data files.
func (s *Snapshot) NumFiles() int { return s.files.len }

// Bytes is the size of all data files.
func (s *Snapshot) Bytes() int64 { return s.bytes }

// Contains says whether the file of that path (as in an Add, without a deletion vector) is part of the snapshot.
func (s *Snapshot) Contains(path string) bool {
	_, ok := s.files.get(fileID(path, nil))
	return ok
}

// Holds says whether the file is part of the snapshot with the same rows: a file with another deletion vector is another.
func (s *Snapshot) Holds(a *Add) bool {
	_, ok := s.files.get(fileID(a.Path, a.DeletionVector))
	return ok
}

// NumRecords is the number of rows by the files' statistics; false if a file has none.
func (s *Snapshot) NumRecords() (int64, bool) {
	total := int64(0)
	for _, a := range s.files.all() {
		n, ok := a.NumRecords()
		if !ok {
			return 0, false
		}
		total += n
	}
	return total, true
}
