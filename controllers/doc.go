// Package controllers runs Pipelines in a Kubernetes cluster.
//
// A reconcile takes a snapshot of a Pipeline, what it owns and its pods, and goes through these steps (reconciler.go):
//
//  1. accept: can what the spec asks for be done at all? (accept.go)
//  2. apply: make the children what they should be (children.go, template.go, apply.go)
//  3. poll: ask the pods how they are, at most every 15 s (poll.go)
//  4. conclude: conditions, phase and figures, computed from what was seen and nothing else (conclude.go, troubles.go)
//  5. report: write the status and events, if they changed (report.go)
//
// Nothing is written unless it differs from what is there, .spec never. Only objects that carry weir's label are cached.
package controllers
