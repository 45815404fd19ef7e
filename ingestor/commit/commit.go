// Package commit is the committer of a table: the one place that knows all streams of a pipeline and writes its commits.
//
// An owner (the batch stage of a pod) hands in a [Submission]: data files it has written, their schema, and the stream
// ranges they cover together. The committer answers with a [Verdict]. The same interface will be spoken between pods;
// here the committer runs in the owner's process and keeps the state of streams in memory.
package commit

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/event"
)

// Committer commits submissions to one table.
type Committer interface {
	// Open claims a stream. Errors: *StaleEpochError, *OutOfRangeError, ErrFenced; those of ctx.
	Open(ctx context.Context, r OpenRequest) (Opened, error)
	// Leave says that the owner of a claim is gone; the stream's state stays for a later claim.
	Leave(id event.StreamID)
	// Submit commits s whole or not at all. An error leaves the outcome to a later Submit of the same submission.
	Submit(ctx context.Context, s *Submission) (Verdict, error)
}

// OpenRequest asks for a stream.
type OpenRequest struct {
	Stream      event.StreamID
	Incarnation string // of the producer process
	Acked       int64  // k: the last sequence the producer knows to be acknowledged
	// Revoke ends an earlier claim's intake and returns once everything it took in is settled. The committer calls it
	// when a later claim arrives.
	Revoke func(ctx context.Context) error
}

// Opened is a granted claim.
type Opened struct {
	Epoch      int64
	ResumeFrom int64 // the sequence of the next payload
}

// Range is the part of a stream that a submission covers: all payloads up to and including Last that no earlier
// submission covered, rejected ones included.
type Range struct {
	Stream event.StreamID
	Last   int64
}

// Submission is the unit of commit.
type Submission struct {
	Files  []delta.Add     // may be empty: every record of the ranges was rejected
	Source []*column.Batch // instead of Files for a table that is merged
	Schema *schema.Type    // of the files or the source
	// Constraints of the table that the rows of the files were checked against.
	Constraints string
	Ranges      []Range
	Rows        int64
	Bytes       int64 // of the files

	attempts delta.Attempts // of earlier calls of Submit: the files or the source may be in the table already, or may still come
}

// Verdict answers a submission.
type Verdict struct {
	Version int64 // of the table; -1 when the submission held no file and the table has no version yet
	// NewerSchema is set when the files cannot be committed because the table's schema has moved on: the owner writes
	// again under it. Nothing was committed.
	NewerSchema *schema.Type
	Merged      *delta.MergeResult // of a table that is merged
}

// ErrFenced answers a claim on a stream that another incarnation holds. It is final for that incarnation.
var ErrFenced = errors.New("the stream belongs to another incarnation of its producer")

// StaleEpochError answers a claim whose epoch is not above all earlier ones.
type StaleEpochError struct{ Highest int64 }

func (e *StaleEpochError) Error() string {
	return fmt.Sprintf("stale epoch: the highest claimed is %d", e.Highest)
}

// OutOfRangeError answers a claim that says more was acknowledged than was.
type OutOfRangeError struct{ Expected int64 }

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("sequence out of range: %d is expected", e.Expected)
}
