package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// TimestampError says that the table did not exist at a time, or that the log of that time has been cleaned up.
type TimestampError struct {
	At, Earliest time.Time
}

func (e *TimestampError) Error() string {
	return fmt.Sprintf("nothing is known of the table at %s: its log begins at %s",
		e.At.UTC().Format(time.RFC3339Nano), e.Earliest.UTC().Format(time.RFC3339Nano))
}

// OpenAtTime is the snapshot of the newest version that is not younger than at.
//
// The time of a version is, as for other readers, that of its log file in the store, or later if an earlier version's is;
// from the version on where the table has in-commit timestamps, it is the one in the commit, and versions before are older.
//
// Errors: as of [Open], *TimestampError.
func OpenAtTime(ctx context.Context, st store.Store, at time.Time) (*Snapshot, error) {
	newest, _, err := load(ctx, st, latest)
	if err != nil {
		return nil, err
	}
	times, err := versionTimes(ctx, st, newest)
	if err != nil {
		return nil, err
	}
	// The number of versions that are old enough; the times do not decrease.
	n := sort.Search(len(times), func(i int) bool {
		if err != nil {
			return true
		}
		var t time.Time
		t, err = times[i].get(ctx, st)
		return t.After(at)
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		earliest, err := times[0].get(ctx, st)
		return nil, errors.Join(err, &TimestampError{At: at, Earliest: earliest})
	}
	if version := times[n-1].version; version < newest.version {
		return OpenAt(ctx, st, version)
	}
	return newest, nil
}

// versionTime is when a version was made.
type versionTime struct {
	version  int64
	modified time.Time // of its file, made to increase, and to lie before the first in-commit timestamp
	inCommit bool      // the commit itself says
}

// versionTimes lists the versions that can be read, in order; there is one at least.
func versionTimes(ctx context.Context, st store.Store, newest *Snapshot) ([]versionTime, error) {
	from, enabled := newest.version+1, int64(0) // version and time since which commits say their time themselves
	if newest.inCommitTimestamps() {
		from, _ = newest.intProperty("delta.inCommitTimestampEnablementVersion")
		enabled, _ = newest.intProperty("delta.inCommitTimestampEnablementTimestamp")
	}
	var times []versionTime
	base := newest.version // the first version that can be made of what is there
	checkpoints := map[int64][]logFile{}
	for info, err := range st.List(ctx, logDir, "") {
		if err != nil {
			return nil, fmt.Errorf("list log: %w", err)
		}
		f := parseLogFile(info.Key)
		switch {
		case f.kind == otherFile || f.version > newest.version:
			continue
		case f.kind != entryFile:
			checkpoints[f.version] = append(checkpoints[f.version], f)
			if completeCheckpoint(checkpoints[f.version]) != nil {
				base = min(base, f.version)
			}
			continue
		case f.version == 0:
			base = 0
		}
		t := versionTime{version: f.version, modified: info.Modified, inCommit: f.version >= from}
		if n := len(times); n > 0 && !t.modified.After(times[n-1].modified) {
			t.modified = times[n-1].modified.Add(time.Millisecond)
		}
		if latest := time.UnixMilli(enabled + f.version - from); enabled > 0 && f.version < from && t.modified.After(latest) {
			t.modified = latest // the log was copied: its files are younger than their commits
		}
		times = append(times, t)
	}
	times = slices.DeleteFunc(times, func(t versionTime) bool { return t.version < base })
	if len(times) == 0 { // nothing but a checkpoint
		times = []versionTime{{version: newest.version, modified: newest.at}}
	}
	return times, nil
}

func (v *versionTime) get(ctx context.Context, st store.Store) (time.Time, error) {
	if !v.inCommit {
		return v.modified, nil
	}
	e, err := readEntry(ctx, st, v.version)
	if err != nil {
		return time.Time{}, err
	}
	info := e.info()
	if info.InCommitTimestamp == nil {
		return time.Time{}, &CorruptLogError{Key: entryKey(v.version), Err: errors.New("no inCommitTimestamp")}
	}
	return info.Time(), nil
}
