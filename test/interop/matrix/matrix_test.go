package matrix

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/harness"
)

// document keeps the printed matrix between two marks.
const (
	document = "docs/interop.md"
	begin    = "<!-- matrix: begin -->\n"
	end      = "<!-- matrix: end -->"
)

// peer is a column of the matrix: an implementation in both directions.
type peer struct {
	name  string
	start func(t *testing.T) implementation
}

// TestMatrix runs every cell. With WEIR_INTEROP_LONG the numbers are those of the long form; WEIR_INTEROP_PEERS, a list with
// commas, chooses peers, and then the document is not compared. WEIR_INTEROP_WRITE writes it.
func TestMatrix(t *testing.T) {
	p := requirePeers(t)
	peers, chosen := p.all(), os.Getenv("WEIR_INTEROP_PEERS")
	if chosen != "" {
		peers = slices.DeleteFunc(peers, func(p peer) bool { return !slices.Contains(strings.Split(chosen, ","), p.name) })
	}
	l := lab{long: os.Getenv("WEIR_INTEROP_LONG") != ""}
	l.cert, l.key = certificate(t)
	results := make(map[string]string)
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) { column(t, peer, l, results) })
	}
	matrix := table(peers, results)
	t.Logf("\n%s", matrix)
	if chosen == "" {
		compare(t, filepath.Join(p.root, document), matrix)
	}
}

// column runs the cells of a peer in both directions.
func column(t *testing.T, peer peer, l lab, results map[string]string) {
	t.Helper()
	foreign, own := peer.start(t), newWeir(t)
	for _, direction := range []string{foreignClient, foreignServer} {
		l.req, l.resp = foreign, implementation(own)
		if direction == foreignServer {
			l.req, l.resp = own, foreign
		}
		for _, f := range features {
			t.Run(direction+"/"+f.name, func(t *testing.T) {
				results[peer.name+direction+f.name] = cell(t, l, f.run, lackOf(peer.name, f.name, direction))
			})
		}
	}
}

// cell runs one cell and returns its mark. Between weir and itself the first outcome counts. Foreign peers have races of
// their own, so there an outcome that was not listed is looked at once more, with new processes.
func cell(t *testing.T, l lab, run func(context.Context, *lab) error, lack *lack) string {
	t.Helper()
	m, fault := try(t, l, run, lack)
	if fault != nil && l.foreign() {
		t.Logf("once more, after: %v", fault)
		m, fault = try(t, l, run, lack)
	}
	if fault != nil {
		t.Error(fault)
	}
	return m
}

// foreign says whether a peer takes part.
func (l *lab) foreign() bool {
	for _, i := range []implementation{l.req, l.resp} {
		if _, ok := i.(*process); ok {
			return true
		}
	}
	return false
}

