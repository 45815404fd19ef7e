package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfig says how a cluster is reached, as kubectl's flags of the same names do.
type kubeconfig struct{ file, context, namespace string }

// flags adds those that every command for a cluster has.
func (k *kubeconfig) flags(f *pflag.FlagSet) {
	f.StringVar(&k.file, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, ~/.kube/config, or that of the pod)")
	f.StringVar(&k.context, "context", "", "context of the kubeconfig (default the current one)")
}

func (k *kubeconfig) config() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.file
	overrides := &clientcmd.ConfigOverrides{CurrentContext: k.context}
	overrides.Context.Namespace = k.namespace
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// load returns what a client needs.
func (k *kubeconfig) load() (*rest.Config, error) {
	conf, err := k.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	conf.UserAgent = "weir/" + buildVersion()
	conf.QPS = -1 // the API server shares its time out itself
	return conf, nil
}
