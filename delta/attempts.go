package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-dev/weir/delta/store"
)

// Attempts are the puts of one piece of work of which nobody knows what became: the store failed, and failed to say. Given
// to every call of [Table.CommitOnce] for that work, on the same Table, they see to it that it is committed at most once.
// The zero value is work that was never tried.
//
// The difficulty: a put may be carried out long after it was given up, and by the time the work is tried again the files
// that it added may have left the table, packed into others. So neither that the log lacks the entry says that it will not
// come, nor that the table lacks the files that it did not.
//
// Invariant: all attempts put the same version, the first that the log lacked. As long as it lacks it, that is what the next
// attempt puts as well; once it has it, put-if-absent has decided for all: the entry is one of them, or none can follow.
type Attempts struct {
	version int64
	ids     []string // commitInfo.txnId; empty: nothing is open
}

// Open says whether an earlier call of CommitOnce may have committed the work, or may still.
func (a *Attempts) Open() bool { return len(a.ids) > 0 }

// note adds the put that err leaves open, if it does.
func (a *Attempts) note(err error) {
	unknown, ok := errors.AsType[*UnknownOutcomeError](err)
	if !ok || slices.Contains(a.ids, unknown.TxnID) {
		return
	}
	if a.version != unknown.Version {
		*a = Attempts{version: unknown.Version}
	}
	a.ids = append(a.ids, unknown.TxnID)
}

// landed says whether one of the attempts is in the log, as far as the newest snapshot goes. Attempts that have lost their
// version are forgotten.
//
// Errors: *UnknownOutcomeError when the log cannot say it, those of the store.
func (t *Table) landed(ctx context.Context, a *Attempts) (bool, error) {
	tip := t.snap.Load().version
	if !a.Open() || a.version > tip {
		return false, nil
	}
	key := entryKey(a.version)
	data, err := readObject(ctx, t.store, key, maxEntryBytes)
	if errors.Is(err, store.ErrNotExist) {
		return false, a.unknown(fmt.Errorf("the log was cleaned up beyond it: look whether the table has its rows, then start again: %w", err))
	}
	if err != nil {
		return false, fmt.Errorf("look for an earlier attempt: %w", err)
	}
	e, err := parseEntry(a.version, data)
	if err != nil {
		return false, err
	}
	if info := e.info(); !slices.Contains(a.ids, info.TxnID) {
		*a = Attempts{}
		return false, nil
	}
	if a.version < tip {
		return true, nil
	}
	// It can be read; the store has yet to say that it will stay.
	if err := t.store.PutIfAbsent(ctx, key, data); err != nil && !errors.Is(err, store.ErrExist) {
		return false, a.unknown(err)
	}
	return true, nil
}

func (a *Attempts) unknown(err error) error {
	return &UnknownOutcomeError{Version: a.version, TxnID: a.ids[len(a.ids)-1], Err: err}
}
