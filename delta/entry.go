package delta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/weir-dev/weir/delta/store"
)

// maxEntryBytes bounds a log entry.
const maxEntryBytes = 1 << 30

// entry is one version of the log.
type entry struct {
	version int64
	mark    mark
	size    int64 // bytes in the log
	actions []action
}

// mark is the checksum of an entry: with the random id in its commitInfo it tells one history from another.
type mark [sha256.Size]byte

// info is the commitInfo of the entry, empty if it has none.
func (e *entry) info() CommitInfo {
	c := CommitInfo{Version: e.version}
	for i := range e.actions {
		if raw := e.actions[i].CommitInfo; raw != nil {
			_ = json.Unmarshal(raw, &c) // provenance is of free form; what cannot be read is not there
			break
		}
	}
	return c
}

// readEntry reads a version. Errors: store.ErrNotExist, *CorruptLogError, those of the store.
func readEntry(ctx context.Context, st store.Store, version int64) (*entry, error) {
	key := entryKey(version)
	data, err := readObject(ctx, st, key, maxEntryBytes)
	if err != nil {
		return nil, fmt.Errorf("read version %d: %w", version, err)
	}
	return parseEntry(version, data)
}

func parseEntry(version int64, data []byte) (*entry, error) {
	e := &entry{version: version, mark: sha256.Sum256(data), size: int64(len(data))}
	for a, err := range eachAction(entryKey(version), data) {
		if err != nil {
			return nil, err
		}
		e.actions = append(e.actions, a)
	}
	return e, nil
}

// readObject reads a whole object of at most limit bytes.
func readObject(ctx context.Context, st store.Store, key string, limit int64) ([]byte, error) {
	r, err := st.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read
	if r.Size() > limit {
		return nil, &CorruptLogError{Key: key, Err: fmt.Errorf("%d bytes are more than the limit of %d", r.Size(), limit)}
	}
	data := make([]byte, r.Size())
	if n, err := r.ReadAt(data, 0); n < len(data) && err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}

// eachAction parses newline-delimited actions. Blank lines and actions of unknown kinds are skipped.
func eachAction(key string, data []byte) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		n := 0
		for line := range bytes.Lines(data) {
			n++
			line = bytes.TrimSpace(line)
			if len(line) == 0 {
				continue
			}
			a, err := parseAction(line)
			if err != nil {
				yield(action{}, &CorruptLogError{Key: key, Line: n, Err: err})
				return
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

// parseAction parses one line of the log.
func parseAction(line []byte) (action, error) {
	var a action
	if add, ok := parseAdd(line); ok {
		a.Add = add
		return a, a.check()
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return action{}, err
	}
	if line[0] != '{' {
		return action{}, errors.New("not an object")
	}
	return a, a.check()
}

// check refuses what a reader could misunderstand.
func (a *action) check() error {
	switch {
	case a.Add != nil && a.Add.Path == "":
		return errors.New("add without a path")
	case a.Add != nil && a.Add.Size < 0:
		return fmt.Errorf("add of %d bytes", a.Add.Size)
	case a.Remove != nil && a.Remove.Path == "":
		return errors.New("remove without a path")
	case a.Txn != nil && a.Txn.AppID == "":
		return errors.New("txn without an appId")
	case a.Sidecar != nil && a.Sidecar.Path == "":
		return errors.New("sidecar without a path")
	}
	return nil
}

// encodeActions is the inverse of eachAction.
func encodeActions(actions []action) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range actions {
		if err := enc.Encode(&actions[i]); err != nil {
			return nil, fmt.Errorf("encode action: %w", err)
		}
	}
	return b.Bytes(), nil
}
