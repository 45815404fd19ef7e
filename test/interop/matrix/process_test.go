package matrix

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
)

// process is a foreign program as an implementation. It takes one command at a time.
type process struct {
	start func(ctx context.Context) (*exec.Cmd, error)

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan []byte // closed at the end of the program's output
	log     tail
}

// tail keeps the last bytes a program prints on its standard error.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const keep = 4000
	t.b = append(t.b, p...)
	if len(t.b) > keep {
		t.b = bytes.Clone(t.b[len(t.b)-keep:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func (p *process) run(ctx context.Context) error {
	cmd, err := p.start(context.WithoutCancel(ctx)) // end ends it
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.answers = cmd, make(chan []byte)
	go func(answers chan<- []byte) {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if line := lines.Bytes(); bytes.HasPrefix(line, []byte("{")) { // libraries print, too
				answers <- bytes.Clone(line)
			}
		}
		close(answers)
	}(p.answers)
	return nil
}

// end ends the program, if it runs. The next command starts it again.
func (p *process) end() {
	if p.cmd == nil {
		return
	}
	p.in.Close()
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	for range p.answers {
		continue
	}
	p.cmd.Wait() //nolint:errcheck // it was killed
	p.cmd = nil
}

// ask sends a command and waits for its answer. A program that does not answer is ended.
func (p *process) ask(ctx context.Context, op string, command, answer any) error {
	if p.cmd == nil {
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	body, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	line := append([]byte(`{"op":"`+op+`",`), body[1:]...)
	if len(body) == len("{}") {
		line = []byte(`{"op":"` + op + `"}`)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.end()
		return fmt.Errorf("%s: %w\n%s", op, err, &p.log)
	}
	select {
	case line, ok := <-p.answers:
		if !ok {
			p.end()
			return fmt.Errorf("%s: the program ended\n%s", op, &p.log)
		}
		return decodeAnswer(op, line, answer)
	case <-ctx.Done():
		p.end()
		return fmt.Errorf("%s: no answer: %w\n%s", op, context.Cause(ctx), &p.log)
	}
}

func decodeAnswer(op string, line []byte, answer any) error {
	var refused struct{ Unable string }
	if err := json.Unmarshal(line, &refused); err != nil {
		return fmt.Errorf("%s: answer %.200q: %w", op, line, err)
	}
	if refused.Unable != "" {
		return fmt.Errorf("%s: %w", op, errors.New(refused.Unable))
	}
	return json.Unmarshal(line, answer)
}

func (p *process) serve(ctx context.Context, s serve) (int, error) {
	var answer struct{ Port int }
	err := p.ask(ctx, "serve", s, &answer)
	return answer.Port, err
}

func (p *process) seen(ctx context.Context) (seen, error) {
	var s seen
	err := p.ask(ctx, "seen", struct{}{}, &s)
	return s, err
}

func (p *process) lease(ctx context.Context, n int) error {
	return p.ask(ctx, "lease", struct {
		N int `json:"n"`
	}{n}, &struct{}{})
}

func (p *process) call(ctx context.Context, c call) (result, error) {
	var r result
	err := p.ask(ctx, "call", c, &r)
	return r, err
}
