package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed java/RSocketBench.java
var javaSource embed.FS

// javaCommand compiles the Java side, once for each run of the program, and returns how to run it. The jars are those
// that test/setup.sh installs, in .cache/jars/rsocket of the working directory or WEIR_CACHE_DIR.
func javaCommand(args ...string) (*exec.Cmd, error) {
	cache := os.Getenv("WEIR_CACHE_DIR")
	if cache == "" {
		cache = ".cache"
	}
	jars, err := filepath.Abs(filepath.Join(cache, "jars", "rsocket", "*"))
	if err != nil {
		return nil, err
	}
	if found, err := filepath.Glob(jars + ".jar"); err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no jars in %s: run make peers first", filepath.Dir(jars))
	}
	classes := filepath.Join(cache, "classes", "RSocketBench")
	if err := compileJava(jars, classes); err != nil {
		return nil, err
	}
	args = append([]string{"-Xmx512m", "-cp", jars + string(os.PathListSeparator) + classes, "RSocketBench"}, args...)
	return exec.Command("java", args...), nil
}

func compileJava(jars, classes string) error {
	source, err := javaSource.ReadFile("java/RSocketBench.java")
	if err != nil {
		return err
	}
	file := filepath.Join(classes, "RSocketBench.java")
	if old, err := os.ReadFile(file); err == nil && string(old) == string(source) {
		return nil
	}
	if err := os.MkdirAll(classes, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, source, 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("javac", "-cp", jars, "-d", classes, file).CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("javac: %w\n%s", err, out), os.Remove(file))
	}
	return nil
}

// javaClient drives the loads from a JVM of its own.
type javaClient struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func javaDial(_ context.Context, addr string) (client, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cmd, err := javaCommand("drive", port)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &javaClient{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

func (c *javaClient) do(load string, n, size, inFlight int) error {
	if _, err := fmt.Fprintln(c.in, load, n, size, inFlight); err != nil {
		return err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the Java client ended: %w", err)
	}
	if line = strings.TrimSpace(line); line != "ok" {
		return errors.New(line)
	}
	return nil
}

func (c *javaClient) up(_ context.Context, n int, payload []byte) error {
	return c.do("up", n, len(payload), 0)
}

func (c *javaClient) forget(_ context.Context, n int, payload []byte) error {
	return c.do("forget", n, len(payload), 0)
}
func (c *javaClient) down(_ context.Context, n, size int) error { return c.do("down", n, size, 0) }
func (c *javaClient) respond(_ context.Context, n, inFlight int, payload []byte) error {
	return c.do("respond", n, len(payload), inFlight)
}

// cpu is the CPU time of the JVM, which stands in for this process's own.
func (c *javaClient) cpu() (time.Duration, error) { return cpuOf(c.cmd.Process.Pid) }

func (c *javaClient) Close() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }
