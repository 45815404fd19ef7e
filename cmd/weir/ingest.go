package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/ingestor"
)

// The variables that the operator sets.
const (
	envPod   = "WEIR_POD"    // name of the pod
	envPodIP = "WEIR_POD_IP" // its address
)

// ingestGrace leaves the rest of the pod's 60 s for closing the doors and for the kubelet.
const ingestGrace = 45 * time.Second

func newIngestCommand() *cobra.Command {
	o := runOptions{listen: "", grace: ingestGrace, logFormat: "json"}
	cmd := &cobra.Command{
		Use:   "ingest FILE",
		Short: "Run the pipeline of a file as a pod of a cluster does",
		Long: `Run the pipeline of a file as a pod of a cluster does. It is weir run for where nobody sits at the terminal: it listens on
every address, and a store that cannot be reached or a table that cannot be written to does not end it. It tries again,
and /readyz and /status of the metrics port say why it is not ready; the operator turns that into conditions.

SIGTERM drains: readiness goes off, streams are told to move on, what was taken is committed and acknowledged.`,
		Example: `  weir ingest /etc/weir/pipeline.yaml`,
		Args:    takes("FILE"), ValidArgsFunction: pipelineFiles(1),
	}
	return runs(cmd, o, "address to listen on (default every one)", ingestFile)
}

func ingestFile(cmd *cobra.Command, file string, o runOptions) error {
	ctx := cmd.Context()
	log, err := newLogger(cmd.ErrOrStderr(), o)
	if err != nil {
		return err
	}
	pipelines, err := readPipelines(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	p := pipelines[0]
	if len(pipelines) > 1 {
		return fmt.Errorf("%s holds %d Pipelines: a pod runs one", sourceName(file), len(pipelines))
	}
	cluster, err := o.cluster.cluster()
	if err != nil {
		return err
	}
	if ip := os.Getenv(envPodIP); ip != "" && cluster.Advertise == "" {
		cluster.Advertise = net.JoinHostPort(ip, strconv.Itoa(int(*p.Spec.Ingress.RSocket.Port)))
	}
	admin, err := listen(ctx, o.listen, *p.Spec.Observability.MetricsPort, "metrics")
	if err != nil {
		return err
	}
	if err := (doors{admin: admin}).write(o.portsFile); err != nil {
		return errors.Join(err, admin.Close())
	}
	log.Info("starting", "pipeline", p.Name, "version", buildVersion(), "metrics", admin.Addr().String())
	return ingestor.RunPod(ctx, ingestor.PodConfig{
		Name: os.Getenv(envPod), Pipeline: p.Name, Version: buildVersion(), Admin: admin, Log: log,
		Configure: func(ctx context.Context) (ingestor.Config, error) {
			conf, err := newConfig(ctx, pipelines, log)
			conf.Grace, conf.Cluster = o.grace, cluster
			limitMemory(conf)
			return conf, err
		},
		Doors: func(ctx context.Context) (rs, h net.Listener, err error) {
			d, err := openProducerDoors(ctx, p, o.listen)
			if err != nil {
				return nil, nil, err
			}
			log.Info("listening", "rsocket", d.rsocket.Addr().String(), "http", d.http.Addr().String())
			d.admin = admin
			return d.rsocket, d.http, d.write(o.portsFile)
		},
	})
}
