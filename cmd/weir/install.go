package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/config"
)

// imageRepository is where released images are; a released binary installs the image of its own version.
const imageRepository = "ghcr.io/weir-dev/weir"

// released matches the versions of releases, which are also tags of images.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// installOptions are the flags of weir install.
type installOptions struct {
	kubeconfig
	image   string
	dryRun  bool
	force   bool
	timeout time.Duration
}

func newInstallCommand() *cobra.Command {
	o := installOptions{image: defaultImage(), timeout: 2 * time.Minute}
	o.namespace = config.Namespace
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install weir in a Kubernetes cluster",
		Long: `Install weir in a Kubernetes cluster: the definition of Pipelines, and an operator that runs those of every namespace. It
applies what --dry-run prints, by server-side apply, says of each object whether it was created, changed or as it should be, and
waits until the operator is ready. Running it again, or a newer version of it, is an upgrade; no pod of a Pipeline restarts. A
field that somebody else has set is not taken from them without --force-conflicts.

The Helm chart (charts/weir) installs the same and has more choices. To remove the operator and keep the Pipelines:

  kubectl delete namespace weir-system
  kubectl delete clusterrole,clusterrolebinding -l app.kubernetes.io/name=weir`,
		Example: `  weir install --image registry.example/weir:v1
  weir install --dry-run
  weir install --dry-run --image registry.example/weir:v1 > weir.yaml`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.ContainsAny(o.namespace+o.image, " \t\r\n\"'#{}") || o.namespace == "" || o.image == "" {
				return fmt.Errorf("--namespace %q --image %q: neither may be more than a name", o.namespace, o.image)
			}
			manifests := config.Manifests(o.namespace, o.image)
			if o.dryRun {
				_, err := fmt.Fprint(cmd.OutOrStdout(), manifests)
				return err
			}
			return install(cmd.Context(), cmd.OutOrStdout(), o, manifests)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be applied, and talk to no cluster")
	f.StringVarP(&o.namespace, "namespace", "n", o.namespace, "namespace of the operator, which is made")
	f.StringVar(&o.image, "image", o.image, "image of the operator and of the pods that it makes")
	f.BoolVar(&o.force, "force-conflicts", false, "take over fields that somebody else has set")
	f.DurationVar(&o.timeout, "timeout", o.timeout, "how long the operator may take to be ready; 0 does not wait")
	o.kubeconfig.flags(f)
	return cmd
}

func defaultImage() string {
	if v := buildVersion(); released.MatchString(v) {
		return imageRepository + ":" + v
	}
	return config.Image
}

// install applies manifests in their order and waits for what others need: the definition of Pipelines before it ends, and
// the operator.
func install(ctx context.Context, out io.Writer, o installOptions, manifests string) error {
	c, _, err := o.client()
	if err != nil {
		return err
	}
	in := installer{client: c, out: out, force: o.force}
	objects, err := in.parse(manifests)
	if err != nil {
		return err
	}
	for _, u := range objects {
		if err := in.apply(ctx, u); err != nil {
			return err
		}
	}
	if o.timeout <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := in.established(ctx); err != nil {
		return err
	}
	return in.available(ctx, o.namespace)
}
