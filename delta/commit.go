package delta

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// CommitResult says what became of a commit.
type CommitResult struct {
	Version  int64
	Attempts int       // how often the transaction was built; 0: an earlier attempt was found
	Snapshot *Snapshot // of Version, or a later one if an earlier attempt was found
}

// Commit commits what build makes of the newest snapshot.
//
// The steps: build and validate a transaction; put it as the next log entry, if that is absent; when another writer was
// first, read what was committed since and begin anew. So build is called once per attempt, each time with a newer
// snapshot, and must not commit to or update this Table. A transaction whose Base is older than that snapshot is checked
// for conflicts with the entries in between.
//
// The difficulty: a put that fails may have been written. Then the entry is read back; if it is not there, the same bytes
// are put again, never others under another version, so the entry is in the log at most once. That an entry can be read
// does not make it durable: a commit counts when the store has taken the put, or has said that the key is taken and the
// bytes there are ours.
//
// Invariants: version N+1 is put only after N was read from the store in this call, with the bytes that were replayed. A
// nil error means that the entry is durable. Commits of one Table have one order, that of the log.
//
// Errors: what build returns; *InvalidTransactionError, *UnsupportedFeatureError, ErrAppendOnly; *ConflictError;
// ErrTableRecreated; *UnknownOutcomeError; those of the store and of ctx, after which nothing was committed.
func (t *Table) Commit(ctx context.Context, build func(ctx context.Context, s *Snapshot) (*Transaction, error)) (CommitResult, error) {
	return t.CommitOnce(ctx, new(Attempts), build)
}

// CommitOnce is [Table.Commit] of work that was tried before, or will be tried again after an *UnknownOutcomeError: before
// each attempt it looks for the earlier ones in the log. Attempts are used by one call at a time.
func (t *Table) CommitOnce(ctx context.Context, earlier *Attempts, build func(ctx context.Context, s *Snapshot) (*Transaction, error)) (CommitResult, error) {
	if err := t.acquire(ctx); err != nil {
		return CommitResult{}, err
	}
	defer t.release()
	if t.checkpoints.isClosed() {
		return CommitResult{}, ErrClosed
	}
	for attempt := 1; attempt <= t.opt.MaxAttempts; attempt++ {
		if err := t.refresh(ctx, attempt, earlier.Open()); err != nil {
			return CommitResult{}, err
		}
		if landed, err := t.landed(ctx, earlier); err != nil {
			return CommitResult{}, err
		} else if landed {
			return CommitResult{Version: earlier.version, Snapshot: t.snap.Load()}, nil
		}
		s, err := t.attempt(ctx, build)
		if err != nil {
			earlier.note(err)
			return CommitResult{}, err
		}
		if s != nil {
			t.maybeCheckpoint(s)
			return CommitResult{Version: s.version, Attempts: attempt, Snapshot: s}, nil
		}
	}
	return CommitResult{}, &ConflictError{Kind: ConflictAttempts, Version: t.snap.Load().version}
}

// refresh makes sure of what the next put builds on. The first attempt reads the newest known entry again, one small read:
// the put of N+1 would succeed in the log of a table that was removed or made anew as well, since it says nothing of N.
// Whether N is the newest, the put itself finds out. Later attempts read what others have committed since, and so does the
// first one if there were others before it.
func (t *Table) refresh(ctx context.Context, attempt int, again bool) error {
	if attempt == 1 {
		if err := t.verify(ctx); err != nil || !again {
			return err
		}
	}
	if attempt > 2 { // more than two writers: get out of step
		if err := pause(ctx, attempt-2); err != nil {
			return err
		}
	}
	return t.advance(ctx)
}

