package protocol

// The routes about the pods of a pipeline.
const (
	RouteCluster = "cluster.watch"
	RouteSelf    = "cluster.self"
)

// Pod is one pod of a pipeline, as the pods themselves tell it.
type Pod struct {
	ID    string `json:"id"`    // the same as long as it is the same pod
	Addr  string `json:"addr"`  // host:port where producers reach it
	State string `json:"state"` // as in the status of a pipeline, or PodUnreachable
	Load  Load   `json:"load"`
}

// PodUnreachable is the state of a pod that did not answer the one that was asked; its ID is then its address.
const PodUnreachable = "Unreachable"

// Takes says whether producers may go to the pod.
func (p *Pod) Takes() bool { return p.State == "Running" || p.State == "Retrying" }

// Load is how busy a pod is.
type Load struct {
	Streams        int     `json:"streams"`        // open
	InFlight       int64   `json:"inFlight"`       // records accepted and not committed
	AcceptedPerSec int64   `json:"acceptedPerSec"` // records
	Memory         float64 `json:"memory"`         // part of the byte pool that is held, 0 to 1
}

// Cluster is a message of cluster.watch: all pods of the pipeline, the one that answers first.
type Cluster struct {
	Pods []Pod `json:"pods"`
}
