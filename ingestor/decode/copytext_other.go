//go:build !amd64

package decode

// hasBlocks is never true: eight bytes at a time are looked at.
var hasBlocks = false

func copyBlocks(_, _ *byte, _ int) int { return 0 }

func asciiBlocks(_ *byte, _ int) int { return 0 }
