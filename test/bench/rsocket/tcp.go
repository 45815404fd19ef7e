package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// The plain TCP stack is the floor: a four-byte length and the payload, written and read through large buffers, with the
// receiver's credit coming back. A session begins with one byte that says which way the payloads go.

func tcpServe(_ context.Context, ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for tcpSession(c) == nil {
			}
		}()
	}
}

func tcpSession(c net.Conn) error {
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	n, size := int(binary.BigEndian.Uint32(head[1:])), int(binary.BigEndian.Uint32(head[5:]))
	if head[0] == 'd' {
		return tcpSend(c, n, make([]byte, size))
	}
	return tcpReceive(c, n)
}

// tcpSend sends n payloads within the other side's credit.
func tcpSend(c net.Conn, n int, payload []byte) error {
	w := bufio.NewWriterSize(c, 64<<10)
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
	allowed := credit
	var more [4]byte
	for range n {
		if allowed == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, more[:]); err != nil {
				return err
			}
			allowed = int(binary.BigEndian.Uint32(more[:]))
		}
		if _, err := w.Write(frame); err != nil {
			return err
		}
		allowed--
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for { // the credit that is still to come, ended by a zero
		if _, err := io.ReadFull(c, more[:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(more[:]) == 0 {
			return nil
		}
	}
}

// tcpReceive takes n payloads and grants anew when half of the credit is used.
func tcpReceive(c net.Conn, n int) error {
	r := bufio.NewReaderSize(c, 64<<10)
	var head, grant [4]byte
	buf := make([]byte, 0, 64<<10)
	used := 0
	for range n {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if size > cap(buf) {
			return errors.New("payload too long")
		}
		if _, err := io.ReadFull(r, buf[:size]); err != nil {
			return err
		}
		if used++; used == credit/2 {
			binary.BigEndian.PutUint32(grant[:], uint32(used))
			if _, err := c.Write(grant[:]); err != nil {
				return err
			}
			used = 0
		}
	}
	_, err := c.Write([]byte{0, 0, 0, 0})
	return err
}

type tcpClient struct{ net.Conn }

func tcpDial(ctx context.Context, addr string) (client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	return tcpClient{c}, err
}

func (c tcpClient) begin(way byte, n, size int) error {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{way}, uint32(n)), uint32(size))
	_, err := c.Write(b)
	return err
}

func (c tcpClient) up(_ context.Context, n int, payload []byte) error {
	if err := c.begin('u', n, len(payload)); err != nil {
		return err
	}
	return tcpSend(c.Conn, n, payload)
}

func (c tcpClient) down(_ context.Context, n, size int) error {
	if err := c.begin('d', n, size); err != nil {
		return err
	}
	return tcpReceive(c.Conn, n)
}

func (tcpClient) forget(context.Context, int, []byte) error       { return errNotOffered }
func (tcpClient) respond(context.Context, int, int, []byte) error { return errNotOffered }
