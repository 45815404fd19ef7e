// Package rsocket implements RSocket 1.0 (protocol version 1.0) as server and client.
//
// # The way of a frame
//
// One goroutine per connection reads: it peeks frames in a pooled buffer ([frameReader]), finds the stream and copies the
// payload once into memory that belongs to that stream ([slab]). It never runs code of the user: handlers of streams and
// channels run on a goroutine each, fire-and-forget and request-response on one serial [worker] per connection that exists
// only while there is work. Writers append whole frames to one buffer under a mutex; a flusher, which also exists only while
// there is something to write, swaps the buffer out and writes it with one call ([writer]).
//
// # Flow control
//
// A receiver grants credit explicitly with [Receiver.Grant]; the queue of a stream never holds more payloads than were
// granted, and a peer that sends more gets ERROR[INVALID] on that stream. [Sender.Send] blocks until the peer has granted
// credit and the write buffer has room. A [Budget] bounds the bytes of all payloads held by the process.
//
// # Lifetimes
//
// Every goroutine of a connection is waited for by [Server.Shutdown] or [Conn.Close]. A panic in a handler ends its stream,
// one in the connection's own code ends that connection; neither ends the process.
package rsocket
