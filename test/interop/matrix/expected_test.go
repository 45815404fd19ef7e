package matrix

import "slices"

// Directions of a cell.
const (
	foreignClient = "→ weir" // the peer requests, weir responds
	foreignServer = "← weir"
)

// lack is a cell that cannot pass because of the peer. The cell runs all the same and must fail: that is the reproduction.
type lack struct {
	peer, feature, direction string
	shows                    string // a part of what the cell fails with
	reason                   string
	sometimes                bool // it depends on a race inside the peer, so the cell may pass
}

// lacks are all cells that are expected not to pass. Every other cell must pass.
var lacks = slices.Concat(
	both("rsocket-js", "METADATA_PUSH", "Method not implemented", "deadline exceeded",
		"rsocket-js 1.0.0-alpha.3 sends no METADATA_PUSH (\"Method not implemented\") and drops those it gets."),
	[]lack{
		{"rsocket-js", "fragmentation: 60 KB", foreignServer, "came in", jsFragments, false},
		{"rsocket-js", "fragmentation: 1 MB", foreignServer, "came in", jsFragments, false},
		{"rsocket-js", "fragmentation: 40 MB", foreignServer, "", jsFragments, false},
	},
	leases("rsocket-js", foreignServer, "cannot send LEASE", "A responder of rsocket-js 1.0.0-alpha.3 has no way to send LEASE."),
	[]lack{
		{"rsocket-py", "lease: fail fast", foreignClient, "always wait", "A client of rsocket-py 0.4.20 always waits for a lease.", false},
		{"rsocket-py", "keepalive loss: seen by the server", foreignServer, "deadline exceeded", "A server of rsocket-py 0.4.20 " +
			"does not read the lifetime of SETUP and never gives a silent client up.", false},
	},
	resumes("rsocket-py", "a client has no resume", "Resume not supported", "rsocket-py 0.4.20 has no resume: no option of a "+
		"client, and its server answers UNSUPPORTED_SETUP."),
	[]lack{
		{"rsocket-go", "REQUEST_N: stream, 3 at a time, asynchronous", foreignClient, "", goDemand, true},
		{"rsocket-go", "REQUEST_N: channel, requester's, 3 at a time", foreignClient, "", goDemand, true},
		{"rsocket-go", "cancel: channel, by the requester", foreignClient, "Cancelled:0", "A client of rsocket-go v0.8.16 sends no " +
			"CANCEL for a channel.", false},
		{"rsocket-go", "cancel: channel, by the responder", foreignClient, "", "A channel of an rsocket-go v0.8.16 client does not " +
			"stop at the responder's CANCEL.", false},
		{"rsocket-go", "half-close: the responder first", foreignClient, "", goHalfClose, false},
		{"rsocket-go", "half-close: the responder first", foreignServer, "", goHalfClose, false},
		{"rsocket-go", "lease: waiting", foreignClient, "", goLease, false},
		{"rsocket-go", "lease: fire-and-forget", foreignClient, "", goLease, false},
		{"rsocket-go", "request-channel", foreignServer, "", goComplete, true},
		{"rsocket-go", "REQUEST_N: channel, requester's, 3 at a time", foreignServer, "", goComplete, true},
		{"rsocket-go", "REQUEST_N: channel, responder's, 3 at a time", foreignServer, "", goComplete, true},
		{"rsocket-go", "half-close: the requester first", foreignServer, "", goComplete, true},
		{"rsocket-go", "WebSocket", foreignServer, "", goComplete, true},
		{"rsocket-go", "TLS", foreignServer, "", goComplete, true},
		{"rsocket-go", "error: channel, by the requester", foreignServer, "", "A server process of rsocket-go v0.8.16 ends when a " +
			"client ends a channel with an error.", false},
		{"rsocket-go", "keepalive loss: seen by the server", foreignServer, "Closed:0", "A server of rsocket-go v0.8.16 does not " +
			"report the end of a client that has been silent for ten times its lifetime.", false},
	},
	resumes("rsocket-go", "", "", "rsocket-go v0.8.16 keeps no frames for resuming and always sends position 0: items are lost or "+
		"come twice."),
)

// Lacks that several cells show.
const (
	jsFragments = "A server of rsocket-js 1.0.0-alpha.3 never fragments what it sends, whatever its configuration says; a frame " +
		"holds no 40 MB."
	goDemand    = "A consumer of rsocket-go v0.8.16 that asks for more from another goroutine waits for ever, at most times."
	goHalfClose = "A channel of rsocket-go v0.8.16 stops sending when the responder has completed."
	goLease     = "A client of rsocket-go v0.8.16 never waits for a lease: requests fail at once, fire-and-forget is lost."
	goComplete  = "rsocket-go v0.8.16 loses items at times when COMPLETE follows them, or waits for ever."
)

// both is a lack of a feature in both directions, with what each of them fails with.
func both(peer, feature, client, server, reason string) []lack {
	return []lack{{peer, feature, foreignClient, client, reason, false}, {peer, feature, foreignServer, server, reason, false}}
}

// leases is a lack of all three lease features.
func leases(peer, direction, shows, reason string) []lack {
	var all []lack
	for _, feature := range []string{"lease: fail fast", "lease: waiting", "lease: fire-and-forget"} {
		all = append(all, lack{peer, feature, direction, shows, reason, false})
	}
	return all
}

// resumes is a lack of resume on streams and channels.
func resumes(peer, client, server, reason string) []lack {
	return slices.Concat(both(peer, "resume: stream, cut ten times", client, server, reason),
		both(peer, "resume: channel, cut ten times", client, server, reason))
}

// lackOf returns the lack that a cell is expected to show, or nil.
func lackOf(peer, feature, direction string) *lack {
	for i := range lacks {
		if l := &lacks[i]; l.peer == peer && l.feature == feature && l.direction == direction {
			return l
		}
	}
	return nil
}
