//go:build !linux

package decode_test

import "testing"

// reportCPU reports nothing where there is no processor time of a thread.
func reportCPU(*testing.B) (stop func()) { return func() {} }
