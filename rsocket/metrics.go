package rsocket

import "sync/atomic"

// Metrics counts what connections do. One Metrics may serve many servers and clients.
type Metrics struct {
	Accepted       atomic.Int64 // connections accepted
	Refused        atomic.Int64 // connections turned away because of MaxConns, MaxConnsPerAddr or SetupRate
	Open           atomic.Int64 // connections open now
	Resumed        atomic.Int64 // times a connection got a new transport
	SetupRejected  atomic.Int64 // SETUP or RESUME answered with ERROR, or missing
	BytesIn        atomic.Int64 // bytes received
	BytesOut       atomic.Int64 // bytes written
	RequestsIn     atomic.Int64 // requests of peers, refused ones included
	FramesIn       atomic.Int64 // frames received
	FramesIgnored  atomic.Int64 // received frames the protocol says to ignore
	Violations     atomic.Int64 // connections ended because of malformed frames
	Panics         atomic.Int64 // recovered, of handlers and connections
	FNFDropped     atomic.Int64 // fire-and-forget without handler, or refused
	BudgetRefused  atomic.Int64 // payloads for which the budget had no room
	ReaderPauses   atomic.Int64 // times a connection was not read for want of room
	AcceptFailures atomic.Int64 // errors of Accept that were survived
}