// try runs a cell once and returns its mark, and what is wrong if that is not what was listed.
func try(t *testing.T, l lab, run func(context.Context, *lab) error, lack *lack) (mark string, fault error) {
	t.Helper()
	patience := 40 * time.Second
	if l.long {
		patience = 2 * time.Minute
	}
	if lack != nil {
		patience = 5 * time.Second // some lacks show as silence
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := run(ctx, &l)
	if err != nil {
		for _, i := range []implementation{l.req, l.resp} {
			if p, ok := i.(*process); ok {
				p.end() // its state is not known; the next cell starts it again
			}
		}
	}
	number := 0
	if lack != nil {
		number = slices.Index(reasons(), lack.reason) + 1
	}
	switch {
	case lack == nil && err == nil:
		return "✓", nil
	case lack == nil:
		return "✗", err
	case lack.sometimes:
		t.Logf("%s: %v", lack.reason, err)
		return fmt.Sprintf("~ %d", number), nil
	case err == nil:
		return "✓!", fmt.Errorf("passes, but was expected not to: %s", lack.reason)
	case !strings.Contains(err.Error(), lack.shows):
		return "✗", fmt.Errorf("fails with %w, want %q: %s", err, lack.shows, lack.reason)
	}
	t.Logf("as expected: %s: %v", lack.reason, err)
	return fmt.Sprintf("– %d", number), nil
}

// reasons returns the different reasons of the lacks, in order.
func reasons() []string {
	var all []string
	for _, l := range lacks {
		if r := l.reason; !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// table renders the matrix in Markdown.
func table(peers []peer, results map[string]string) string {
	var b strings.Builder
	b.WriteString("| Feature |")
	for _, p := range peers {
		for _, d := range []string{foreignClient, foreignServer} {
			fmt.Fprintf(&b, " %s %s |", p.name, d)
		}
	}
	b.WriteString("\n|---" + strings.Repeat("|:-:", 2*len(peers)) + "|\n")
	for _, f := range features {
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, p := range peers {
			for _, d := range []string{foreignClient, foreignServer} {
				fmt.Fprintf(&b, " %s |", results[p.name+d+f.name])
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, r := range reasons() {
		fmt.Fprintf(&b, "%d. %s\n", i+1, r)
	}
	return b.String()
}

// compare fails unless the document holds the matrix of this run.
func compare(t *testing.T, path, matrix string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	kept, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the matrix", path)
	}
	if kept == matrix {
		return
	}
	if os.Getenv("WEIR_INTEROP_WRITE") == "" {
		t.Errorf("%s keeps another matrix than that of this run: write it with WEIR_INTEROP_WRITE=1", path)
		return
	}
	if err := os.WriteFile(path, []byte(head+begin+matrix+end+foot), 0o600); err != nil {
		t.Fatal(err)
	}
}

// installed is where test/setup.sh has put the peers.
type installed struct{ root, cache string }

func requirePeers(t *testing.T) installed {
	t.Helper()
	harness.RequirePeers(t)
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	p := installed{root: root, cache: os.Getenv("WEIR_CACHE_DIR")}
	if p.cache == "" {
		p.cache = filepath.Join(root, ".cache")
	}
	for _, part := range []string{"matrix/node", "matrix/python"} {
		if _, err := os.Stat(filepath.Join(p.cache, part, ".stamp")); err == nil {
			continue
		}
		if os.Getenv("WEIR_REQUIRE_PEERS") != "" {
			t.Fatalf("%s is not installed: run test/setup.sh", part)
		}
		t.Skipf("%s is not installed: run test/setup.sh", part)
	}
	return p
}

func (p installed) source(elem ...string) string {
	return filepath.Join(append([]string{p.root, "test", "interop", "matrix"}, elem...)...)
}

// all returns the columns. The first one tests the test.
func (p installed) all() []peer {
	return []peer{
		{"weir", func(t *testing.T) implementation { t.Helper(); return newWeir(t) }},
		{"rsocket-java", program(func(ctx context.Context) (*exec.Cmd, error) {
			jars := filepath.Join(p.cache, "jars", "rsocket", "*")
			return exec.CommandContext(ctx, "java", "-Xmx1g", "-XX:+UseSerialGC", "-cp", jars, p.source("java", "Peer.java")), nil
		})},
		{"rsocket-js", program(func(ctx context.Context) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, "node", p.source("js", "peer.js"))
			cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(p.cache, "matrix", "node", "node_modules"))
			return cmd, nil
		})},
		{"rsocket-py", program(func(ctx context.Context) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, filepath.Join(p.cache, "venv", "bin", "python"), p.source("py", "peer.py"))
			cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(p.cache, "matrix", "python"))
			return cmd, nil
		})},
		{"rsocket-go", func(t *testing.T) implementation {
			t.Helper()
			bin := filepath.Join(t.TempDir(), "peer")
			build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
			build.Dir = p.source("go")
			if _, err := harness.Output(build); err != nil {
				t.Fatal(err)
			}
			return program(func(ctx context.Context) (*exec.Cmd, error) { return exec.CommandContext(ctx, bin), nil })(t)
		}},
	}
}

// program makes a peer of a program that ends with the test.
func program(start func(context.Context) (*exec.Cmd, error)) func(*testing.T) implementation {
	return func(t *testing.T) implementation {
		t.Helper()
		p := &process{start: start}
		t.Cleanup(p.end)
		return p
	}
}

// certificate writes a certificate for localhost, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
