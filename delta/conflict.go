package delta

import "slices"

// conflict says whether tx, read from its Base, may come after the entry e of another writer. The rules and their order
// are those of the protocol's reference implementation.
//
// Error: *ConflictError.
func (tx *Transaction) conflict(e *entry) error {
	found := func(kind ConflictKind, subject string) error {
		return &ConflictError{Kind: kind, Version: e.version, Subject: subject}
	}
	blind := isBlindAppend(e)
	for i := range e.actions {
		switch a := &e.actions[i]; {
		case a.Protocol != nil:
			return found(ConflictProtocol, "")
		case a.Metadata != nil:
			return found(ConflictMetadata, a.Metadata.ID)
		case a.Add != nil && tx.missed(a.Add, blind):
			return found(ConflictAppend, a.Add.Path)
		case a.Remove != nil && tx.read(a.Remove):
			return found(ConflictDeleteRead, a.Remove.Path)
		case a.Remove != nil && tx.removes(a.Remove):
			return found(ConflictDeleteDelete, a.Remove.Path)
		case a.Txn != nil && tx.dependsOn(a.Txn.AppID):
			return found(ConflictTxn, a.Txn.AppID)
		case a.DomainMetadata != nil && tx.setsDomain(a.DomainMetadata.Domain):
			return found(ConflictDomain, a.DomainMetadata.Domain)
		}
	}
	return nil
}

func isBlindAppend(e *entry) bool {
	info := e.info()
	return info.IsBlindAppend != nil && *info.IsBlindAppend
}

// missed says whether tx should have read a file that another commit added.
func (tx *Transaction) missed(a *Add, blind bool) bool {
	level := tx.isolation(&tx.Base.state)
	if level == SnapshotIsolation || level == WriteSerializable && blind {
		return false
	}
	return tx.Reads.reads(a)
}

// isolation is the level of a transaction: its own, or that of the table (delta.isolationLevel), or Serializable.
func (tx *Transaction) isolation(s *state) Isolation {
	if tx.Isolation != "" {
		return tx.Isolation
	}
	if s.metadata != nil && Isolation(s.metadata.Configuration["delta.isolationLevel"]) == WriteSerializable {
		return WriteSerializable
	}
	return Serializable
}

// read says whether tx read a file that another commit removed. A file rewritten without changing its rows is gone all
// the same. What the file held is in the base: a remove action need not say.
func (tx *Transaction) read(r *Remove) bool {
	if _, ok := tx.Reads.Files[r.Path]; ok {
		return true
	}
	a, ok := tx.Base.files.get(fileID(r.Path, r.DeletionVector))
	return ok && tx.Reads.reads(a)
}

func (tx *Transaction) removes(r *Remove) bool {
	id := identity(r.Path)
	return slices.ContainsFunc(tx.Removes, func(own Remove) bool { return identity(own.Path) == id })
}

func (tx *Transaction) dependsOn(app string) bool {
	return slices.Contains(tx.ReadTxns, app) || slices.ContainsFunc(tx.Txns, func(t Txn) bool { return t.AppID == app })
}

func (tx *Transaction) setsDomain(domain string) bool {
	return slices.ContainsFunc(tx.Domains, func(d DomainMetadata) bool { return d.Domain == domain })
}
