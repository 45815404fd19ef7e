package delta

import (
	"container/list"
	"slices"
	"sync"
)

// keyFilter is a Bloom filter of the keys of one file: it knows for certain that a key is not there. With 20 bits a key and
// 10 probes one of some 15,000 other keys passes, so that a batch of a few thousand keys still leaves files alone.
type keyFilter struct {
	bits []uint64 // a power of two of words
}

const (
	filterBitsPerKey = 20
	filterProbes     = 10
)

func newKeyFilter(keys int64) *keyFilter {
	words := int64(1)
	for words*64 < keys*filterBitsPerKey {
		words *= 2
	}
	return &keyFilter{bits: make([]uint64, words)}
}

// maxFilterKeys is more than a file has, and few enough to count with.
const maxFilterKeys = 1 << 40

// filterBytes is the memory that a filter of so many keys takes. Their number may be any, since the log says it.
func filterBytes(keys int64) int64 {
	words := int64(1)
	keys = min(keys, maxFilterKeys)
	for words*64 < keys*filterBitsPerKey {
		words *= 2
	}
	return 8 * words
}

func (f *keyFilter) add(hash uint64) {
	step, mask := hash>>32|1, uint64(len(f.bits))*64-1
	for range filterProbes {
		at := hash & mask
		f.bits[at>>6] |= 1 << (at & 63)
		hash += step * mixer
	}
}

func (f *keyFilter) has(hash uint64) bool {
	step, mask := hash>>32|1, uint64(len(f.bits))*64-1
	for range filterProbes {
		at := hash & mask
		if f.bits[at>>6]>>(at&63)&1 == 0 {
			return false
		}
		hash += step * mixer
	}
	return true
}

// hasAny says whether one of the hashes may be in.
func (f *keyFilter) hasAny(hashes []uint64) bool {
	return slices.ContainsFunc(hashes, f.has)
}

// keyFilters keeps filters of files in memory, the least recently used go first. A filter is made when a merge reads the
// key columns of a file anyway; data files never change, so it stays true whatever its deletion vector says.
type keyFilters struct {
	seed uint64 // of the hashes, so that nobody can choose keys that collide

	mu    sync.Mutex // guards what follows
	key   string     // the columns that the filters are of
	bytes int64
	byID  map[string]*list.Element // by the file's identity
	order *list.List               // of *filterEntry, the latest use first
}

type filterEntry struct {
	id     string
	filter *keyFilter
}

// get is the filter of a file, nil if there is none. A change of the key forgets all.
func (f *keyFilters) get(key, id string) *keyFilter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key != key || f.byID == nil {
		f.key, f.bytes, f.byID, f.order = key, 0, map[string]*list.Element{}, list.New()
		return nil
	}
	e := f.byID[id]
	if e == nil {
		return nil
	}
	f.order.MoveToFront(e)
	return e.Value.(*filterEntry).filter //nolint:forcetypeassert // put stores nothing else
}

// put keeps a filter, within so many bytes for all.
func (f *keyFilters) put(key, id string, filter *keyFilter, most int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key != key || f.byID[id] != nil {
		return
	}
	f.byID[id] = f.order.PushFront(&filterEntry{id, filter})
	f.bytes += 8 * int64(len(filter.bits))
	for f.bytes > most {
		last := f.order.Back()
		gone := f.order.Remove(last).(*filterEntry) //nolint:forcetypeassert // put stores nothing else
		delete(f.byID, gone.id)
		f.bytes -= 8 * int64(len(gone.filter.bits))
	}
}
