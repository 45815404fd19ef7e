package delta

import (
	"maps"
	"math/bits"
	"slices"
	"time"
)

// Compaction beside a stream of small files: which of them to pack, and when. Packing every small file each time would
// write a table again and again; waiting until a target's worth is there would leave thousands of files. So files are
// packed with others of about their size, when there are enough of them: then what comes out is several times as large, and
// a row is copied once for each such step, a number of times that grows with the logarithm of the target size (O'Neil et
// al., The Log-Structured Merge-Tree, 1996, applied to files).

// Defaults of a compaction.
const (
	defaultMinFiles = 8
	defaultSettled  = time.Hour
)

// level is the power of four that a file's size has reached.
func level(size int64) int { return bits.Len64(uint64(max(size, 0))) / 2 }

// compactions are runs of files to be packed, each into one file of at most target bytes. A file of half the target is
// done.
//
// In a partition that nobody has added to for the time settled, whatever is small is packed.
func (s *Snapshot) compactions(target int64, minFiles int, settled time.Duration, now time.Time) []bin {
	byPartition := map[string]bin{}
	newest := map[string]int64{} // ms
	for _, a := range s.inOrder() {
		key := partitionKey(a.PartitionValues)
		newest[key] = max(newest[key], a.ModificationTime)
		if a.Size < target/2 {
			byPartition[key] = append(byPartition[key], a)
		}
	}
	var out []bin
	for _, key := range slices.Sorted(maps.Keys(byPartition)) {
		small := byPartition[key]
		if now.Sub(time.UnixMilli(newest[key])) < settled {
			small = small.ripe(minFiles)
		}
		out = append(out, small.fill(target)...)
	}
	return out
}

// ripe are the files up to the highest level that has enough of them.
func (b bin) ripe(minFiles int) bin {
	count := map[int]int{}
	top := -1
	for _, a := range b {
		l := level(a.Size)
		if count[l]++; count[l] >= minFiles {
			top = max(top, l)
		}
	}
	return slices.DeleteFunc(slices.Clone(b), func(a *Add) bool { return level(a.Size) > top })
}

// fill cuts neighbours into runs of at most target bytes; a file that would stay alone is in none.
func (b bin) fill(target int64) (out []bin) {
	return slices.DeleteFunc(chunked(b, target), func(run bin) bool { return len(run) < 2 })
}

// in are the files of b that the snapshot still has.
func (b bin) in(s *Snapshot) bin {
	return slices.DeleteFunc(slices.Clone(b), func(a *Add) bool {
		now, ok := s.files.get(fileID(a.Path, a.DeletionVector))
		return !ok || now.Path != a.Path
	})
}
