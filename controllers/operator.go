package controllers

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
)

// Options are those of an operator.
type Options struct {
	Image      string       // of the pods whose Pipeline names none
	Namespaces []string     // whose Pipelines it runs; none: those of every namespace
	Check      strict.Check // looks at a Pipeline that is valid as far as the API knows; nil: nothing more is wrong with it
	Log        *slog.Logger

	MetricsAddress string // host:port of /metrics; "0" for none
	HealthAddress  string // host:port of /healthz and /readyz; "0" for none

	LeaderElection bool          // one of several operators works, the others are ready to take over
	LeaseNamespace string        // where the lease is
	PollEvery      time.Duration // how often pods are asked for their status; 0 means 15 s
	SkipNameChecks bool          // several operators in one process, for tests
}

// The lease that says which operator works. Two operators of one namespace that share no namespace of Pipelines get
// different leases from their Options.Namespaces.
const leaseName = "weir-operator"

const defaultPoll = 15 * time.Second

// New returns an operator that is not started yet. It connects to the API server of conf.
func New(conf *rest.Config, o Options) (manager.Manager, error) {
	if o.Image == "" {
		return nil, errors.New("an operator needs the image of the pods")
	}
	log := logr.FromSlogHandler(o.Log.Handler())
	opts := ctrl.Options{
		Scheme: Scheme(), Logger: log,
		Cache:                  cacheOptions(o.Namespaces),
		Client:                 client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
		Metrics:                metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress: o.HealthAddress,
		LeaderElection:         o.LeaderElection, LeaderElectionReleaseOnCancel: true,
	}
	if o.LeaderElection {
		lock, err := newLock(conf, o)
		if err != nil {
			return nil, err
		}
		opts.LeaderElectionResourceLockInterface = lock
	}
	mgr, err := ctrl.NewManager(conf, opts)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	if err := newReconciler(mgr, o).setup(mgr, o.SkipNameChecks); err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	if err := errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("caches", func(r *http.Request) error {
			if !mgr.GetCache().WaitForCacheSync(r.Context()) {
				return errors.New("the caches are not filled yet")
			}
			return nil
		}),
	); err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	return mgr, nil
}

// Scheme knows the kinds that the operator works with.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // two kinds of one name: a mistake of the build
		}
	}
	return s
}

// cacheOptions keeps out of memory what is not ours: children and pods are known by their label, and nothing else of the
// cluster is watched, Secrets least of all.
func cacheOptions(namespaces []string) cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{labelManagedBy: managedBy})}
	o := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: ours, &corev1.Service{}: ours, &corev1.ServiceAccount{}: ours, &corev1.Pod{}: ours,
			&appsv1.Deployment{}: ours, &policyv1.PodDisruptionBudget{}: ours,
		},
		ReaderFailOnMissingInformer: true, // so that no other kind is watched by accident
	}
	if len(namespaces) > 0 {
		o.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range namespaces {
			o.DefaultNamespaces[ns] = cache.Config{}
		}
	}
	return o
}

// newLock is the lock of the election, without events: who leads stands in the lease.
func newLock(conf *rest.Config, o Options) (resourcelock.Interface, error) {
	c, err := coordinationv1client.NewForConfig(rest.AddUserAgent(rest.CopyConfig(conf), "leader-election"))
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	if o.LeaseNamespace == "" {
		return nil, errors.New("leader election needs the namespace of the lease: set --lease-namespace or POD_NAMESPACE, or --leader-election=false")
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: leaseName, Namespace: o.LeaseNamespace},
		Client:     c,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}, nil
}

func newReconciler(mgr manager.Manager, o Options) *reconciler {
	check := o.Check
	if check == nil {
		check = func(*v1alpha1.Pipeline) []strict.Fault { return nil }
	}
	return &reconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("weir-operator"),
		image: o.Image, check: check, poller: newPoller(cmp.Or(o.PollEvery, defaultPoll)),
	}
}

// setup makes r run for every change of a Pipeline, of what it owns and of its pods.
func (r *reconciler) setup(mgr manager.Manager, skipName bool) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("pipeline").
		For(&v1alpha1.Pipeline{}).
		Owns(&corev1.ConfigMap{}).Owns(&corev1.Service{}).Owns(&corev1.ServiceAccount{}).
		Owns(&appsv1.Deployment{}).Owns(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.Pod{}, podHandler()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 8, EnableWarmup: new(true), SkipNameValidation: &skipName, ReconciliationTimeout: time.Minute,
		}).
		Complete(r)
}

// LeaseNamespace is the namespace that the process runs in; "" outside of a cluster.
func LeaseNamespace() string {
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	b, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
