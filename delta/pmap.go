package delta

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// pmap is a persistent map by string: set and remove make a new map that shares all but O(log n) of the old one, which
// stays as it was. So a snapshot of 100,000 files advances by one commit without copying them, and commit latency does
// not grow with the table. It is a hash array mapped trie (Bagwell, Ideal Hash Trees, 2001); the hash is seeded per
// process, so that nobody can choose keys that collide.
//
// While many entries are set at once, [pmap.editing] saves the copies: nodes made under an edit are changed in place by
// it, and by it alone.
//
// The zero pmap is empty.
type pmap[V any] struct {
	root *pnode[V]
	len  int
	edit *pedit // nil: every change copies
}

// pedit is the identity of an edit; it must not be of size zero, whose pointers may all be equal.
type pedit struct{ _ byte }

// editing is m for a run of changes of which only the last result is used. The maps that m was made from stay as they are.
func (m pmap[V]) editing() pmap[V] { return pmap[V]{m.root, m.len, new(pedit)} }

// settled is m with every later change a copy again.
func (m pmap[V]) settled() pmap[V] { return pmap[V]{m.root, m.len, nil} }

// pnode is a leaf (keys share hash) or a branch on 5 bits of the hash.
type pnode[V any] struct {
	edit     *pedit // that may change the node in place; nil: none
	bitmap   uint32 // of the slots that children fills, in order; 0 in a leaf
	children []*pnode[V]

	hash uint64 // leaf
	pentry[V]
	more []pentry[V] // whose keys share the hash
}

type pentry[V any] struct {
	key   string
	value V
}

const pbits = 5

var pseed = maphash.MakeSeed()

func phash(key string) uint64 { return maphash.String(pseed, key) }

func (m pmap[V]) get(key string) (V, bool) { return m.root.get(0, phash(key), key) }

// get finds a key below n, which is at the given depth in bits.
func (n *pnode[V]) get(shift int, h uint64, key string) (V, bool) {
	for ; n != nil; shift += pbits {
		if n.bitmap == 0 {
			if n.hash == h {
				if e := n.find(key); e != nil {
					return e.value, true
				}
			}
			break
		}
		n = n.child(slot(h, shift))
	}
	var none V
	return none, false
}

// child is what a branch has in a slot, nil if nothing.
func (n *pnode[V]) child(bit uint32) *pnode[V] {
	if n.bitmap&bit == 0 {
		return nil
	}
	return n.children[n.position(bit)]
}

func slot(h uint64, shift int) uint32 { return 1 << (h >> shift & (1<<pbits - 1)) }

func (n *pnode[V]) position(bit uint32) int { return bits.OnesCount32(n.bitmap & (bit - 1)) }

// find is the entry of a key in a leaf, nil if it has none.
func (n *pnode[V]) find(key string) *pentry[V] {
	if n.key == key {
		return &n.pentry
	}
	for i := range n.more {
		if n.more[i].key == key {
			return &n.more[i]
		}
	}
	return nil
}

func (m pmap[V]) set(key string, v V) pmap[V] {
	root, grown := m.root.set(m.edit, 0, phash(key), pentry[V]{key, v})
	if grown {
		return pmap[V]{root, m.len + 1, m.edit}
	}
	return pmap[V]{root, m.len, m.edit}
}

// own is n if the edit may change it, and otherwise a copy with room for another child.
func (n *pnode[V]) own(edit *pedit) *pnode[V] {
	if edit != nil && n.edit == edit {
		return n
	}
	return &pnode[V]{edit: edit, bitmap: n.bitmap, children: append(make([]*pnode[V], 0, len(n.children)+1), n.children...)}
}

func (n *pnode[V]) set(edit *pedit, shift int, h uint64, e pentry[V]) (*pnode[V], bool) {
	if n == nil {
		return &pnode[V]{edit: edit, hash: h, pentry: e}, true
	}
	if n.bitmap == 0 {
		return n.setLeaf(edit, shift, h, e)
	}
	bit := slot(h, shift)
	i := n.position(bit)
	out := n.own(edit)
	if n.bitmap&bit == 0 {
		out.bitmap |= bit
		out.children = slices.Insert(out.children, i, &pnode[V]{edit: edit, hash: h, pentry: e})
		return out, true
	}
	child, grown := out.children[i].set(edit, shift+pbits, h, e)
	out.children[i] = child
	return out, grown
}

