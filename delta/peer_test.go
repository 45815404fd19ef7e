package delta_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// peerServer is a deltalake that does what it is told.
type peerServer struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeer(t *testing.T) *peerServer {
	t.Helper()
	needPeer(t)
	// The peer ends when its input does, which is after the test's context has ended.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Getenv("WEIR_PYTHON"), filepath.Join("testdata", "peer.py"), "serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, in.Close())
		must(t, cmd.Wait())
	})
	return &peerServer{in, bufio.NewReaderSize(out, 1<<20)}
}

// peerState is a table as the peer sees it.
type peerState struct {
	Error   string
	Version int64
	Schema  []string
	Rows    []json.RawMessage
}

func (p *peerServer) do(t *rapid.T, command map[string]any) peerState {
	t.Helper()
	line, err := json.Marshal(command)
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	var answer []byte
	if err == nil {
		answer, err = p.out.ReadBytes('\n')
	}
	var state peerState
	if err == nil {
		err = json.Unmarshal(answer, &state)
	}
	if err != nil {
		t.Fatalf("peer: %v", err)
	}
	return state
}
