// Package peers starts object stores for tests, each a process of its own on a free port.
package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/weir-dev/weir/test/harness"
)

// The keys of every S3 server here, and the bucket that each has.
const (
	AccessKey = "weirtest"
	SecretKey = "weirtestsecret"
	Bucket    = "tables"
	Region    = "us-east-1"
)

// Server is a running object store.
type Server struct {
	Name string
	URL  string // http://host:port
	cmd  *exec.Cmd
	done chan struct{}
	log  *tail
}

// Env is what points programs at an S3 server.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=" + Region, "AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

// Setenv points this process at an S3 server, for the time of a test.
func (s *Server) Setenv(t *testing.T) {
	t.Helper()
	for _, v := range s.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

// Stop ends the server as SIGTERM does.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Kill ends the server at once, in the middle of what it does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// tail keeps the end of a program's output.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 64<<10 {
		t.b = t.b[len(t.b)-32<<10:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// start runs cmd, which ends with the test.
func start(t *testing.T, name string, cmd *exec.Cmd) *Server {
	t.Helper()
	s := &Server{Name: name, cmd: cmd, done: make(chan struct{}), log: &tail{}}
	cmd.Stderr = s.log
	if cmd.Stdout == nil {
		cmd.Stdout = s.log
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(s.done)
	}()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, s.log)
		}
	})
	return s
}

// await waits until the server answers anything at all.
func (s *Server) await(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := harness.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		select {
		case <-s.done:
			return false, errors.New("it ended")
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, http.NoBody)
		if err != nil {
			return false, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return true, res.Body.Close()
	})
	if err != nil {
		t.Fatalf("wait for %s: %v\n%s", s.Name, err, s.log)
	}
}

// freePort is a port that nothing listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

var buildS3 = sync.OnceValues(func() (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "weir-s3server-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "s3server")
	cmd := exec.CommandContext(context.Background(), "go", "-C", filepath.Join(root, "test", "peers", "s3server"), "build", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build s3server: %w\n%s", err, out)
	}
	return bin, nil
})

// S3Server builds the program of test/peers/s3server, once per process; the caller may start it as it likes.
func S3Server(t *testing.T) string {
	t.Helper()
	bin, err := buildS3()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// RemoveBuilt removes what was built; for the end of TestMain.
func RemoveBuilt() {
	if bin, err := buildS3(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin)) // a leftover in the temporary directory
	}
}

// S3 starts an S3 server in memory: gofakes3, with signatures checked.
func S3(t *testing.T, flags ...string) *Server {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), S3Server(t), append([]string{
		"--listen", "127.0.0.1:0", "--bucket", Bucket, "--access-key", AccessKey, "--secret-key", SecretKey,
	}, flags...)...)
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = w
	s := start(t, "gofakes3", cmd)
	w.Close()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("start s3server: %v\n%s", err, s.log)
	}
	s.URL = "http://" + strings.TrimSpace(addr)
	return s
}

// installed is the path of a server that test/setup.sh installs.
func installed(t *testing.T, elem ...string) string {
	t.Helper()
	p := harness.RequirePeers(t)
	path := filepath.Join(append([]string{p.Cache()}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("WEIR_REQUIRE_PEERS") != "" {
			t.Fatalf("run test/setup.sh: %v", err)
		}
		t.Skipf("run test/setup.sh: %v", err)
	}
	return path
}

// VersityGW starts a second S3 server: versitygw over a directory.
func VersityGW(t *testing.T) *Server {
	t.Helper()
	bin, dir := installed(t, "stores", "versitygw"), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	meta := t.TempDir()
	port := freePort(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, "--port", "127.0.0.1:"+port, "--access", AccessKey, "--secret", SecretKey,
		"--region", Region, "--quiet", "posix", "--sidecar", meta, dir)
	s := start(t, "versitygw", cmd)
	s.URL = "http://127.0.0.1:" + port
	s.await(t, "/")
	return s
}

// The account that azurite knows, and its key, which its documentation tells everyone.
const (
	AzureAccount = "devstoreaccount1"
	AzureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Azurite starts an Azure Blob server in memory, and points this process at it for the time of the test.
func Azurite(t *testing.T) *Server {
	t.Helper()
	main := installed(t, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	port := freePort(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "node", main, "--blobHost", "127.0.0.1", "--blobPort", port,
		"--silent", "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry")
	cmd.Dir = t.TempDir()
	s := start(t, "azurite", cmd)
	s.URL = "http://127.0.0.1:" + port + "/" + AzureAccount
	s.await(t, "")
	t.Setenv("AZURE_STORAGE_ACCOUNT_NAME", AzureAccount)
	t.Setenv("AZURE_STORAGE_ACCOUNT_KEY", AzureKey)
	t.Setenv("AZURE_STORAGE_BLOB_ENDPOINT", s.URL)
	cred, err := container.NewSharedKeyCredential(AzureAccount, AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(s.URL+"/"+Bucket, cred, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatalf("make container: %v\n%s", err, s.log)
	}
	return s
}

// FakeGCS starts a Google Cloud Storage server in memory, and points this process at it for the time of the test.
func FakeGCS(t *testing.T) *Server {
	t.Helper()
	bin, port := installed(t, "stores", "fake-gcs-server"), freePort(t)
	s := start(t, "fake-gcs-server", exec.CommandContext(context.WithoutCancel(t.Context()), bin, "-scheme", "http", "-host", "127.0.0.1",
		"-port", port, "-backend", "memory", "-external-url", "http://127.0.0.1:"+port, "-public-host", "127.0.0.1:"+port, "-log-level", "error"))
	s.URL = "http://127.0.0.1:" + port
	s.await(t, "/storage/v1/b")
	t.Setenv("STORAGE_EMULATOR_HOST", s.URL)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/storage/v1/b", strings.NewReader(`{"name":"`+Bucket+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("make bucket: %s\n%s", res.Status, s.log)
	}
	return s
}
