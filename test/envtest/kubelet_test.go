package envtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/decode"
)

// kubelet plays the nodes of a namespace: it runs an ingestor for every pod, on an address of its own of the loopback
// network, and tells the API server what a kubelet would: phase, address, readiness.
type kubelet struct {
	t         *testing.T
	namespace string
	store     store.Store
	change    func(*ingestor.Settings)

	asked atomic.Int64 // how often pods were asked for their status

	mu   sync.Mutex // guards pods
	pods map[string]*runningPod
}

type runningPod struct {
	ip    string
	stop  context.CancelFunc
	done  chan error
	doors chan string
}

var lastAddress atomic.Int32

// startKubelet runs pods until the test ends. change adjusts what their pipelines take.
func startKubelet(t *testing.T, namespace string, s store.Store, change func(*ingestor.Settings)) *kubelet {
	t.Helper()
	k := &kubelet{t: t, namespace: namespace, store: s, change: change, pods: map[string]*runningPod{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			k.sync(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		for _, p := range k.pods {
			p.stop()
			<-p.done //nolint:errcheck // how it ended does not matter
		}
	})
	return k
}

// sync starts and stops what the API server has more or less of, and reports what has changed.
func (k *kubelet) sync(ctx context.Context) {
	var pods corev1.PodList
	if err := cluster.client.List(ctx, &pods, client.InNamespace(k.namespace)); err != nil {
		return // the test's context has ended, or it will be tried again
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	there := map[string]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		there[pod.Name] = true
		p := k.pods[pod.Name]
		if p == nil {
			var err error
			if p, err = k.start(pod); err != nil {
				k.t.Errorf("start %s: %v", pod.Name, err)
				return
			}
			k.pods[pod.Name] = p
		}
		k.tell(ctx, pod, p)
	}
	for name, p := range k.pods {
		if !there[name] {
			p.stop()
			<-p.done //nolint:errcheck // how it ended does not matter
			delete(k.pods, name)
		}
	}
}

func (k *kubelet) start(pod *corev1.Pod) (*runningPod, error) {
	n := lastAddress.Add(1)
	p := &runningPod{ip: fmt.Sprintf("127.7.%d.%d", n/250, n%250+1), done: make(chan error, 1), doors: make(chan string, 1)}
	port := int32(0)
	for _, cp := range pod.Spec.Containers[0].Ports {
		if cp.Name == "metrics" {
			port = cp.ContainerPort
		}
	}
	var lc net.ListenConfig
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.t.Context()))
	p.stop = cancel
	listen := func(port int32) (net.Listener, error) {
		return lc.Listen(ctx, "tcp", net.JoinHostPort(p.ip, strconv.Itoa(int(port))))
	}
	admin, err := listen(port)
	if err != nil {
		return nil, err
	}
	set := ingestor.Settings{
		Name: pod.Labels["weir.dev/pipeline"], Store: k.store, Memory: 64 << 20, Decode: decode.Options{MaxEventBytes: 1 << 20},
		Batch: batch.Settings{MaxRecords: 1000, MaxAge: time.Millisecond, MaxBytes: 16 << 20, MinGap: time.Millisecond},
	}
	if k.change != nil {
		k.change(&set)
	}
	conf := ingestor.PodConfig{
		Name: pod.Name, Pipeline: set.Name, Version: "test", Admin: &countingListener{admin, &k.asked}, Pause: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Configure: func(context.Context) (ingestor.Config, error) {
			return ingestor.Config{
				Pipelines: []ingestor.Settings{set}, Grace: 5 * time.Second, Version: "test", Registry: prometheus.NewRegistry(),
				Log: slog.New(slog.DiscardHandler),
			}, nil
		},
		Doors: func(context.Context) (rs, h net.Listener, err error) {
			rs, err = listen(0)
			if err != nil {
				return nil, nil, err
			}
			if h, err = listen(0); err != nil {
				return nil, nil, errors.Join(err, rs.Close())
			}
			p.doors <- "http://" + h.Addr().String()
			return rs, h, nil
		},
	}
	go func() { p.done <- ingestor.RunPod(ctx, conf) }()
	return p, nil
}

// countingListener counts the requests for a pod's status.
type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{c, l.n}, nil
}

type countingConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.HasPrefix(p[:n], []byte("GET /status ")) {
		c.n.Add(1)
	}
	return n, err
}

// tell patches the pod's status if it is not what the ingestor is.
func (k *kubelet) tell(ctx context.Context, pod *corev1.Pod, p *runningPod) {
	ready := corev1.ConditionFalse
	if metrics := pod.Spec.Containers[0].Ports[2].ContainerPort; probe(ctx, "http://"+net.JoinHostPort(p.ip, strconv.Itoa(int(metrics)))+"/readyz") {
		ready = corev1.ConditionTrue
	}
	if pod.Status.PodIP == p.ip && len(pod.Status.Conditions) == 1 && pod.Status.Conditions[0].Status == ready {
		return
	}
	was := pod.DeepCopy()
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "weir", Image: pod.Spec.Containers[0].Image, Ready: ready == corev1.ConditionTrue,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}},
	}
	_ = cluster.client.Status().Patch(ctx, pod, client.MergeFrom(was)) // one that is gone is found the next time
}

func probe(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

// post sends an event for the pipeline clicks to one of the pods and does not wait for its commit.
func (k *kubelet) post(event any) {
	k.t.Helper()
	b, err := json.Marshal(event)
	if err != nil {
		k.t.Fatal(err)
	}
	k.mu.Lock()
	var doors chan string
	for _, p := range k.pods {
		doors = p.doors
	}
	k.mu.Unlock()
	url := <-doors
	doors <- url
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.t.Context()), 500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/pipelines/clicks/events", bytes.NewReader(b))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
	}
}

// bucket is a store that can be away: every write fails then as that of a service which refuses does.
type bucket struct {
	store.Store
	away atomic.Bool
	n    atomic.Int64
}

func newBucket() *bucket { return &bucket{Store: store.NewMemory()} }

func (b *bucket) refuse(op, key string) error {
	if !b.away.Load() {
		return nil
	}
	return &store.KeyError{Op: op, Key: key, Err: fmt.Errorf("https://lake.s3.example: 403 AccessDenied, RequestID: R%d", b.n.Add(1))}
}

func (b *bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := b.refuse("put", key); err != nil {
		return err
	}
	return b.Store.PutIfAbsent(ctx, key, data)
}

func (b *bucket) Create(ctx context.Context, key string) (store.Writer, error) {
	if err := b.refuse("create", key); err != nil {
		return nil, err
	}
	return b.Store.Create(ctx, key)
}

// metricsPort gives the pods of a test a port that nothing else has on their addresses.
func metricsPort(p *v1alpha1.Pipeline) { p.Spec.Observability.MetricsPort = new(int32(9090)) }