// pause waits a random time that grows with n, at most a quarter of a second.
func pause(ctx context.Context, n int) error {
	most := min(time.Millisecond<<min(n, 8), 250*time.Millisecond)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt makes one attempt. The snapshot is nil if another writer was first.
func (t *Table) attempt(ctx context.Context, build func(context.Context, *Snapshot) (*Transaction, error)) (*Snapshot, error) {
	s := t.snap.Load()
	tx, err := build(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := t.checkConflicts(ctx, s, tx); err != nil {
		return nil, err
	}
	p, err := t.prepare(s, tx)
	if err != nil {
		return nil, err
	}
	taken, err := t.put(ctx, p)
	if err != nil || taken {
		return nil, err
	}
	if err := t.checkStillThere(ctx, s, p); err != nil {
		return nil, err
	}
	if err := t.accept(p); err != nil {
		return nil, err
	}
	return t.snap.Load(), nil
}

// checkConflicts checks a transaction that was read from an older snapshot against the entries since.
func (t *Table) checkConflicts(ctx context.Context, s *Snapshot, tx *Transaction) error {
	if tx.Base == nil || tx.Base.version == s.version {
		return nil
	}
	if tx.Base.version > s.version || tx.Base.metadata.ID != s.metadata.ID {
		return invalid("its base is not an earlier snapshot of this table")
	}
	for v := tx.Base.version + 1; v <= s.version; v++ {
		e, err := readEntry(ctx, t.store, v)
		if err != nil {
			return fmt.Errorf("check conflicts: %w", err)
		}
		if err := tx.conflict(e); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the log entry of tx after s.
func (t *Table) prepare(s *Snapshot, tx *Transaction) (*prepared, error) {
	after, err := tx.validate(s)
	if err != nil {
		return nil, err
	}
	now := t.opt.Now()
	info, err := tx.info(s, after, t.opt.EngineInfo, now)
	if err != nil {
		return nil, err
	}
	actions, err := tx.actions(s, info, now)
	if err != nil {
		return nil, err
	}
	data, err := encodeActions(actions)
	if err != nil {
		return nil, err
	}
	if len(data) > maxEntryBytes { // nobody could read the table again
		return nil, invalid("its entry would have %d bytes, more than %d: commit fewer files at a time", len(data), maxEntryBytes)
	}
	return &prepared{version: s.version + 1, id: info.TxnID, data: data, mark: sha256.Sum256(data), tx: tx}, nil
}

// maxPuts bounds how often one entry is put when the store fails without saying what happened.
const maxPuts = 5

// put puts the entry. taken: another writer's entry is there.
//
// Errors: *UnknownOutcomeError; otherwise nothing was written.
func (t *Table) put(ctx context.Context, p *prepared) (taken bool, err error) {
	var doubt error // the first one
	for n := 1; ; n++ {
		err := t.store.PutIfAbsent(ctx, entryKey(p.version), p.data)
		if err == nil {
			return false, nil
		}
		if errors.Is(err, store.ErrNotWritten) && doubt == nil {
			return false, fmt.Errorf("put version %d: %w", p.version, err)
		}
		doubt = cmp.Or(doubt, err)
		found, ours, rerr := t.readBack(ctx, p)
		switch {
		case found && !ours:
			return true, nil
		case found && errors.Is(err, store.ErrExist):
			return false, nil
		}
		// It is absent; or there, but the store has not said that it will stay: a directory that could not be synced.
		if rerr == nil && n < maxPuts {
			rerr = pause(ctx, n+4)
		}
		if rerr != nil || n >= maxPuts {
			return false, &UnknownOutcomeError{Version: p.version, TxnID: p.id, Err: errors.Join(doubt, rerr)}
		}
	}
}

// readBackFor bounds reading back an entry after the caller has gone.
const readBackFor = 10 * time.Second

// readBack looks whose entry has the version of p. It does so even if ctx is done: the answer decides whether data counts.
func (t *Table) readBack(ctx context.Context, p *prepared) (found, ours bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackFor)
	defer cancel()
	for n := 1; ; n++ {
		data, err := readObject(ctx, t.store, entryKey(p.version), maxEntryBytes)
		switch {
		case err == nil:
			return true, sha256.Sum256(data) == p.mark, nil
		case errors.Is(err, store.ErrNotExist):
			return false, false, nil
		case n == maxPuts:
			return false, false, err
		}
		if err := pause(ctx, n+4); err != nil {
			return false, false, err
		}
	}
}

// checkStillThere looks at the predecessor once more if the put took so long (the process was stopped, the machine slept)
// that it may have gone into another history.
func (t *Table) checkStillThere(ctx context.Context, s *Snapshot, p *prepared) error {
	if !t.unseen(t.opt.Now()) || s.mark == (mark{}) {
		return nil
	}
	e, err := readEntry(ctx, t.store, s.version)
	if err == nil && e.mark == s.mark {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return &UnknownOutcomeError{Version: p.version, TxnID: p.id, Err: fmt.Errorf("it was put, but took long, and its predecessor cannot be read: %w", err)}
	}
	return fmt.Errorf("version %d was written, but its predecessor is not what it was: %w", p.version, ErrTableRecreated)
}

// accept makes the snapshot after the entry p, which is in the store.
func (t *Table) accept(p *prepared) error {
	e, err := parseEntry(p.version, p.data)
	if err != nil {
		return err
	}
	next, err := t.snap.Load().next(e)
	if err != nil {
		return err
	}
	next.forget(t.opt.Now())
	t.snap.Store(next)
	t.seen = t.opt.Now()
	return nil
}
