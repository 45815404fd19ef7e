package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/weir-dev/weir/delta/store"
)

// latest asks for the newest version.
const latest = math.MaxInt64

// segment is the part of the log from which a snapshot is made: a checkpoint, if there is one, and the entries after it.
type segment struct {
	checkpoint []logFile // the parts of one checkpoint; nil when there is none
	first      int64     // version of the first entry to replay
	last       int64     // version of the snapshot
}

// base is the version of the checkpoint, or -1.
func (seg *segment) base() int64 { return seg.first - 1 }

// lastCheckpoint is the hint at the newest checkpoint.
type lastCheckpoint struct {
	Version int64 `json:"version"`
	Size    int64 `json:"size"` // actions
	Parts   int64 `json:"parts,omitempty"`

	SizeInBytes   int64 `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64 `json:"numOfAddFiles,omitempty"`
}

// readLastCheckpoint is the version that _last_checkpoint names. It is a hint: absent or garbled, the answer is 0.
func readLastCheckpoint(ctx context.Context, st store.Store) (int64, error) {
	var hint lastCheckpoint
	switch data, err := readObject(ctx, st, lastCheckpointKey, 1<<20); {
	case err == nil:
		if json.Unmarshal(data, &hint) != nil {
			hint.Version = 0
		}
	case !errors.Is(err, store.ErrNotExist) && !IsFatal(err):
		return 0, fmt.Errorf("read _last_checkpoint: %w", err)
	}
	return max(hint.Version, 0), nil
}

// findSegment lists the log for the segment of the given version, or the latest.
//
// Errors: ErrNotATable, *CorruptLogError, *VersionError, those of the store.
func findSegment(ctx context.Context, st store.Store, version int64) (*segment, error) {
	hint, err := readLastCheckpoint(ctx, st)
	if err != nil {
		return nil, err
	}
	if hint > version {
		hint = 0
	}
	seg, err := listSegment(ctx, st, hint, version)
	if hint > 0 && err != nil && ctx.Err() == nil { // the hint may be wrong
		return listSegment(ctx, st, 0, version)
	}
	return seg, err
}

func listSegment(ctx context.Context, st store.Store, from, version int64) (*segment, error) {
	var entries []int64
	checkpoints := map[int64][]logFile{}
	newer := false // there are versions after the wanted one
	for info, err := range st.List(ctx, logDir, fmt.Sprintf("%s%020d", logDir, from)) {
		if err != nil {
			return nil, fmt.Errorf("list log: %w", err)
		}
		f := parseLogFile(info.Key)
		if f.version > version {
			newer = true
			break
		}
		switch f.kind {
		case entryFile:
			entries = append(entries, f.version)
		case classicCheckpoint, multipartCheckpoint, v2Checkpoint:
			checkpoints[f.version] = append(checkpoints[f.version], f)
		case otherFile:
		}
	}
	switch {
	case len(entries) == 0 && len(checkpoints) == 0 && !newer:
		return nil, ErrNotATable
	case version != latest && !slices.Contains(entries, 0) && !anyComplete(checkpoints):
		return nil, &VersionError{version, "is no longer in the log, which has been cleaned up"}
	}
	return newSegment(entries, checkpoints, version)
}

func anyComplete(checkpoints map[int64][]logFile) bool {
	for _, files := range checkpoints {
		if completeCheckpoint(files) != nil {
			return true
		}
	}
	return false
}

// newSegment picks the newest complete checkpoint and checks that the entries after it are all there. entries are sorted.
func newSegment(entries []int64, checkpoints map[int64][]logFile, version int64) (*segment, error) {
	seg := &segment{last: -1}
	for v, files := range checkpoints {
		if parts := completeCheckpoint(files); parts != nil && v >= seg.first {
			seg.checkpoint, seg.first, seg.last = parts, v+1, v
		}
	}
	for _, v := range entries {
		if v < seg.first {
			continue
		}
		if v != seg.last+1 {
			return nil, &CorruptLogError{Err: fmt.Errorf("versions are not contiguous: %d is followed by %d", seg.last, v)}
		}
		seg.last = v
	}
	if seg.last < 0 {
		return nil, &CorruptLogError{Err: errors.New("neither version 0 nor a complete checkpoint is there")}
	}
	if version != latest && seg.last < version {
		return nil, &VersionError{version, fmt.Sprintf("does not exist: the latest is %d", seg.last)}
	}
	return seg, nil
}

// completeCheckpoint picks the files of one whole checkpoint among those of a version, nil if there is none. The single
// classic file is preferred.
func completeCheckpoint(files []logFile) []logFile {
	parts := map[int][]logFile{} // by number of parts
	var v2 []logFile
	for _, f := range files {
		switch f.kind {
		case classicCheckpoint:
			return []logFile{f}
		case v2Checkpoint:
			v2 = []logFile{f}
		case multipartCheckpoint:
			parts[f.parts] = append(parts[f.parts], f) // listed in order, each once
		default:
		}
	}
	for n, p := range parts {
		if len(p) == n {
			return p
		}
	}
	return v2
}

// load makes the snapshot of a version, or the latest.
//
// Errors: ErrNotATable, *CorruptLogError, *UnsupportedFeatureError, *VersionError, those of the store.
func load(ctx context.Context, st store.Store, version int64) (*Snapshot, *segment, error) {
	for try := 0; ; try++ {
		seg, err := findSegment(ctx, st, version)
		if err != nil {
			return nil, nil, err
		}
		s, err := seg.replay(ctx, st)
		if errors.Is(err, store.ErrNotExist) && try < 2 {
			continue // cleaned up since it was listed
		}
		return s, seg, err
	}
}

func (seg *segment) replay(ctx context.Context, st store.Store) (*Snapshot, error) {
	s := &Snapshot{version: seg.last, store: st}
	s.edit()
	if seg.checkpoint != nil {
		if err := readCheckpoint(ctx, st, seg.checkpoint, &s.state); err != nil {
			return nil, fmt.Errorf("checkpoint %d: %w", seg.base(), err)
		}
	}
	var tip *entry
	err := readEntries(ctx, st, seg.first, seg.last, func(e *entry) {
		for i := range e.actions {
			s.apply(&e.actions[i])
		}
		s.replay += e.size
		tip = e
	})
	if err != nil {
		return nil, err
	}
	if tip == nil { // the checkpoint is the end; its entry may have been cleaned up
		if tip, err = readEntry(ctx, st, seg.last); errors.Is(err, store.ErrNotExist) {
			tip = &entry{version: seg.last}
		} else if err != nil {
			return nil, err
		}
	}
	s.seal()
	s.mark = tip.mark
	info := tip.info()
	s.at = info.Time()
	if err := s.settle(); err != nil {
		return nil, fmt.Errorf("version %d: %w", s.version, err)
	}
	return s, nil
}

// readEntries reads the versions first to last, several at a time, and hands them to apply in order, while further ones are
// read.
func readEntries(ctx context.Context, st store.Store, first, last int64, apply func(*entry)) error {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	type result struct {
		e   *entry
		err error
	}
	results := make([]chan result, min(int64(4*runtime.GOMAXPROCS(0)), max(0, last-first+1))) // by version, in a ring
	start := func(v int64) {
		c := make(chan result, 1)
		results[(v-first)%int64(len(results))] = c
		readers.Go(func() {
			e, err := readEntry(ctx, st, v)
			c <- result{e, err}
		})
	}
	for v := first; v < first+int64(len(results)); v++ {
		start(v)
	}
	for v := first; v <= last; v++ {
		r := <-results[(v-first)%int64(len(results))]
		if r.err != nil {
			return r.err
		}
		if next := v + int64(len(results)); next <= last {
			start(next)
		}
		apply(r.e)
	}
	return nil
}
