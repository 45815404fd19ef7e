package decode

import "golang.org/x/sys/cpu"

// hasBlocks says whether copyBlocks and asciiBlocks can be used. Without them eight bytes at a time are looked at.
var hasBlocks = cpu.X86.HasAVX2

// copyBlocks copies src to dst in blocks of 32 bytes, as long as whole ones are left of the n bytes that both have, until
// one has a quote, a backslash, a control character or a byte that is not ASCII. It returns the index of the first such
// byte, or how many bytes it copied.
//
//go:noescape
func copyBlocks(dst, src *byte, n int) int

// asciiBlocks looks at blocks of 32 bytes, as long as whole ones are left of the n bytes of src. It returns the index of the
// first byte that is not ASCII, or how many bytes it looked at.
//
//go:noescape
func asciiBlocks(src *byte, n int) int
