package main

import (
	"encoding/binary"
	"io"
	"math"
	"net"
)

// Frame types and flags of RSocket 1.0.
const (
	typeSetup          = 0x01
	typeRequestChannel = 0x07
	typeRequestN       = 0x08
	typePayload        = 0x0A
	flagNext           = 0x020
	flagComplete       = 0x040
)

// frame returns a frame with its 24-bit length.
func frame(stream uint32, kind, flags uint16, body []byte) []byte {
	n := 6 + len(body)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n)}
	b = binary.BigEndian.AppendUint32(b, stream)
	b = binary.BigEndian.AppendUint16(b, kind<<10|flags)
	return append(b, body...)
}

func setup() []byte {
	body := []byte{0, 1, 0, 0} // version 1.0
	body = binary.BigEndian.AppendUint32(body, 20_000)
	body = binary.BigEndian.AppendUint32(body, 90_000)
	for range 2 { // MIME types of metadata and data
		body = append(append(body, 10), "text/plain"...)
	}
	return frame(0, typeSetup, 0, body)
}

// send opens a channel and sends n payloads, the opening one included, within the demand that comes back; COMPLETE goes
// out together with the last.
func send(c net.Conn, stream uint32, n int) {
	opening := binary.BigEndian.AppendUint32(nil, math.MaxInt32)
	c.Write(frame(stream, typeRequestChannel, 0, append(opening, "item"...)))
	for sent := 1; sent < n; {
		demand, err := nextDemand(c, stream)
		if err != nil {
			return
		}
		var out []byte
		for ; demand > 0 && sent < n; demand-- {
			sent++
			out = append(out, frame(stream, typePayload, flagNext, []byte("item"))...)
		}
		if sent == n {
			out = append(out, frame(stream, typePayload, flagComplete, nil)...)
		}
		c.Write(out)
	}
}

// nextDemand reads frames until a REQUEST_N of the stream.
func nextDemand(c net.Conn, stream uint32) (uint32, error) {
	for {
		var head [3]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return 0, err
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, body); err != nil {
			return 0, err
		}
		if len(body) == 10 && binary.BigEndian.Uint32(body) == stream && binary.BigEndian.Uint16(body[4:])>>10 == typeRequestN {
			return binary.BigEndian.Uint32(body[6:]), nil
		}
	}
}
