//go:build !unix

package rsocket

import "io"

// socket is not offered on this system: everything is written by the flusher.
type socket struct{}

func socketOf(io.Writer) *socket { return nil }

func (*socket) tryWrite([]byte) (int, error) { return 0, nil }
