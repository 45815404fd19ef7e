// Package envtest runs the operator against a real API server, etcd and controller manager, without kubelets: tests play
// those, and the pods' status comes from ingestors that run in the test's process.
package envtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/go-logr/logr"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/controllers"
)

// cluster is the control plane that all tests of the package share.
var cluster struct {
	conf       *rest.Config
	kubeconfig string // file
	client     client.Client
}

const definitions = "../../config/crd/bases"

// requireEnv turns a missing control plane into a failure.
const requireEnv = "WEIR_REQUIRE_ENVTEST"

// longEnv asks for every case and for longer looks.
const longEnv = "WEIR_ENVTEST_LONG"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		if os.Getenv(requireEnv) != "" {
			fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS is not set: it names the directory of kube-apiserver, etcd, kube-controller-manager and kubectl (make envtest sets it)")
			return 1
		}
		fmt.Fprintln(os.Stderr, "skipped: KUBEBUILDER_ASSETS is not set, see make envtest")
		return 0
	}
	// Older API servers do not stream their lists: the rights for them must be there, and are tested.
	if err := os.Setenv("KUBE_FEATURE_WatchListClient", "false"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctrl.SetLogger(logr.Discard())
	env := &envtest.Environment{CRDDirectoryPaths: []string{definitions}, ErrorIfCRDPathMissing: true}
	conf, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start a control plane:", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		}
	}()
	conf.QPS, conf.Burst = 1000, 1000
	cluster.conf = conf
	scheme := controllers.Scheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if cluster.client, err = client.New(conf, client.Options{Scheme: scheme}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "weir-envtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	stop, err := startControllerManager(env, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the controller manager:", err)
		return 1
	}
	defer stop()
	return m.Run()
}

// startControllerManager runs those of Kubernetes' own controllers that make pods of Deployments and clean up.
func startControllerManager(env *envtest.Environment, dir string) (stop func(), err error) {
	user, err := env.AddUser(envtest.User{Name: "controllers", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, err
	}
	b, err := user.KubeConfig()
	if err != nil {
		return nil, err
	}
	cluster.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(cluster.kubeconfig, b, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "controller-manager.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager"), //nolint:noctx // it ends with the tests
		"--kubeconfig="+cluster.kubeconfig, "--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400",
		"--controllers=deployment-controller,replicaset-controller,namespace-controller,garbage-collector-controller,disruption-controller")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	}, nil
}

// operator is one that runs in the test's process.
type operator struct {
	stop func()
	log  *syncBuffer
	api  *counter
}

// counter counts what goes to the API server, apart from leases.
type counter struct {
	next   http.RoundTripper
	writes atomic.Int64
	mu     sync.Mutex // guards what follows
	recent []string
	denied []string
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	write := r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/leases")
	if write {
		c.writes.Add(1)
	}
	res, err := c.next.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	what := r.Method + " " + r.URL.Path
	if write {
		c.recent = append(c.recent, what)
	}
	if err == nil && res.StatusCode == http.StatusForbidden {
		c.denied = append(c.denied, what)
	}
	return res, err
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startOperator runs an operator for one namespace until the test ends or it is stopped; change adjusts it.
func startOperator(t *testing.T, namespace string, change func(*rest.Config, *controllers.Options)) *operator {
	t.Helper()
	op := &operator{log: new(syncBuffer), api: new(counter)}
	conf := rest.CopyConfig(cluster.conf)
	o := controllers.Options{
		Image: "weir:test", Namespaces: []string{namespace}, MetricsAddress: "0", HealthAddress: "0",
		Log: slog.New(slog.NewTextHandler(op.log, nil)), PollEvery: 300 * time.Millisecond, SkipNameChecks: true,
	}
	if change != nil {
		change(conf, &o)
	}
	conf.Wrap(func(next http.RoundTripper) http.RoundTripper {
		op.api.next = next
		return op.api
	})
	mgr, err := controllers.New(conf, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	op.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !t.Failed() {
			t.Logf("the operator ended with %v", err)
		}
	})
	t.Cleanup(func() {
		op.stop()
		if t.Failed() {
			t.Logf("the operator said\n%s", op.log)
		}
	})
	return op
}

// patience is how long anything may take.
const patience = 40 * time.Second

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	eventuallyIn(t, patience, what, check)
}

func eventuallyIn(t *testing.T, most time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

func newNamespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := cluster.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// newPipeline makes a Pipeline whose table is in a bucket; change adjusts it before.
func newPipeline(t *testing.T, namespace, name string, change func(*v1alpha1.Pipeline)) *v1alpha1.Pipeline {
	t.Helper()
	p := &v1alpha1.Pipeline{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.PipelineSpec{Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://lake/" + name}}},
	}
	if change != nil {
		change(p)
	}
	if err := cluster.client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func get[T client.Object](t *testing.T, namespace, name string, o T) (T, error) {
	t.Helper()
	return o, cluster.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
}

func isGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(errors.New("it is still there"), err)
}

// wantCondition is nil when the Pipeline has the condition for its present generation.
func wantCondition(p *v1alpha1.Pipeline, typ string, status metav1.ConditionStatus, reason string) error {
	c := meta.FindStatusCondition(p.Status.Conditions, typ)
	if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != p.Generation {
		return fmt.Errorf("%s is %+v; want %s %s of generation %d; phase %s", typ, c, status, reason, p.Generation, p.Status.Phase)
	}
	return nil
}

// waitStarting waits until the Pipeline is not Ready because its pods start.
func waitStarting(t *testing.T, p *v1alpha1.Pipeline) {
	t.Helper()
	eventually(t, p.Name, func() error {
		now, err := get(t, p.Namespace, p.Name, new(v1alpha1.Pipeline))
		if err != nil {
			return err
		}
		return wantCondition(now, v1alpha1.ConditionReady, metav1.ConditionFalse, "PodsStarting")
	})
}

// kubectl runs the one that came with the control plane.
func kubectl(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
		append([]string{"--kubeconfig", cluster.kubeconfig, "-n", namespace}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// last returns the newest n writes.
func (c *counter) last(n int64) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.recent[max(0, len(c.recent)-int(n)):])
}

// refused returns what was forbidden.
func (c *counter) refused() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.denied)
}
