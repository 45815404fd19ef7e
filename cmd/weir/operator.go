package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/weir-dev/weir/controllers"
)

// operatorOptions are the flags of weir operator.
type operatorOptions struct {
	controllers.Options
	level, format string
	kubeconfig    kubeconfig
}

func newOperatorCommand() *cobra.Command {
	o := operatorOptions{level: "info", format: "json", Options: controllers.Options{
		MetricsAddress: ":8080", HealthAddress: ":8081", LeaderElection: true, LeaseNamespace: controllers.LeaseNamespace(),
	}}
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Run the Pipelines of a Kubernetes cluster",
		Long: `Run the Pipelines of a Kubernetes cluster: make pods for each, keep them as the Pipeline says, and tell in its status how
they are. The CustomResourceDefinition must be installed; the chart does that, and runs this command.

Inside of a cluster it works as the pod's ServiceAccount, elsewhere as the kubeconfig says. It may be run more than once:
one works, the others are ready to take over.`,
		Example: `  weir operator --image ghcr.io/weir-dev/weir:v0.1.0
  weir operator --image weir:dev --namespace shop --leader-election=false --log-format text`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runOperator(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Image, "image", "", "image of the pods whose Pipeline names none")
	f.StringArrayVar(&o.Namespaces, "namespace", nil, "namespace whose Pipelines are run, may be repeated (default all)")
	f.StringVar(&o.MetricsAddress, "metrics-address", o.MetricsAddress, "address of /metrics, 0 for none")
	f.StringVar(&o.HealthAddress, "health-address", o.HealthAddress, "address of /healthz and /readyz, 0 for none")
	f.BoolVar(&o.LeaderElection, "leader-election", o.LeaderElection, "let one of several operators work")
	f.StringVar(&o.LeaseNamespace, "lease-namespace", o.LeaseNamespace, "namespace of the lease of the election (default that of the pod)")
	f.StringVar(&o.level, "log-level", o.level, "debug, info, warn or error")
	f.StringVar(&o.format, "log-format", o.format, "text or json")
	o.kubeconfig.flags(f)
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
	completeFlag(cmd, "log-format", "text", "json")
	return cmd
}

func runOperator(cmd *cobra.Command, o operatorOptions) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return fmt.Errorf("--log-level %q: use debug, info, warn or error", o.level)
	}
	log, err := newLogger(cmd.ErrOrStderr(), runOptions{logLevel: level, logFormat: o.format})
	if err != nil {
		return err
	}
	if o.Image == "" {
		return errors.New("--image is missing: the image of the pods, such as ghcr.io/weir-dev/weir:v0.1.0")
	}
	conf, err := o.kubeconfig.load()
	if err != nil {
		return err
	}
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	o.Log, o.Check = log, checkInCluster
	mgr, err := controllers.New(conf, o.Options)
	if err != nil {
		return err
	}
	log.Info("operator", "version", buildVersion(), "image", o.Image, "namespaces", o.Namespaces)
	if err := mgr.Start(cmd.Context()); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	return nil
}
