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
	edit *pedit[V] // nil: every change copies
}

// pedit is an edit, and room for its next nodes: made one by one they would be much of the work of loading a table.
type pedit[V any] struct{ room []pnode[V] }

// node is a new node of the edit, which may be nil.
func (e *pedit[V]) node() *pnode[V] {
	if e == nil {
		return new(pnode[V])
	}
	if len(e.room) == 0 {
		e.room = make([]pnode[V], 64)
	}
	n := &e.room[0]
	e.room = e.room[1:]
	n.edit = e
	return n
}

func (e *pedit[V]) leaf(h uint64, entry pentry[V]) *pnode[V] {
	n := e.node()
	n.hash, n.pentry = h, entry
	return n
}

// editing is m for a run of changes of which only the last result is used. The maps that m was made from stay as they are.
func (m pmap[V]) editing() pmap[V] { return pmap[V]{m.root, m.len, new(pedit[V])} }

// settled is m with every later change a copy again.
func (m pmap[V]) settled() pmap[V] { return pmap[V]{m.root, m.len, nil} }

// pnode is a leaf (keys share hash) or a branch on 5 bits of the hash.
type pnode[V any] struct {
	edit     *pedit[V] // that may change the node in place; nil: none
	bitmap   uint32    // of the slots that children fills, in order; 0 in a leaf
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
	m, _, _ = m.put(key, v)
	return m
}

// put is set; old is what the key had, if it was there.
func (m pmap[V]) put(key string, v V) (_ pmap[V], old V, had bool) {
	root, old, had := m.root.set(m.edit, 0, phash(key), pentry[V]{key, v})
	if had {
		return pmap[V]{root, m.len, m.edit}, old, true
	}
	return pmap[V]{root, m.len + 1, m.edit}, old, false
}

// own is n if the edit may change it, and otherwise a copy with room for another child.
func (n *pnode[V]) own(edit *pedit[V]) *pnode[V] {
	if edit != nil && n.edit == edit {
		return n
	}
	out := edit.node()
	out.bitmap, out.children = n.bitmap, append(make([]*pnode[V], 0, len(n.children)+1), n.children...)
	return out
}

func (n *pnode[V]) set(edit *pedit[V], shift int, h uint64, e pentry[V]) (out *pnode[V], old V, had bool) {
	if n == nil {
		return edit.leaf(h, e), old, false
	}
	if n.bitmap == 0 {
		return n.setLeaf(edit, shift, h, e)
	}
	bit := slot(h, shift)
	i := n.position(bit)
	out = n.own(edit)
	if n.bitmap&bit == 0 {
		out.bitmap |= bit
		out.children = slices.Insert(out.children, i, edit.leaf(h, e))
		return out, old, false
	}
	out.children[i], old, had = out.children[i].set(edit, shift+pbits, h, e)
	return out, old, had
}

func (n *pnode[V]) setLeaf(edit *pedit[V], shift int, h uint64, e pentry[V]) (out *pnode[V], old V, had bool) {
	if n.hash != h { // a branch takes the leaf's place
		branch := edit.node()
		branch.bitmap, branch.children = slot(n.hash, shift), append(make([]*pnode[V], 0, 4), n)
		return branch.set(edit, shift, h, e)
	}
	out = edit.leaf(h, n.pentry)
	out.more = slices.Clone(n.more)
	if at := out.find(e.key); at != nil {
		old, *at = at.value, e
		return out, old, true
	}
	out.more = append(out.more, e)
	return out, old, false
}

func (m pmap[V]) remove(key string) pmap[V] {
	if m.root == nil {
		return m
	}
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
