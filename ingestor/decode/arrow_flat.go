package decode

import (
	"encoding/binary"
	"unicode/utf8"
)

// flat reads a FlatBuffer that nobody has verified: every access is checked, and what is out of bounds sets bad and reads
// as absent. Offsets only point forward, so that no walk can circle.
//
// Format: flatbuffers.dev, "FlatBuffer Internals"; all integers are little-endian.
type flat struct {
	b   []byte
	bad bool
}

// table is the position of a table, 0 for none.
type table int

func (f *flat) u16(at int) uint16 {
	if at < 0 || at > len(f.b)-2 {
		f.bad = true
		return 0
	}
	return binary.LittleEndian.Uint16(f.b[at:])
}

func (f *flat) u32(at int) uint32 {
	if at < 0 || at > len(f.b)-4 {
		f.bad = true
		return 0
	}
	return binary.LittleEndian.Uint32(f.b[at:])
}

func (f *flat) i64(at int) int64 {
	if at < 0 || at > len(f.b)-8 {
		f.bad = true
		return 0
	}
	return int64(binary.LittleEndian.Uint64(f.b[at:]))
}

func (f *flat) root() table { return f.follow(0) }

// follow reads the offset at a position and goes there.
func (f *flat) follow(at int) table {
	n := f.u32(at)
	if f.bad || n == 0 || uint64(n) > uint64(len(f.b)-at) {
		f.bad = true
		return 0
	}
	return table(at + int(n))
}

// field is the position of field n of a table, 0 if it has none.
func (f *flat) field(t table, n int) int {
	if t == 0 {
		return 0
	}
	vtable := int(t) - int(int32(f.u32(int(t))))
	size := int(f.u16(vtable))
	if f.bad || 4+2*n+2 > size {
		return 0
	}
	off := int(f.u16(vtable + 4 + 2*n))
	if off == 0 {
		return 0
	}
	return int(t) + off
}

func (f *flat) byteAt(t table, n int) byte {
	at := f.field(t, n)
	if at == 0 {
		return 0
	}
	if at >= len(f.b) {
		f.bad = true
		return 0
	}
	return f.b[at]
}

func (f *flat) shortAt(t table, otherwise int) int {
	if at := f.field(t, 0); at != 0 {
		return int(int16(f.u16(at)))
	}
	return otherwise
}

func (f *flat) intAt(t table, n, otherwise int) int {
	if at := f.field(t, n); at != 0 {
		return int(int32(f.u32(at)))
	}
	return otherwise
}

func (f *flat) longAt(t table, n int) int64 {
	if at := f.field(t, n); at != 0 {
		return f.i64(at)
	}
	return 0
}

func (f *flat) tableAt(t table, n int) table {
	if at := f.field(t, n); at != 0 {
		return f.follow(at)
	}
	return 0
}

// vectorAt is where the elements of a vector begin, and how many of the given size there are.
func (f *flat) vectorAt(t table, n, size int) (at, count int) {
	v := f.tableAt(t, n)
	if v == 0 {
		return 0, 0
	}
	count = int(f.u32(int(v)))
	if f.bad || count > (len(f.b)-int(v)-4)/size {
		f.bad = true
		return 0, 0
	}
	return int(v) + 4, count
}

func (f *flat) stringAt(t table, n int) string {
	at, count := f.vectorAt(t, n, 1)
	s := string(f.b[at : at+count])
	if !utf8.ValidString(s) {
		f.bad = true
	}
	return s
}
