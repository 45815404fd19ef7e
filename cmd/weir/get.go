package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/controllers"
)

// getOptions are the flags of weir get.
type getOptions struct {
	kubeconfig
	all, wide, watch bool
}

func newGetCommand() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get [NAME...]",
		Short: "List the Pipelines of a cluster",
		Long:  `List the Pipelines of a cluster, as kubectl get wpl does. The cluster and the namespace are those of the kubeconfig.`,
		Example: `  weir get
  weir get clicks --namespace web --wide
  weir get --all-namespaces --watch`,
	}
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return getPipelines(cmd.Context(), view(cmd), o, args) }
	f := cmd.Flags()
	o.kubeconfig.flags(f)
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace (default that of the kubeconfig's context)")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "Pipelines of every namespace")
	f.BoolVar(&o.wide, "wide", false, "mode, URI and message too")
	f.BoolVarP(&o.watch, "watch", "w", false, "go on with a line for every change")
	return cmd
}

func getPipelines(ctx context.Context, v view, o getOptions, names []string) error {
	c, ns, err := o.client()
	if err != nil {
		return err
	}
	if o.all {
		ns = ""
	}
	var list v1alpha1.PipelineList
	if err := c.List(ctx, &list, client.InNamespace(ns)); err != nil {
		return clusterError(err)
	}
	chosen := list.Items[:0:0]
	for _, p := range list.Items {
		if len(names) == 0 || slices.Contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(chosen, func(p v1alpha1.Pipeline) bool { return p.Name == n }) {
			return noPipeline(n, ns)
		}
	}
	if err := v.pipelines(o, chosen, ns); err != nil || !o.watch {
		return err
	}
	return watchPipelines(ctx, v, c, o, ns, names, list.ResourceVersion)
}

// watchPipelines prints a line for every change until ctx is done. An API server ends a watch after a while; the next one goes
// on where it ended.
func watchPipelines(ctx context.Context, v view, c client.WithWatch, o getOptions, ns string, names []string, from string) error {
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, from, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, new(v1alpha1.PipelineList), client.InNamespace(ns), &client.ListOptions{Raw: &options})
		},
	})
	if err != nil {
		return clusterError(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() { // it is closed when ctx is done
		if e.Type == watch.Error {
			return clusterError(apierrors.FromObject(e.Object))
		}
		p, ok := e.Object.(*v1alpha1.Pipeline)
		if !ok || len(names) > 0 && !slices.Contains(names, p.Name) {
			continue
		}
		if err := v.pipelineLine(o, p); err != nil {
			return err
		}
	}
	return nil
}

func noPipeline(name, ns string) error {
	where := "any namespace"
	if ns != "" {
		where = "namespace " + ns
	}
	return fmt.Errorf("there is no Pipeline %s in %s: weir get --all-namespaces lists all", name, where)
}

func (v view) pipelines(o getOptions, all []v1alpha1.Pipeline, ns string) error {
	if v.json {
		for i := range all {
			if err := v.encode(&all[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		where := "any namespace"
		if ns != "" {
			where = "namespace " + ns
		}
		_, err := fmt.Fprintf(v.talk, "there is no Pipeline in %s\n", where)
		return err
	}
	rows := make([][]string, len(all))
	for i := range all {
		rows[i] = o.row(&all[i])
	}
	return v.grid(o.header(), rows)
}

func (v view) pipelineLine(o getOptions, p *v1alpha1.Pipeline) error {
	if v.json {
		return v.encode(p)
	}
	_, err := fmt.Fprintln(v.out, strings.Join(o.row(p), "  "))
	return err
}

func (o *getOptions) header() []string {
	names := []string{"NAME", "READY", "PHASE", "PODS", "IN/S", "VERSION", "AGE"}
	if o.all {
		names = slices.Insert(names, 0, "NAMESPACE")
	}
	if o.wide {
		names = append(names, "MODE", "URI", "MESSAGE")
	}
	return names
}

func (o *getOptions) row(p *v1alpha1.Pipeline) []string {
	s := &p.Status
	ready, message := "", ""
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); c != nil {
		ready, message = string(c.Status), c.Message
	}
	row := []string{p.Name, ready, string(s.Phase), s.Pods, figure(s.RecordsPerSecond), figure(s.TableVersion), age(p.CreationTimestamp)}
	if o.all {
		row = slices.Insert(row, 0, p.Namespace)
	}
	if o.wide {
		d := deltaSink(p)
		row = append(row, string(d.Mode), d.URI, clip(message, maxMessage))
	}
	return row
}

// figure is empty as long as it is not known.
func figure(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// deltaSink is that of p; an empty one for a Pipeline that a newer version of weir made, with a sink that this one does not
// know.
func deltaSink(p *v1alpha1.Pipeline) v1alpha1.DeltaSink {
	if p.Spec.Sink.Delta == nil {
		return v1alpha1.DeltaSink{}
	}
	return *p.Spec.Sink.Delta
}

// maxMessage bounds the message of a condition on a line, in characters. What pods and stores said is in it.
const maxMessage = 1000

func age(t metav1.Time) string { return duration.HumanDuration(time.Since(t.Time)) }

// client returns a client and the namespace that is meant.
func (k *kubeconfig) client() (client.WithWatch, string, error) {
	conf, err := k.load()
	if err != nil {
		return nil, "", err
	}
	ns, _, err := k.config().Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	c, err := client.NewWithWatch(conf, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		return nil, "", clusterError(err)
	}
	return c, ns, nil
}

// clusterError says what to do about a cluster that knows no Pipelines.
func clusterError(err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("the cluster knows no Pipelines: weir install makes it know them: %w", err)
	}
	return fmt.Errorf("cluster: %w", err)
}
