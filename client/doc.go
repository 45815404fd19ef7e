// Package client sends events to weir.
//
//	c, err := client.Dial(ctx, "localhost:7000", client.Options{})
//	s, err := c.OpenStream(ctx, client.StreamOptions{})
//	seq, err := s.Send(ctx, []byte(`{"user":7,"page":"/"}`))
//	unacked, err := s.Close(ctx)
//
// # The way of a payload
//
// [Stream.Send] copies the payload into the buffer of its stream (buffer.go) and returns. One goroutine takes runs out of
// the buffer as far as the server's credit reaches and hands them to the connection (attempt.go). A second one reads
// acknowledgements, reports rejected records and frees what was acknowledged; when the connection is lost, or the server
// drains, it opens the stream again and has everything that was not acknowledged sent once more (reconnect.go).
//
// To a cluster a stream has one such pair of goroutines, a lane (lane.go), for each pod (pods.go). They share the buffer; the
// pick of the package balancer says which of those with credit takes the next run.
//
// # Flow control
//
// The server asks for as many payloads as it has memory for. A producer that is faster fills the buffer, and then its
// [Overflow] policy decides: wait (the default), fail, or drop, with every drop counted and reported.
//
// # What is promised
//
// An acknowledged payload is in the table. Payloads of a stream to one server arrive in order. What was not acknowledged is
// kept and sent again, under a new claim of the stream, so that the server can tell a repetition from news; [Stream.Close]
// returns what is still open. When a pod of a cluster is lost, what it had not acknowledged goes to another one and may be in
// the table twice: [Stats].Uncertain counts that.
package client
