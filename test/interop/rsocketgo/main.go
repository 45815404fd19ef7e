// Command rsocketgo reproduces three defects of rsocket-go v0.8.16 that rule it out for weir; docs/adr has the decision.
//
//	go run .
//
// Each line of its output is a defect, what was done to a server of that library, and what became of it. The server runs
// in a process of its own, because the first defect ends it. The peer writes frames by hand, so that nothing but the
// server is under test. The exit status is 0 if all three are there; a later version without them needs another look.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience is how long a server may take to do what it should; one that hangs would take for ever.
const patience = 5 * time.Second

// Finding is one line of the output.
type Finding struct {
	Defect     string `json:"defect"`
	Reproduced bool   `json:"reproduced"`
	Seen       string `json:"seen"`
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		if err := serve(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	all := true
	for _, reproduce := range []func(context.Context) (Finding, error){shortSetup, lostOnComplete, asynchronousDemand} {
		ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
		f, err := reproduce(ctx)
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, "rsocketgo:", err)
			os.Exit(2)
		}
		all = all && f.Reproduced
		json.NewEncoder(os.Stdout).Encode(f)
	}
	if !all {
		os.Exit(1)
	}
}

// server is a child process that serves with rsocket-go.
type server struct {
	*exec.Cmd
	addr   string
	out    *bufio.Reader
	stderr strings.Builder
}

func start(ctx context.Context, handler string) (*server, error) {
	s := &server{Cmd: exec.CommandContext(ctx, os.Args[0], "serve", handler)}
	s.Stderr = &s.stderr
	pipe, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(pipe)
	if err := s.Start(); err != nil {
		return nil, err
	}
	s.addr, err = s.line()
	return s, err
}

// line returns the next line that the server prints.
func (s *server) line() (string, error) {
	line, err := s.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (s *server) stop() {
	s.Process.Kill()
	s.Wait()
}

// dial connects and sends SETUP.
func (s *server) dial() (net.Conn, error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_, err = c.Write(setup())
	return c, err
}

func shortSetup(ctx context.Context) (Finding, error) {
	f := Finding{Defect: "a 17-byte SETUP, before any authentication, ends the server process"}
	s, err := start(ctx, "count")
	if err != nil {
		return f, err
	}
	defer s.stop()
	c, err := s.dial()
	if err != nil {
		return f, err
	}
	defer c.Close()
	if _, err := c.Write(frame(0, typeSetup, 0, setup()[9:20])); err != nil {
		return f, err
	}
	died := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, s.out)
		died <- s.Wait()
	}()
	select {
	case err := <-died:
		panicked := strings.Contains(s.stderr.String(), "panic: ")
		f.Reproduced = err != nil && panicked
		f.Seen = fmt.Sprintf("process ended: %v, panic: %t", err, panicked)
	case <-time.After(patience):
		f.Seen = "the server lives"
	}
	return f, nil
}

func lostOnComplete(ctx context.Context) (Finding, error) {
	const n, channels = 2, 500
	f := Finding{Defect: "items sent within credit are lost when COMPLETE follows them"}
	got, err := upload(ctx, n, channels)
	f.Reproduced = err == nil && got < n*channels
	f.Seen = fmt.Sprintf("%d of %d items reached a handler that then saw OnComplete", got, n*channels)
	return f, err
}

func asynchronousDemand(ctx context.Context) (Finding, error) {
	const n = 20_000
	f := Finding{Defect: "a consumer that asks for more from another goroutine waits for ever"}
	got, err := upload(ctx, n, 1)
	f.Reproduced = err == nil && got < n-1 // one may be lost on COMPLETE
	f.Seen = fmt.Sprintf("%d of %d items were asked for and delivered, then none for %s", got, n, patience)
	return f, err
}

// upload opens channels one after the other. On each it sends n payloads as the server's demand allows and COMPLETE with
// the last. It returns how many the server's handlers say they have seen.
func upload(ctx context.Context, n, channels int) (int, error) {
	s, err := start(ctx, "asynchronous")
	if err != nil {
		return 0, err
	}
	defer s.stop()
	c, err := s.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	sum := 0
	for i := range channels {
		go send(c, uint32(2*i+1), n)
		got, err := s.received()
		if err != nil {
			return 0, err
		}
		sum += got
	}
	return sum, nil
}

// received waits until a handler says how many items it has seen.
func (s *server) received() (int, error) {
	line, err := s.line()
	if err != nil {
		return 0, fmt.Errorf("server: %w: %s", err, s.stderr.String())
	}
	var got int
	_, err = fmt.Sscanf(line, "received %d", &got)
	return got, err
}
