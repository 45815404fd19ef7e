package delta

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

const defaultLogRetention = 30 * 24 * time.Hour

// CleanLog deletes entries and checkpoints that no reader needs, and returns how many files: those before the newest
// checkpoint from which every version of the log retention (delta.logRetentionDuration, 30 days if the table does not say)
// can still be read. It does nothing if the table has delta.enableExpiredLogCleanup = false. The age of a version is that
// of its file, or of an earlier one's that is younger, cut to whole days in UTC, so that several writers agree. The files beside
// V2 checkpoints stay.
//
// It is never called by a commit: an application that keeps its own state in the log decides when entries may go.
//
// Errors: *UnsupportedFeatureError, those of [Table.Update] and of the store.
func (t *Table) CleanLog(ctx context.Context) (int, error) {
	files, err := t.expired(ctx)
	if err != nil {
		return 0, err
	}
	// Oldest first: a reader that comes upon a log half cleaned finds its beginning missing, not a gap.
	for i, f := range files {
		if err := t.store.Delete(ctx, f.Key); err != nil {
			return i, fmt.Errorf("clean log: %w", err)
		}
	}
	return len(files), nil
}

// ExpiredLog lists the files that [Table.CleanLog] would delete. Errors: those of CleanLog.
func (t *Table) ExpiredLog(ctx context.Context) ([]string, error) {
	files, err := t.expired(ctx)
	keys := make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	return keys, err
}

func (t *Table) expired(ctx context.Context) ([]store.Info, error) {
	s, err := t.Update(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return nil, err
	}
	if v, ok := s.metadata.Configuration["delta.enableExpiredLogCleanup"]; ok && !isTrue(v) {
		return nil, nil
	}
	retention := s.intervalProperty("delta.logRetentionDuration", defaultLogRetention)
	cutoff := t.opt.Now().Add(-retention).UTC().Truncate(24 * time.Hour)
	files, err := expiredLog(ctx, t.store, cutoff)
	if err != nil {
		return nil, fmt.Errorf("clean log: %w", err)
	}
	return files, nil
}

// expiredLog lists the files before the newest checkpoint that is not younger than the newest entry of the cutoff.
func expiredLog(ctx context.Context, st store.Store, cutoff time.Time) ([]store.Info, error) {
	var files []store.Info
	checkpoints := map[int64][]logFile{}
	newest := int64(-1) // entry that is old enough, as are all before it
	young := false
	for info, err := range st.List(ctx, logDir, "") {
		if err != nil {
			return nil, err
		}
		f := parseLogFile(info.Key)
		switch f.kind {
		case entryFile:
			if young = young || info.Modified.After(cutoff); !young {
				newest = f.version
			}
		case classicCheckpoint, multipartCheckpoint, v2Checkpoint:
			checkpoints[f.version] = append(checkpoints[f.version], f)
		case otherFile:
			if !isChecksum(info.Key) {
				continue
			}
		}
		files = append(files, info)
	}
	keep := int64(-1)
	for v, parts := range checkpoints {
		if v <= newest && v > keep && completeCheckpoint(parts) != nil {
			keep = v
		}
	}
	limit := fmt.Sprintf("%s%020d", logDir, max(keep, 0))
	for i, f := range files {
		if f.Key >= limit {
			return files[:i], nil
		}
	}
	return nil, nil
}

// isChecksum says whether a file of the log is the checksum of a version.
func isChecksum(key string) bool {
	name := strings.TrimPrefix(key, logDir)
	return strings.HasSuffix(name, ".crc") && len(name) == len("00000000000000000000.crc")
}
