package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
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
			return fmt.Errorf("there is no Pipeline %s in namespace %s: weir get --all-namespaces lists all", n, ns)
		}
	}
	if err := v.pipelines(o, chosen, ns); err != nil || !o.watch {
		return err
	}
	return watchPipelines(ctx, v, c, o, ns, names, list.ResourceVersion)
}

// watchPipelines prints a line for every change until ctx is done.
func watchPipelines(ctx context.Context, v view, c client.WithWatch, o getOptions, ns string, names []string, from string) error {
	w, err := c.Watch(ctx, new(v1alpha1.PipelineList), client.InNamespace(ns), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: from}})
	if err != nil {
		return clusterError(err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-w.ResultChan():
			if !open {
				return nil // the API server ends a watch after a while
			}
			p, ok := e.Object.(*v1alpha1.Pipeline)
			if !ok || e.Type == watch.Bookmark || len(names) > 0 && !slices.Contains(names, p.Name) {
				continue
			}
			if err := v.pipelineLine(o, p); err != nil {
				return err
			}
		}
	}
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
	version := ""
	if s.TableVersion != nil {
		version = strconv.FormatInt(*s.TableVersion, 10)
	}
	row := []string{p.Name, ready, string(s.Phase), s.Pods, strconv.FormatInt(s.RecordsPerSecond, 10), version, age(p.CreationTimestamp)}
	if o.all {
		row = slices.Insert(row, 0, p.Namespace)
	}
	if d := p.Spec.Sink.Delta; o.wide && d != nil {
		row = append(row, string(d.Mode), d.URI, message)
	}
	return row
}

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
		return fmt.Errorf("the cluster knows no Pipelines: weir install --dry-run prints what it needs: %w", err)
	}
	return fmt.Errorf("cluster: %w", err)
}
