package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/config"
)

// imageRepository is where released images are; a released binary installs the image of its own version.
const imageRepository = "ghcr.io/weir-dev/weir"

// released matches the versions of releases, which are also tags of images.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

func newInstallCommand() *cobra.Command {
	namespace, image, dryRun := config.Namespace, "", false
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Print what installs weir in a Kubernetes cluster",
		Long: `Print what installs weir in a Kubernetes cluster: the definition of Pipelines, and an operator that runs those of every
namespace. kubectl apply --server-side -f - applies it. The Helm chart (charts/weir) has the same and more choices.`,
		Example: `  weir install --dry-run
  weir install --dry-run --image registry.example/weir:v1 > weir.yaml`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !dryRun {
				return errors.New("weir does not talk to the cluster itself: weir install --dry-run | kubectl apply --server-side -f -")
			}
			if strings.ContainsAny(namespace+image, " \t\r\n\"'#{}") || namespace == "" {
				return fmt.Errorf("--namespace %q --image %q: neither may be more than a name", namespace, image)
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Manifests(namespace, image))
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "print it; required so far")
	f.StringVarP(&namespace, "namespace", "n", namespace, "namespace of the operator, which is made")
	f.StringVar(&image, "image", defaultImage(), "image of the operator and of the pods that it makes")
	return cmd
}

func defaultImage() string {
	if v := buildVersion(); released.MatchString(v) {
		return imageRepository + ":" + v
	}
	return config.Image
}
