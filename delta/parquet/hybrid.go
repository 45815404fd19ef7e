package parquet

import (
	"encoding/binary"
	"fmt"
)

// hybrid reads the RLE/bit-packed hybrid encoding value by value, so that a run that claims a billion values costs
// nothing until they are asked for.
type hybrid struct {
	b      []byte
	width  uint   // bits of a value, 0..32
	run    int    // values left in the current run
	value  int32  // of a repeated run
	packed []byte // of a bit-packed run
	bit    uint   // position in packed
	msb    bool   // the deprecated BIT_PACKED encoding: highest bit first, no runs
}

func newHybrid(b []byte, width uint) (hybrid, error) {
	if width > 32 {
		return hybrid{}, fmt.Errorf("bit width %d: %w", width, ErrCorrupt)
	}
	return hybrid{b: b, width: width}, nil
}

// advance begins the next run.
func (h *hybrid) advance() error {
	if h.width == 0 && len(h.b) == 0 { // a column with one possible value may store nothing
		h.run, h.value, h.packed = 1<<30, 0, nil
		return nil
	}
	head, n := binary.Uvarint(h.b)
	if n <= 0 {
		return fmt.Errorf("levels or indices end early: %w", ErrCorrupt)
	}
	h.b = h.b[n:]
	if head&1 == 0 {
		return h.repeated(head >> 1)
	}
	// Bit-packed in groups of 8; the last group may be cut at the end of the page.
	groups, size, width := head>>1, uint64(len(h.b)), uint64(h.width)
	if width == 0 {
		h.packed, h.run = h.b[:0], int(min(groups, 1<<30)*8)
		return nil
	}
	if groups <= size/width {
		size = groups * width
	}
	h.packed, h.b, h.bit = h.b[:size], h.b[size:], 0
	h.run = int(size * 8 / width)
	if h.run == 0 && groups > 0 {
		return fmt.Errorf("levels or indices end early: %w", ErrCorrupt)
	}
	return nil
}

func (h *hybrid) repeated(count uint64) error {
	size := int(h.width+7) / 8
	if len(h.b) < size {
		return fmt.Errorf("levels or indices end early: %w", ErrCorrupt)
	}
	var x uint32
	for i, c := range h.b[:size] {
		x |= uint32(c) << (8 * i)
	}
	if uint64(x)>>h.width != 0 {
		return fmt.Errorf("level or index %d has more than %d bits: %w", x, h.width, ErrCorrupt)
	}
	h.b, h.packed, h.value = h.b[size:], nil, int32(x)
	h.run = int(min(count, 1<<40))
	return nil
}

// next fills dst with the next values.
func (h *hybrid) next(dst []int32) error {
	for len(dst) > 0 {
		for h.run == 0 {
			if err := h.advance(); err != nil {
				return err
			}
		}
		n := min(h.run, len(dst))
		switch {
		case h.packed == nil:
			for i := range dst[:n] {
				dst[i] = h.value
			}
		case h.msb:
			h.unpackMSB(dst[:n])
		default:
			h.unpack(dst[:n])
		}
		h.run -= n
		dst = dst[n:]
	}
	return nil
}

// repeat takes up to most values at once, if what comes next is a run of one value. n is 0 if it is not.
func (h *hybrid) repeat(most int) (value int32, n int, err error) {
	for h.run == 0 {
		if err := h.advance(); err != nil {
			return 0, 0, err
		}
	}
	if h.packed != nil {
		return 0, 0, nil
	}
	n = min(h.run, most)
	h.run -= n
	return h.value, n, nil
}

// zeros takes up to most values, if what comes next is a run of zeros.
func (h *hybrid) zeros(most int) (int, error) {
	for h.run == 0 {
		if err := h.advance(); err != nil {
			return 0, err
		}
	}
	if h.packed != nil || h.value != 0 {
		return 0, nil
	}
	_, n, err := h.repeat(most)
	return n, err
}

// unpack reads values whose lowest bit comes first.
func (h *hybrid) unpack(dst []int32) {
	if h.width == 0 {
		clear(dst)
		return
	}
	mask := uint64(1)<<h.width - 1
	for i := range dst {
		at := h.bit >> 3
		var word uint64
		if int(at)+8 <= len(h.packed) {
			word = binary.LittleEndian.Uint64(h.packed[at:])
		} else {
			for k, c := range h.packed[at:] {
				word |= uint64(c) << (8 * k)
			}
		}
		dst[i] = int32(word >> (h.bit & 7) & mask)
		h.bit += h.width
	}
}

// newBitPacked reads the deprecated encoding of levels that old writers used.
func newBitPacked(b []byte, width uint, values int) (h hybrid, rest []byte, err error) {
	size := (values*int(width) + 7) / 8
	if size > len(b) {
		return h, nil, fmt.Errorf("bit-packed levels end early: %w", ErrCorrupt)
	}
	return hybrid{width: width, run: values, packed: b[:size:size], msb: true}, b[size:], nil
}

func (h *hybrid) unpackMSB(dst []int32) {
	for i := range dst {
		var x int32
		for range h.width {
			x = x<<1 | int32(h.packed[h.bit>>3]>>(7-h.bit&7)&1)
			h.bit++
		}
		dst[i] = x
	}
}
