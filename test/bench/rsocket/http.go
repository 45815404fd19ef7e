package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// The net/http stack has one POST per payload, with connections kept alive.

func httpServe(_ context.Context, ln net.Listener) error {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(b)
	})}
	return s.Serve(ln)
}

type httpClient struct {
	c   *http.Client
	url string
}

func httpDial(_ context.Context, addr string) (client, error) {
	return &httpClient{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}, "http://" + addr}, nil
}

func (c *httpClient) respond(ctx context.Context, n, inFlight int, payload []byte) error {
	return inParallel(n, inFlight, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(payload))
		if err != nil {
			return err
		}
		res, err := c.c.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got, err := io.Copy(io.Discard, res.Body)
		if err == nil && got != int64(len(payload)) {
			err = fmt.Errorf("%d bytes came back", got)
		}
		return err
	})
}

func (*httpClient) up(context.Context, int, []byte) error     { return errNotOffered }
func (*httpClient) forget(context.Context, int, []byte) error { return errNotOffered }
func (*httpClient) down(context.Context, int, int) error      { return errNotOffered }
func (c *httpClient) Close() error                            { c.c.CloseIdleConnections(); return nil }
