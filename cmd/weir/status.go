package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/controllers"
	"github.com/weir-dev/weir/protocol"
)

func newStatusCommand() *cobra.Command {
	var k kubeconfig
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show how a Pipeline of a cluster is, pod by pod",
		Long: `Show how a Pipeline of a cluster is: its conditions, and the figures of each pod as the pod tells them now. The pods are
asked through the API server, which takes the right to get pods/proxy; without it the rest is shown.`,
		Example: `  weir status clicks
  weir status clicks --namespace web -o json`,
		Args: takes("NAME"),
	}
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return showStatus(cmd.Context(), view(cmd), k, args[0]) }
	f := cmd.Flags()
	k.flags(f)
	f.StringVarP(&k.namespace, "namespace", "n", "", "namespace (default that of the kubeconfig's context)")
	return cmd
}

// podAnswer is what a pod says of itself, or why it was not asked.
type podAnswer struct {
	Pod    string                   `json:"pod"`
	Status *protocol.PipelineStatus `json:"status,omitempty"`
	Error  string                   `json:"error,omitempty"`
}

func showStatus(ctx context.Context, v view, k kubeconfig, name string) error {
	c, ns, err := k.client()
	if err != nil {
		return err
	}
	var p v1alpha1.Pipeline
	if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, &p); err != nil {
		if apierrors.IsNotFound(err) {
			return noPipeline(name, ns)
		}
		return clusterError(err)
	}
	conf, err := k.load()
	if err != nil {
		return err
	}
	pods, err := askPods(ctx, c, conf, &p)
	if err != nil {
		return err
	}
	if v.json {
		return v.encode(struct {
			Pipeline *v1alpha1.Pipeline `json:"pipeline"`
			Pods     []podAnswer        `json:"pods"`
		}{&p, pods})
	}
	return errors.Join(v.summary(&p), v.conditions(&p), v.podTable(pods))
}

func (v view) summary(p *v1alpha1.Pipeline) error {
	s := &p.Status
	if s.ObservedGeneration == 0 && s.Phase == "" {
		_, err := fmt.Fprintf(v.out, "%s/%s  no status yet: does the operator run, and watch this namespace?\n", p.Namespace, p.Name)
		return err
	}
	version, rate, limit := "no version yet", "", ""
	if s.TableVersion != nil {
		version = "version " + figure(s.TableVersion)
	}
	if s.RecordsPerSecond != nil {
		rate = ", " + figure(s.RecordsPerSecond) + " records/s"
	}
	if s.LimitedBy != "" {
		limit = ", limited by " + s.LimitedBy
	}
	_, err := fmt.Fprintf(v.out, "%s/%s  %s, %s pods%s%s\n%s, %s\n", p.Namespace, p.Name, s.Phase, s.Pods, rate, limit,
		deltaSink(p).URI, version)
	return err
}

func (v view) conditions(p *v1alpha1.Pipeline) error {
	if len(p.Status.Conditions) == 0 {
		return nil
	}
	fmt.Fprintln(v.out)
	return v.columns(func(w io.Writer) {
		fmt.Fprintln(w, "CONDITION\tSTATUS\tREASON\tSINCE\tMESSAGE")
		for _, c := range p.Status.Conditions {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, c.Reason, age(c.LastTransitionTime), clip(c.Message, maxMessage))
		}
	})
}

func (v view) podTable(pods []podAnswer) error {
	if len(pods) == 0 {
		return nil
	}
	fmt.Fprintln(v.out)
	return v.columns(func(w io.Writer) {
		fmt.Fprintln(w, "POD\tSTATE\tSTREAMS\tACCEPTED\tCOMMITTED\tREJECTED\tIN FLIGHT\tVERSION\tLIMITED BY")
		for _, p := range pods {
			if s := p.Status; s != nil {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", p.Pod, s.State, s.Streams, s.Accepted, s.Committed, s.Rejected, s.InFlight, s.Version, s.LimitedBy)
			} else {
				fmt.Fprintf(w, "%s\tnot reached: %s\n", p.Pod, clip(p.Error, maxMessage))
			}
		}
	})
}

// The bounds of asking pods: how long one may take, and how many are asked at a time.
const (
	askTimeout = 3 * time.Second
	askAtOnce  = 16
)

// askPods asks the pods of p through the API server.
func askPods(ctx context.Context, c client.Client, conf *rest.Config, p *v1alpha1.Pipeline) ([]podAnswer, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(p.Namespace), client.MatchingLabels(controllers.PodLabels(p.Name))); err != nil {
		return nil, clusterError(err)
	}
	core := rest.CopyConfig(conf)
	core.GroupVersion, core.APIPath, core.NegotiatedSerializer = &corev1.SchemeGroupVersion, "/api", scheme.Codecs.WithoutConversion()
	proxy, err := rest.RESTClientFor(core)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	all := make([]podAnswer, len(pods.Items))
	var asking errgroup.Group
	asking.SetLimit(askAtOnce)
	for i := range pods.Items {
		asking.Go(func() error {
			all[i] = askPod(ctx, proxy, &pods.Items[i], p)
			return nil
		})
	}
	return all, asking.Wait()
}

func askPod(ctx context.Context, proxy rest.Interface, pod *corev1.Pod, p *v1alpha1.Pipeline) podAnswer {
	a := podAnswer{Pod: pod.Name}
	b, err := proxy.Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name + ":" + strconv.Itoa(int(controllers.MetricsPort(pod)))).
		SubResource("proxy").Suffix("status").Timeout(askTimeout).DoRaw(ctx)
	var s protocol.PodStatus
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		a.Error = strings.TrimSpace(err.Error())
		return a
	}
	for i := range s.Pipelines {
		if s.Pipelines[i].Pipeline == p.Name {
			a.Status = &s.Pipelines[i]
		}
	}
	if a.Status == nil {
		a.Error = "it does not know the Pipeline"
	}
	return a
}