func (n *pnode[V]) setLeaf(edit *pedit, shift int, h uint64, e pentry[V]) (*pnode[V], bool) {
	if n.hash != h { // a branch takes the leaf's place
		branch := &pnode[V]{edit: edit, bitmap: slot(n.hash, shift), children: []*pnode[V]{n}}
		return branch.set(edit, shift, h, e)
	}
	out := &pnode[V]{edit: edit, hash: h, pentry: n.pentry, more: slices.Clone(n.more)}
	if old := out.find(e.key); old != nil {
		*old = e
		return out, false
	}
	out.more = append(out.more, e)
	return out, true
}

func (m pmap[V]) remove(key string) pmap[V] {
	root, found := m.root.remove(0, phash(key), key)
	if !found {
		return m
	}
	return pmap[V]{root, m.len - 1, m.edit}
}

func (n *pnode[V]) remove(shift int, h uint64, key string) (*pnode[V], bool) {
	if n == nil {
		return nil, false
	}
	if n.bitmap == 0 {
		return n.removeLeaf(h, key)
	}
	bit := slot(h, shift)
	if n.bitmap&bit == 0 {
		return n, false
	}
	i := n.position(bit)
	child, found := n.children[i].remove(shift+pbits, h, key)
	if !found {
		return n, false
	}
	if child != nil {
		if child.bitmap == 0 && len(n.children) == 1 {
			return child, true // a branch with one leaf is that leaf
		}
		out := &pnode[V]{bitmap: n.bitmap, children: append(make([]*pnode[V], 0, len(n.children)), n.children...)}
		out.children[i] = child
		return out, true
	}
	return n.without(i, bit), true
}

func (n *pnode[V]) without(i int, bit uint32) *pnode[V] {
	if len(n.children) == 1 {
		return nil
	}
	if len(n.children) == 2 && n.children[1-i].bitmap == 0 {
		return n.children[1-i]
	}
	out := &pnode[V]{bitmap: n.bitmap &^ bit, children: make([]*pnode[V], 0, len(n.children)-1)}
	out.children = append(append(out.children, n.children[:i]...), n.children[i+1:]...)
	return out
}

func (n *pnode[V]) removeLeaf(h uint64, key string) (*pnode[V], bool) {
	if n.hash != h || n.find(key) == nil {
		return n, false
	}
	if len(n.more) == 0 {
		return nil, true
	}
	left := slices.DeleteFunc(append([]pentry[V]{n.pentry}, n.more...), func(e pentry[V]) bool { return e.key == key })
	return &pnode[V]{hash: h, pentry: left[0], more: left[1:]}, true
}

// all yields the entries in no particular order.
func (m pmap[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { m.root.each(yield) }
}

func (n *pnode[V]) each(yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.bitmap == 0 {
		if !yield(n.key, n.value) {
			return false
		}
		for i := range n.more {
			if !yield(n.more[i].key, n.more[i].value) {
				return false
			}
		}
		return true
	}
	for _, c := range n.children {
		if !c.each(yield) {
			return false
		}
	}
	return true
}

// changes calls gone for each entry of a that b has not, or with another value, and came the other way round. What the maps
// share is not visited, so the changes of a few commits are found in a time that hardly grows with the table.
func changes[V comparable](a, b pmap[V], gone, came func(V)) {
	nodeChanges(a.root, b.root, 0, gone, came)
}

func nodeChanges[V comparable](a, b *pnode[V], shift int, gone, came func(V)) {
	switch {
	case a == b:
		return
	case a == nil || b == nil || a.bitmap == 0 || b.bitmap == 0:
		missing(a, b, shift, gone)
		missing(b, a, shift, came)
		return
	}
	for left := a.bitmap | b.bitmap; left != 0; left &= left - 1 {
		bit := left & -left
		nodeChanges(a.child(bit), b.child(bit), shift+pbits, gone, came)
	}
}

// missing yields the entries below n that are not below other.
func missing[V comparable](n, other *pnode[V], shift int, yield func(V)) {
	n.each(func(key string, v V) bool {
		if other != nil {
			if same, ok := other.get(shift, phash(key), key); ok && same == v {
				return true
			}
		}
		yield(v)
		return true
	})
}
