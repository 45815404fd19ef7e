package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// watch finds pods by asking one of them, over a connection that there is, or else one of the addresses that the target names.
type watch struct {
	c     *Client
	seeds []balancer.HostPort
	pool  atomic.Pointer[balancer.Pool] // nil at first
}

// Resolve implements [balancer.Resolver].
func (w *watch) Resolve(ctx context.Context) ([]balancer.Endpoint, error) {
	var errs []error
	if pool := w.pool.Load(); pool != nil {
		for _, n := range pool.Snapshot().Nodes {
			conn := n.Conn()
			if conn == nil {
				continue
			}
			found, err := w.ask(ctx, conn)
			if err == nil && len(found) > 0 {
				return found, nil
			}
			errs = append(errs, fmt.Errorf("ask %s: %w", n.ID, err))
		}
	}
	for _, seed := range w.seeds {
		found, err := w.askSeed(ctx, seed)
		if err == nil && len(found) > 0 {
			return found, nil
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", seed, err))
	}
	return nil, errors.Join(errs...)
}

func (w *watch) askSeed(ctx context.Context, seed balancer.HostPort) ([]balancer.Endpoint, error) {
	conn, err := w.c.dial(ctx, balancer.Endpoint{Addr: seed.String(), Host: seed.Host})
	if err != nil {
		return nil, err
	}
	found, err := w.ask(ctx, conn)
	_ = conn.Close() // nothing else is on it
	return found, err
}

// ask takes one message of cluster.watch. Pods that take nothing new are left out, so that they drain.
func (w *watch) ask(ctx context.Context, conn *rsocket.Conn) ([]balancer.Endpoint, error) {
	in, err := conn.RequestStream(ctx, rsocket.NewPayload(nil, w.c.routes.cluster), 1)
	if err != nil {
		return nil, err
	}
	defer in.Cancel()
	p, err := in.Recv(ctx)
	if err != nil {
		return nil, err
	}
	var m protocol.Cluster
	if err := json.Unmarshal(p.Data, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	var found []balancer.Endpoint
	for _, pod := range m.Pods {
		if pod.Takes() || pod.State == protocol.PodUnreachable { // the pod that was asked may be the one that is cut off
			found = append(found, balancer.Endpoint{ID: pod.Addr, Addr: pod.Addr, Host: w.seeds[0].Host})
		}
	}
	return found, nil
}
