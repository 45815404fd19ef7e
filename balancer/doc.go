// Package balancer is the client side of a cluster: it finds the pods, keeps a connection to each, measures them, and picks
// one for every request.
//
//   - Discover: a [Resolver] says where the pods are: [DNS] asks a headless service, [Static] is a list. members.go decides
//     what an answer means, without clock or I/O: a pod that is missing from an answer drains, an answer without pods changes
//     nothing.
//   - Load: what this client knows of a pod, kept by whoever sends to it (load.go, score.go).
//   - Balance: a [Picker] over one moment's candidates; it is immutable, takes no lock and allocates nothing (picker.go).
//
// A [Pool] ties them together. Its control plane is serial, under one mutex: discovery, connections and verdicts change
// nodes there and publish a new [Snapshot]. Whoever sends reads the snapshot and the atomics of its nodes, no more.
package balancer
