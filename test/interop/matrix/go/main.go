// Command peer is rsocket-go as a peer of the matrix. The commands are described in wire_test.go.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rsocket/rsocket-go/payload"
)

// command is any of the commands.
type command struct {
	Op        string
	Transport string
	Cert, Key string
	Resume    bool
	Lease     json.RawMessage // of serve a number, of call a word
	MTU       int
	Port      int
	KeepAlive int
	Lifetime  int
	Model     string
	Data      string
	Size      int
	Route     string
	Token     string
	N         int
	Fail      bool
	Grant     int
	Async     bool
	Cancel    int
}

// leased returns how a call behaves without a lease, or "".
func (c *command) leased() string { return strings.Trim(string(c.Lease), `"`) }

// record counts what the responder sees.
type record struct {
	mu sync.Mutex // guards m
	m  map[string]any
}

func (r *record) tally(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, _ := r.m[what].(int)
	r.m[what] = n + 1
}

func (r *record) set(what string, value any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m[what] = value
}

func (r *record) text() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, _ := json.Marshal(r.m)
	return b
}

func number(i int) payload.Payload { return payload.NewString(strconv.Itoa(i), "") }

func start(p payload.Payload) string { return string(p.Data()[:min(len(p.Data()), 100)]) }

func main() {
	peer := &peer{record: &record{m: map[string]any{}}, stop: func() {}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		err := json.Unmarshal(in.Bytes(), &c)
		var answer []byte
		if err == nil {
			answer, err = peer.run(&c)
		}
		if err != nil {
			answer, _ = json.Marshal(map[string]string{"unable": err.Error()})
		}
		fmt.Printf("%s\n", answer)
	}
}

func (p *peer) run(c *command) ([]byte, error) {
	switch c.Op {
	case "serve":
		port, err := p.serve(c)
		return fmt.Appendf(nil, `{"port":%d}`, port), err
	case "seen":
		return p.record.text(), nil
	case "lease":
		p.leases <- c.N
		return []byte("{}"), nil
	default:
		r, err := call(c)
		if err != nil {
			return nil, err
		}
		return json.Marshal(r)
	}
}
