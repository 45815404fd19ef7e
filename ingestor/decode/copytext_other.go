//go:build !amd64

package decode

// hasBlocks is never true: copyText then looks at eight bytes at a time.
var hasBlocks = false

func copyBlocks(_, _ *byte, _ int) int { return 0 }
