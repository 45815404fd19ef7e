package protocol

import (
	"encoding/json"
	"time"
)

// PodStatus is what a pod answers on /status of its admin door.
type PodStatus struct {
	Pod       string           `json:"pod,omitempty"`     // its name, outside of a cluster none
	Version   string           `json:"version"`           // of weir
	Ready     bool             `json:"ready"`             // it takes events
	Message   string           `json:"message,omitempty"` // why it is not ready
	Pipelines []PipelineStatus `json:"pipelines"`         // by name
}

// The states of a pipeline on a pod.
const (
	StateStarting  = "Starting"  // the table is not open yet; tried again
	StateRunning   = "Running"   // events are taken
	StateRetrying  = "Retrying"  // events are taken until memory is full; the last attempt to commit failed
	StateSuspended = "Suspended" // a policy paused the pipeline
	StateDraining  = "Draining"  // the pod stops
	StateFailed    = "Failed"    // the pipeline cannot go on until somebody has looked at it
)

// PipelineStatus are the flow figures of a pipeline on a pod.
type PipelineStatus struct {
	Pipeline string `json:"pipeline"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
	Storage  Check  `json:"storage"` // whether the table's store takes writes
	Table    Check  `json:"table"`   // whether the table in it can be written to

	Streams        int   `json:"streams"`        // open now
	Accepted       int64 `json:"accepted"`       // records, since the start
	Rejected       int64 `json:"rejected"`       // records, since the start
	Committed      int64 `json:"committed"`      // records, since the start
	InFlight       int64 `json:"inFlight"`       // records accepted and not committed
	AcceptedPerSec int64 `json:"acceptedPerSec"` // over the last commits
	Version        int64 `json:"version"`        // of the table, -1 before it exists

	Memory    Memory     `json:"memory"`
	Last      LastCommit `json:"lastCommit"`
	LimitedBy string     `json:"limitedBy"` // the stage that limits the flow: producers, write or commit

	Maintenance *Maintenance `json:"maintenance,omitempty"` // the newest piece; absent before the first
}

// Maintenance is a piece of work that keeps a table healthy.
type Maintenance struct {
	Task  string    `json:"task"` // compact, vacuum or clean-log
	At    time.Time `json:"at"`
	Took  int64     `json:"tookMs"`
	Files int       `json:"files"` // packed or deleted
	Bytes int64     `json:"bytes"` // of them
	Error string    `json:"error,omitempty"`
}

// Check is the outcome of looking at something a pipeline depends on.
type Check struct {
	State   string `json:"state"`             // CheckPassed, CheckFailed or CheckUnknown
	Reason  string `json:"reason,omitempty"`  // one word in CamelCase
	Message string `json:"message,omitempty"` // for people
}

// The states of a check.
const (
	CheckPassed  = "Passed"
	CheckFailed  = "Failed"
	CheckUnknown = "Unknown" // not looked at yet
)

// The reasons of checks.
const (
	ReasonPutIfAbsent       = "PutIfAbsent"       // the probe found that it works
	ReasonUnsafePutIfAbsent = "UnsafePutIfAbsent" // the probe found that it does not
	ReasonUnreachable       = "Unreachable"       // the store did not answer, or refused
	ReasonWritable          = "Writable"
	ReasonNoTableYet        = "NoTableYet" // the first commit makes it
	ReasonUnsupported       = "UnsupportedFeature"
	ReasonMismatch          = "Mismatch" // the table is not what the pipeline declares
	ReasonRecreated         = "Recreated"
	ReasonDamaged           = "Damaged"
)

// Memory is the state of the byte pool.
type Memory struct {
	Capacity int64 `json:"capacity"` // bytes
	Held     int64 `json:"held"`     // bytes received and not committed
	Promised int64 `json:"promised"` // bytes of credit that producers have
}

// LastCommit describes the newest commit.
type LastCommit struct {
	Version int64 `json:"version"`
	Rows    int64 `json:"rows"`
	Bytes   int64 `json:"bytes"`
	WriteMs int64 `json:"writeMs"` // writing the data files
	PutMs   int64 `json:"putMs"`   // committing them
}

// JSON encodes s.
func (s PipelineStatus) JSON() ([]byte, error) { return json.Marshal(s) }
