package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/ingestor"
)

// The variables that a pod has in place of flags.
const (
	envAdvertise = "WEIR_ADVERTISE"
	envPeers     = "WEIR_PEERS"
)

// clusterOptions say who else runs the pipelines of a process.
type clusterOptions struct{ pod, advertise, peers string }

func (o *clusterOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.pod, "pod", "", "id of this process among others that run the pipeline (default $"+envPod+")")
	f.StringVar(&o.advertise, "advertise", "", "host:port where producers reach this process (default $"+envAdvertise+", or the RSocket door)")
	f.StringVar(&o.peers, "peers", "", "all processes that run the pipeline, for cluster.watch: weir://HEADLESS-SERVICE:PORT or host:port,... (default $"+envPeers+")")
}

func (o *clusterOptions) cluster() (ingestor.Cluster, error) {
	c := ingestor.Cluster{Pod: cmp.Or(o.pod, os.Getenv(envPod)), Advertise: cmp.Or(o.advertise, os.Getenv(envAdvertise))}
	peers := cmp.Or(o.peers, os.Getenv(envPeers))
	if peers == "" {
		return c, nil
	}
	t, err := balancer.ParseTarget(peers)
	if err != nil {
		return c, fmt.Errorf("--peers: %w", err)
	}
	switch t.Discover {
	case balancer.DiscoverWatch:
		return c, fmt.Errorf("--peers %s: pods find each other by DNS or from a list", peers)
	case balancer.DiscoverStatic:
		c.Peers = balancer.StaticTarget(&t)
	default:
		c.Peers = balancer.NewDNS(&t, nil)
	}
	return c, nil
}
