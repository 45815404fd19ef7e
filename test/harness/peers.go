// Package harness starts what the tests need around weir: `weir run` as a process of its own, and the foreign clients and
// readers that test/setup.sh has installed.
package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Peers are the foreign programs: RSocket clients in three languages, and readers of Delta tables.
type Peers struct {
	root  string // of the repository
	cache string // what test/setup.sh made

	compile sync.Mutex // guards the directory of compiled classes
}

// RequirePeers returns the installed peers. Without them the test is skipped, or fails if WEIR_REQUIRE_PEERS is set, as
// `make test` does.
func RequirePeers(t testing.TB) *Peers {
	t.Helper()
	p, err := FindPeers()
	if err == nil {
		return p
	}
	if os.Getenv("WEIR_REQUIRE_PEERS") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return nil
}

// FindPeers returns the installed peers, or an error that says how to install them.
func FindPeers() (*Peers, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	p := &Peers{root: root, cache: os.Getenv("WEIR_CACHE_DIR")}
	if p.cache == "" {
		p.cache = filepath.Join(root, ".cache")
	}
	for _, part := range []string{"venv", "jars/rsocket", "jars/formats", "formats/python", "jars/spark", "node", "rsocket-go", "data/node", "data/python"} {
		if _, err := os.Stat(filepath.Join(p.cache, part, ".stamp")); err != nil {
			return nil, fmt.Errorf("the peers are not installed: run test/setup.sh (%w)", err)
		}
	}
	return p, nil
}

// Root returns the directory of the repository, above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "test", "setup.sh")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the repository: the working directory is not inside it")
		}
	}
}

// Path returns the path of a file of the repository.
func (p *Peers) Path(elem ...string) string {
	return filepath.Join(append([]string{p.root}, elem...)...)
}

// Python runs a script of test/interop/python.
func (p *Peers) Python(ctx context.Context, script string, args ...string) *exec.Cmd {
	args = append([]string{p.Path("test", "interop", "python", script)}, args...)
	return exec.CommandContext(ctx, filepath.Join(p.cache, "venv", "bin", "python"), args...)
}

// RealData runs test/realdata/records.py, which knows the data sets that test/setup.sh unpacked.
func (p *Peers) RealData(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{p.Path("test", "realdata", "records.py")}, args...)
	return exec.CommandContext(ctx, filepath.Join(p.cache, "venv", "bin", "python"), args...)
}

// Formats runs a script of test/interop/python that makes payloads with Protobuf and Avro.
func (p *Peers) Formats(ctx context.Context, script string, args ...string) *exec.Cmd {
	cmd := p.Python(ctx, script, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(p.cache, "formats", "python"))
	return cmd
}

// Cache returns the directory with what test/setup.sh installed.
func (p *Peers) Cache() string { return p.cache }

// Node runs a script of test/interop/node.
func (p *Peers) Node(ctx context.Context, script string, args ...string) *exec.Cmd {
	args = append([]string{p.Path("test", "interop", "node", script)}, args...)
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(p.cache, "node", "node_modules"))
	return cmd
}

// RSocketGo runs the reproduction of rsocket-go's defects, test/interop/rsocketgo.
func (p *Peers) RSocketGo(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(p.cache, "rsocket-go", "rsocketgo"))
}

// Java programs of test/interop/java: the sources and the jars that each needs, and flags of the virtual machine.
var javaPrograms = map[string]struct {
	sources []string
	jars    string
	flags   []string
}{
	"Producer": {
		sources: []string{"Producer.java", "Arguments.java", "Metadata.java", "Record.java", "TappedConnection.java"},
		jars:    "rsocket",
		flags:   []string{"-Xmx512m"},
	},
	"FormatProducer": {
		sources: []string{"FormatProducer.java", "Arguments.java", "Metadata.java"},
		jars:    "formats",
		flags:   []string{"-Xmx512m"},
	},
	"TableRows": {sources: []string{"TableRows.java"}, jars: "spark", flags: sparkFlags},
	// What it does is small and many: code compiled twice would cost more than it brings.
	"SparkPeer": {sources: []string{"SparkPeer.java"}, jars: "spark", flags: append([]string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:ReservedCodeCacheSize=240m", // 48 MiB would be the default, and fill up
	}, sparkFlags...)},
}

var sparkFlags = []string{
	"-Xmx2g", "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.net=ALL-UNNAMED",
	"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
}

// Java runs a program of test/interop/java, which it compiles when its source has changed.
func (p *Peers) Java(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	classes, err := p.classes(ctx, program)
	if err != nil {
		return nil, err
	}
	spec := javaPrograms[program]
	// Standard output is for answers; the virtual machine would put its warnings there.
	all := append([]string{"-Xlog:disable", "-Xlog:all=warning:stderr", "-XX:+DisplayVMOutputToStderr"}, spec.flags...)
	all = append(all, "-cp", classes+":"+p.jars(spec.jars), program)
	return exec.CommandContext(ctx, "java", append(all, args...)...), nil
}

func (p *Peers) jars(name string) string { return filepath.Join(p.cache, "jars", name, "*") }

// classes returns the directory with the compiled program.
func (p *Peers) classes(ctx context.Context, program string) (string, error) {
	p.compile.Lock()
	defer p.compile.Unlock()
	spec := javaPrograms[program]
	hash := sha256.New()
	var sources []string
	for _, name := range spec.sources {
		path := p.Path("test", "interop", "java", name)
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("compile %s: %w", program, err)
		}
		hash.Write(text)
		sources = append(sources, path)
	}
	dir := filepath.Join(p.cache, "classes", program+"-"+hex.EncodeToString(hash.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("compile %s: %w", program, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "tmp-")
	if err != nil {
		return "", fmt.Errorf("compile %s: %w", program, err)
	}
	defer os.RemoveAll(tmp)
	out, err := exec.CommandContext(ctx, "javac", append([]string{"-d", tmp, "-cp", p.jars(spec.jars)}, sources...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile %s: %w\n%s", program, err, out)
	}
	if err := os.Rename(tmp, dir); err != nil && !isDir(dir) { // another process may have been faster
		return "", fmt.Errorf("compile %s: %w", program, err)
	}
	return dir, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
