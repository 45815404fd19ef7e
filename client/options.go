package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
)

// MIME types of payloads.
const (
	JSON   = "application/json"     // one record
	NDJSON = "application/x-ndjson" // one record a line
)

// Options of a client. Zero fields take the default.
type Options struct {
	Producer    string        // a name for people, at most 256 bytes; default none
	Incarnation string        // identifies this producer; default random, a new one for every client
	MIME        string        // of payloads, unless a stream says otherwise; default [JSON]
	KeepAlive   time.Duration // between signs of life; default 10 s
	MaxLifetime time.Duration // without a sign of life of the server; default 30 s
	GiveUpAfter time.Duration // without success before a stream that lost its connection fails; default 0: never
	// Backoff between attempts to open a stream again: before attempt k it is a random part of MinBackoff·2^k, at most
	// MaxBackoff. Defaults 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
	// DialContext makes a connection; the default is TCP. Set it for a proxy.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS encrypts connections; nil: they are not. Without a ServerName in it a certificate must have the host of the target:
	// that of a pod which DNS or cluster.watch named by its address has the name by which it was asked for.
	TLS *tls.Config

	// For targets with several pods.
	MaxPods  int               // connections at most; default 12. With more pods, each client picks its own
	Resolver balancer.Resolver // finds the pods instead of DNS; nil: what the target says
	PodStats *balancer.Stats   // counts what discovery and connections do; nil: not kept
}

func (o Options) withDefaults(newID func() (string, error)) (Options, error) {
	var err error
	if o.Incarnation == "" {
		o.Incarnation, err = newID()
	}
	o.MIME = cmp.Or(o.MIME, JSON)
	o.KeepAlive = cmp.Or(o.KeepAlive, 10*time.Second)
	o.MaxLifetime = cmp.Or(o.MaxLifetime, 30*time.Second)
	o.MinBackoff = cmp.Or(o.MinBackoff, 100*time.Millisecond)
	o.MaxBackoff = max(o.MinBackoff, cmp.Or(o.MaxBackoff, 10*time.Second))
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	if len(o.Producer) > protocol.MaxNameBytes || len(o.Incarnation) > protocol.MaxNameBytes {
		return o, fmt.Errorf("producer and incarnation have at most %d bytes", protocol.MaxNameBytes)
	}
	return o, errors.Join(err, checkMIME(o.MIME))
}

// Overflow says what Send does while the buffer is full.
type Overflow int

// The overflow policies.
const (
	Block      Overflow = iota // wait until there is room
	Fail                       // return [ErrBufferFull]
	DropOldest                 // drop the oldest payloads that were never sent; if all were sent, the new one
	DropNewest                 // drop the new payload
)

var overflowNames = []string{"block", "fail", "drop-oldest", "drop-newest"}

// String returns the name that [ParseOverflow] takes.
func (o Overflow) String() string {
	if o < 0 || int(o) >= len(overflowNames) {
		return fmt.Sprintf("Overflow(%d)", int(o))
	}
	return overflowNames[o]
}

// ParseOverflow reads block, fail, drop-oldest or drop-newest.
func ParseOverflow(name string) (Overflow, error) {
	for i, known := range overflowNames {
		if name == known {
			return Overflow(i), nil
		}
	}
	return 0, fmt.Errorf("overflow policy %q is not known: use %s", name, strings.Join(overflowNames, ", "))
}

// Buffer bounds what a stream keeps: what was not sent and what was sent and not acknowledged.
type Buffer struct {
	Records int   // payloads; default 100,000
	Bytes   int64 // default 64 MiB
}

const (
	defaultBufferRecords = 100_000
	defaultBufferBytes   = 64 << 20
)

// StreamOptions are the choices of one stream. Zero fields take the default.
//
// The callbacks are called one at a time: OnDrop by the Send that drops, the others by the goroutine that reads
// acknowledgements, which waits for them. While one runs no acknowledgement is read, so they should be short, and they must
// not call Flush or Close of their stream, nor Send under [Block].
type StreamOptions struct {
	Name     string // of the stream, at most 256 bytes; default random
	MIME     string // of its payloads; default that of the client
	Buffer   Buffer
	Overflow Overflow

	OnAck    func(Ack)    // everything up to Ack.Sequence is in the table
	OnReject func(Reject) // a record that was not taken
	OnDrop   func(Drop)   // a payload dropped by the overflow policy
	// OnRetry is told why the stream has to be opened again, and in how long that is tried.
	OnRetry func(err error, wait time.Duration)
}

func (o StreamOptions) withDefaults(mime string, newID func() (string, error)) (StreamOptions, error) {
	var err error
	if o.Name == "" {
		o.Name, err = newID()
	}
	o.MIME = cmp.Or(o.MIME, mime)
	o.Buffer.Records = cmp.Or(o.Buffer.Records, defaultBufferRecords)
	o.Buffer.Bytes = cmp.Or(o.Buffer.Bytes, defaultBufferBytes)
	switch {
	case err != nil:
	case len(o.Name) > protocol.MaxNameBytes:
		err = fmt.Errorf("stream name has %d bytes, at most %d are allowed", len(o.Name), protocol.MaxNameBytes)
	case o.Buffer.Records < 0 || o.Buffer.Bytes < 0:
		err = errors.New("buffer limits must be positive")
	case o.Overflow < Block || o.Overflow > DropNewest:
		err = fmt.Errorf("overflow policy %v is not known", o.Overflow)
	default:
		err = checkMIME(o.MIME)
	}
	return o, err
}

// checkMIME refuses what metadata cannot carry; whether the server takes the type is the server's answer.
func checkMIME(mime string) error {
	if len(mime) > 128 {
		return fmt.Errorf("MIME type has %d bytes, at most 128 are allowed", len(mime))
	}
	for i := range len(mime) {
		if mime[i] < ' ' || mime[i] > '~' {
			return fmt.Errorf("MIME type %q is not printable ASCII", mime)
		}
	}
	return nil
}

// Ack acknowledges payloads.
type Ack struct {
	Sequence int64    // everything up to it is acknowledged; 1 for a request
	Records  int64    // accepted: since the stream was last opened, or of the request
	Version  int64    // of the table that holds them
	Rejected []Reject // of a request; a stream reports them to OnReject
}

// Reject is a record that was not taken.
type Reject struct {
	Sequence int64 // of its payload; 1 for a request
	Row      int   // within the payload, from 0
	Reason   string
	Payload  []byte // the whole payload, valid until the callback returns; nil if it is no longer known
}

// Drop is a payload that the overflow policy dropped.
type Drop struct {
	Payload []byte // valid until the callback returns
}

// Unacked is a payload that was not acknowledged before the stream ended.
type Unacked struct {
	Sequence int64 // 0 if it was never sent; otherwise it may be in the table or not
	Data     []byte
}
