// Package matrix runs package rsocket against the RSocket implementations of other languages, in both directions.
//
// Every implementation, weir included, is the same pair of programs: a responder that does what a request's text says, and
// a requester that makes one call and reports what came of it. A cell of the matrix is a function of a requester and a
// responder, so both directions run the same code. The foreign programs are processes that take commands, JSON objects, one
// per line, on their standard input and answer each with one line:
//
//	serve  starts the responder, in place of the one before, and answers {"port": n}
//	seen   answers what the responder has seen since then
//	lease  lets the responder send a LEASE for n requests
//	call   makes a call on a new connection
//
// What a responder does is the first word of the data, with numbers behind it:
//
//	request-response  echo: the same payload; fail: the error "boom"; never: nothing; auth: "route|token" of the metadata
//	stream            range N: the numbers below N; fail N: the same, then "boom"; endless: numbers for ever
//	channel           echo: what comes in; sum: "count:sum" after all has come in; down N: the numbers below N at once, while
//	                  it reads on; fail N: "boom" after N have come in; stop N: cancels the input after N and answers
//	                  "stopped"; slow K: as sum, but asks for K at a time, each time later, from another task
package matrix

import "context"

// Transports.
const (
	overTCP = "tcp"
	overTLS = "tls"
	overWS  = "ws"
)

// Models, and an idle connection that waits for its end.
const (
	modelRequest = "rr"
	modelForget  = "fnf"
	modelStream  = "stream"
	modelChannel = "channel"
	modelPush    = "push"
	modelIdle    = "idle"
)

// A requester without a lease fails at once, or waits for one.
const (
	leaseFast = "fast"
	leaseWait = "wait"
)

// serve is how a responder is to listen.
type serve struct {
	Transport string `json:"transport"`
	Cert      string `json:"cert,omitempty"` // PEM files, for TLS
	Key       string `json:"key,omitempty"`
	Resume    bool   `json:"resume,omitempty"`
	Lease     int    `json:"lease,omitempty"` // requests of the first LEASE; 0: none are sent
	MTU       int    `json:"mtu,omitempty"`
}

// call is one call of a requester, on a connection of its own.
type call struct {
	Transport string `json:"transport"`
	Port      int    `json:"port"`
	Cert      string `json:"cert,omitempty"` // of the server, for TLS
	Resume    bool   `json:"resume,omitempty"`
	Lease     string `json:"lease,omitempty"`
	KeepAlive int    `json:"keepAlive,omitempty"` // ms
	Lifetime  int    `json:"lifetime,omitempty"`  // ms
	MTU       int    `json:"mtu,omitempty"`

	Model  string `json:"model"`
	Data   string `json:"data,omitempty"`
	Size   int    `json:"size,omitempty"`   // the data is filled up with letters to so many bytes
	Route  string `json:"route,omitempty"`  // with Token, in composite metadata
	Token  string `json:"token,omitempty"`  // bearer
	N      int    `json:"n,omitempty"`      // requests to make, or items to send on a channel
	Fail   bool   `json:"fail,omitempty"`   // a channel ends its items with the error "boom"
	Grant  int    `json:"grant,omitempty"`  // items asked for at a time; 0: all at once
	Async  bool   `json:"async,omitempty"`  // they are asked for later, from another task (most programs always do that)
	Cancel int    `json:"cancel,omitempty"` // cancel after so many items; a request: while it waits
}

// result is what came of a call.
type result struct {
	Items   int    `json:"items"`   // that came in
	Ordered bool   `json:"ordered"` // they were the numbers from 0, or the answer was equal to the request
	Last    string `json:"last"`    // at most 100 bytes of it
	Error   string `json:"error"`   // of the stream, or of the last request that failed
	Failed  int    `json:"failed"`  // requests
	Sent    int    `json:"sent"`    // items on a channel
	Stopped bool   `json:"stopped"` // the responder cancelled the items
	Closed  bool   `json:"closed"`  // the connection has ended by itself
}

// seen is what a responder has seen.
type seen struct {
	Requests   int    `json:"requests"` // request-response
	Forgotten  int    `json:"fnf"`
	Pushed     int    `json:"push"`
	Cancelled  int    `json:"cancelled"`
	Inputs     int    `json:"inputs"` // on the last channel that ended its input
	InputError string `json:"inputError"`
	Closed     int    `json:"closed"` // connections
}

// implementation is weir or a foreign program.
type implementation interface {
	serve(ctx context.Context, s serve) (port int, err error)
	seen(ctx context.Context) (seen, error)
	lease(ctx context.Context, n int) error
	call(ctx context.Context, c call) (result, error)
}
