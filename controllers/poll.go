package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/protocol"
)

// report is what a pod said of itself.
type report struct {
	protocol.PipelineStatus

	at        time.Time
	uid       types.UID
	perSecond int64 // records taken in, between this and the answer before
}

// reports are those of a Pipeline's pods.
type reports struct {
	byPod map[string]report
	due   bool // the figures of the status may be written again
}

// poller asks pods for their status, each Pipeline's at most once in a while unless its pods have changed.
type poller struct {
	every time.Duration
	http  http.Client

	mu    sync.Mutex // guards known
	known map[types.NamespacedName]*answers
}

// answers are the last ones of a Pipeline's pods. Only one reconcile of a Pipeline runs at a time.
type answers struct {
	at, figures time.Time
	pods        string // whose they are
	byPod       map[string]report
}

// The bounds of a poll. One that hangs does not keep a Pipeline from being reconciled for long.
const (
	pollTimeout  = 2 * time.Second
	pollAtOnce   = 16
	pollMaxBytes = 1 << 20
)

func newPoller(every time.Duration) *poller {
	return &poller{
		every: every, known: map[types.NamespacedName]*answers{},
		http: http.Client{
			Timeout:   pollTimeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, Proxy: nil},
		},
	}
}

func (p *poller) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, key)
}

func (p *poller) of(key types.NamespacedName) *answers {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.known[key]
	if a == nil {
		a = new(answers)
		p.known[key] = a
	}
	return a
}

// poll returns what the pods say, or said lately.
func (p *poller) poll(ctx context.Context, key types.NamespacedName, pods []corev1.Pod, now time.Time) reports {
	a, those := p.of(key), fingerprint(pods)
	if those == a.pods && now.Sub(a.at) < p.every {
		return reports{byPod: a.byPod}
	}
	fresh := p.ask(ctx, key.Name, pods)
	for name, r := range fresh {
		r.at = now
		r.perSecond = rate(a.byPod[name], r)
		fresh[name] = r
	}
	due := now.Sub(a.figures) >= p.every
	if due {
		a.figures = now
	}
	a.at, a.pods, a.byPod = now, those, fresh
	return reports{fresh, due}
}

// rate is what a pod took in since the answer before, a second. Answers too close to each other tell nothing new.
func rate(before, now report) int64 {
	span := now.at.Sub(before.at)
	switch {
	case before.uid != now.uid || now.Accepted < before.Accepted: // another process
		return 0
	case span < time.Second:
		return before.perSecond
	}
	return int64(float64(now.Accepted-before.Accepted)/span.Seconds() + 0.5)
}

// fingerprint changes when a pod comes, goes, or becomes ready or unready.
func fingerprint(pods []corev1.Pod) string {
	var b strings.Builder
	for i := range pods {
		p := &pods[i]
		fmt.Fprintf(&b, "%s %s %t %t\n", p.UID, p.Status.PodIP, podReady(p), p.DeletionTimestamp.IsZero())
	}
	return b.String()
}

// ask asks all pods that have an address at once. Those that do not answer are left out.
func (p *poller) ask(ctx context.Context, pipeline string, pods []corev1.Pod) map[string]report {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var mu sync.Mutex // guards all
	all := map[string]report{}
	var wg sync.WaitGroup
	free := make(chan struct{}, pollAtOnce)
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			s, err := p.get(ctx, statusURL(pod), pipeline)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[pod.Name] = report{PipelineStatus: s, uid: pod.UID}
		})
	}
	wg.Wait()
	return all
}

// statusURL is where pod tells its status.
func statusURL(pod *corev1.Pod) string {
	return "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(MetricsPort(pod)))) + "/status"
}

// MetricsPort is the port on which pod tells its status. Its own counts: during a rollout it may not be that of the spec.
func MetricsPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == portMetrics {
				return p.ContainerPort
			}
		}
	}
	return 0
}

func (p *poller) get(ctx context.Context, url, pipeline string) (protocol.PipelineStatus, error) {
	var s protocol.PodStatus
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return protocol.PipelineStatus{}, err //nolint:wrapcheck // it names the URL
	}
	res, err := p.http.Do(req)
	if err != nil {
		return protocol.PipelineStatus{}, err //nolint:wrapcheck // it names the URL
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(io.LimitReader(res.Body, pollMaxBytes)).Decode(&s); err != nil {
		return protocol.PipelineStatus{}, fmt.Errorf("%s: %w", url, err)
	}
	for _, st := range s.Pipelines {
		if st.Pipeline == pipeline {
			return st, nil
		}
	}
	return protocol.PipelineStatus{}, errors.New(url + " does not know the pipeline")
}
