package commit

import (
	"context"
	"time"

	"github.com/weir-dev/weir/delta"
)

// Maintain looks after the table, once there is one, until ctx is done. It stands back while a submission is written or
// committed. Beside merges it commits by turns, so that a merge never has to be worked out again because of it.
func (l *Local) Maintain(ctx context.Context, p delta.MaintenancePolicy) {
	for l.table.Load() == nil {
		select {
		case <-time.After(p.Every):
		case <-ctx.Done():
			return
		}
	}
	p.Busy = func() bool { return l.working.Load() > 0 }
	if l.set.Merge != nil {
		p.Turn = l.takeTurn
	}
	p.Parquet = l.set.Parquet
	delta.NewMaintainer(l.table.Load(), p).Run(ctx)
}

// takeTurn waits until neither a merge nor maintenance commits; the turn ends with done.
func (l *Local) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case <-l.turn:
		return func() { l.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Size is the number of the table's data files and their bytes, as last seen; 0 before there is a table.
func (l *Local) Size() (files int, bytes int64) {
	if t := l.table.Load(); t != nil {
		s := t.Snapshot()
		return s.NumFiles(), s.Bytes()
	}
	return 0, 0
}
