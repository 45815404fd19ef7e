package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-dev/weir/test/harness"
)

// TestScripts runs testdata/script: each is a session at a terminal. They know these commands besides those of testscript:
//
//	ports FILE            waits for the file that weir run --ports-file writes; sets RSOCKET, HTTP and METRICS to host:port
//	term                  sends SIGTERM to every program in the background
//	[!] post URL TYPE FILE
//	                      posts a file and prints the answer; a status that is no success is a failure
//	get URL               prints what is there
//	poll URL PATTERN      gets URL until what is there matches
//	damage DIR            removes one data file of a table
//	orders N           writes N orders to orders.ndjson, .pb (with order.proto), .arrows, .arrow and orders-CODEC.avro
//	cluster DIR           starts an API server over the files of DIR (see apiServer); sets KUBECONFIG
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ports": scriptPorts, "term": scriptTerm, "post": scriptPost, "get": scriptGet, "poll": scriptPoll, "damage": scriptDamage,
			"cluster": scriptCluster, "orders": scriptOrders,
		},
	})
}

// patience is how long anything in a script may take.
const patience = 30 * time.Second

func want(ts *testscript.TestScript, args []string, n int) {
	if len(args) != n {
		ts.Fatalf("%d arguments are needed, not %q", n, args)
	}
}

func scriptPorts(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1)
	if neg {
		ts.Fatalf("ports cannot be negated")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	file := ts.MkAbs(args[0])
	ts.Check(harness.Poll(ctx, 10*time.Millisecond, func() (bool, error) {
		_, err := os.Stat(file)
		return err == nil, nil
	}))
	var ports struct{ RSocket, HTTP, Metrics string }
	b, err := os.ReadFile(file)
	ts.Check(err)
	ts.Check(json.Unmarshal(b, &ports))
	ts.Setenv("RSOCKET", ports.RSocket)
	ts.Setenv("HTTP", ports.HTTP)
	ts.Setenv("METRICS", ports.Metrics)
	ts.Check(os.Remove(file)) // so that a second start is waited for
}

func scriptTerm(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 0)
	if neg {
		ts.Fatalf("term cannot be negated")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// scriptDamage removes one data file of a table.
func scriptDamage(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1)
	files, err := filepath.Glob(ts.MkAbs(args[0] + "/*.parquet"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("%s has no data file", args[0])
	}
	ts.Check(os.Remove(files[0]))
}

func scriptPost(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 3)
	if status := request(ts, http.MethodPost, args[0], args[1], ts.ReadFile(args[2])); neg != (status >= 300) {
		ts.Fatalf("the status is %d", status)
	}
}

func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1)
	if status := request(ts, http.MethodGet, args[0], "", ""); neg != (status >= 300) {
		ts.Fatalf("the status is %d", status)
	}
}

func scriptPoll(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 2)
	if neg {
		ts.Fatalf("poll cannot be negated")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pattern := regexp.MustCompile(args[1])
	ts.Check(harness.Poll(ctx, 20*time.Millisecond, func() (bool, error) {
		_, body := fetch(ts, http.MethodGet, args[0], "", "")
		return pattern.Match(body), nil
	}))
}

// request prints the body of the answer as the standard output of the command and returns the status.
func request(ts *testscript.TestScript, method, url, mime, body string) int {
	status, answer := fetch(ts, method, url, mime, body)
	_, err := ts.Stdout().Write(answer)
	ts.Check(err)
	return status
}

// fetch returns the status and the body of the answer.
func fetch(ts *testscript.TestScript, method, url, mime, body string) (int, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	ts.Check(err)
	if mime != "" {
		req.Header.Set("Content-Type", mime)
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	ts.Check(err)
	return res.StatusCode, answer
}
