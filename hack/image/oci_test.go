package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	amd, arm := write(t, dir, "amd64/weir", elfOf(elf.EM_X86_64)), write(t, dir, "arm64/weir", elfOf(elf.EM_AARCH64))
	data := write(t, dir, "flights.ndjson", "{}")
	out := filepath.Join(dir, "out", "image.tar")
	args := []string{
		"-name", "weir.test/weir:v1", "-version", "v1", "-revision", "abc", "-with", data, "-o", out,
		"linux/amd64=" + amd, "linux/arm64=" + arm,
	}
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	a := open(t, out)

	top := decode[index](t, a["index.json"]).Manifests
	if len(top) != 1 || top[0].Annotations["io.containerd.image.name"] != "weir.test/weir:v1" || top[0].MediaType != typeIndex {
		t.Fatalf("the index names %+v", top)
	}
	var platforms []platform
	for _, d := range decode[index](t, a.blob(t, top[0])).Manifests {
		platforms = append(platforms, *d.Platform)
		a.checkPlatform(t, d)
	}
	if diff := cmp.Diff([]platform{{"amd64", "linux"}, {"arm64", "linux"}}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}

	first, _ := os.ReadFile(out)
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(out); !bytes.Equal(first, second) {
		t.Error("the same programs made another archive")
	}
}

// checkPlatform follows a manifest to its config and its files.
func (a archiveFiles) checkPlatform(t *testing.T, d descriptor) {
	t.Helper()
	m := decode[manifest](t, a.blob(t, d))
	c := decode[config](t, a.blob(t, m.Config))
	if c.Architecture != d.Platform.Architecture || c.Config.User != "65532:65532" || c.Config.Labels["org.opencontainers.image.version"] != "v1" {
		t.Errorf("config of %s: %+v", d.Platform.Architecture, c)
	}
	if diff := cmp.Diff([]string{"/weir"}, c.Config.Entrypoint); diff != "" {
		t.Errorf("entry point (-want +got):\n%s", diff)
	}
	z, err := gzip.NewReader(bytes.NewReader(a.blob(t, m.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	root, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if digest(root) != c.RootFS.DiffIDs[0] {
		t.Error("the config names another layer")
	}
	want := map[string]string{"weir 555": map[string]string{"amd64": elfOf(elf.EM_X86_64), "arm64": elfOf(elf.EM_AARCH64)}[d.Platform.Architecture], "flights.ndjson 444": "{}"}
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("files of %s (-want +got):\n%s", d.Platform.Architecture, diff)
	}
}

func TestImageOfOnePlatform(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "image.tar")
	if err := run([]string{"-name", "weir.test/pause:1", "-o", out, write(t, dir, "pause", elfOf(machines[runtime.GOARCH]))}); err != nil {
		t.Fatal(err)
	}
	top := decode[index](t, open(t, out)["index.json"]).Manifests
	if len(top) != 1 || top[0].MediaType != typeManifest || top[0].Annotations["org.opencontainers.image.ref.name"] != "1" {
		t.Errorf("the index names %+v", top)
	}
}

func TestImageErrors(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "image.tar")
	for name, args := range map[string][]string{
		"no program":      {"-name", "a:1", "-o", out},
		"missing program": {"-name", "a:1", "-o", out, "linux/amd64=/does/not/exist"},
	} {
		if err := run(args); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := filepath.Glob(filepath.Dir(out) + "/*"); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// archiveFiles is the content of an archive by name.
type archiveFiles map[string][]byte

func open(t *testing.T, path string) archiveFiles {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := archiveFiles{}
	each(t, b, func(h *tar.Header, content []byte) { a[h.Name] = content })
	return a
}

// blob returns what d points to, which must be what d says.
func (a archiveFiles) blob(t *testing.T, d descriptor) []byte {
	t.Helper()
	content, ok := a["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
	if !ok || digest(content) != d.Digest || len(content) != d.Size {
		t.Fatalf("%s %s is not in the archive as it says", d.MediaType, d.Digest)
	}
	return content
}

// modes is what a layer holds, by name and mode.
func modes(t *testing.T, layer []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	each(t, layer, func(h *tar.Header, content []byte) {
		m[fmt.Sprintf("%s %o", h.Name, h.Mode)] = string(content)
	})
	return m
}

func each(t *testing.T, archive []byte, do func(*tar.Header, []byte)) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		do(h, content)
	}
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// elfOf is the least that is a program for a processor; segments are of these types.
func elfOf(m elf.Machine, segments ...elf.ProgType) string {
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(m), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(segments)),
	}
	b, err := binary.Append(nil, binary.LittleEndian, head)
	for _, s := range segments {
		if err == nil {
			b, err = binary.Append(b, binary.LittleEndian, elf.Prog64{Type: uint32(s)})
		}
	}
	if err != nil {
		panic(err) // a header has a fixed size
	}
	return string(b)
}

// TestImageRefuses: what would not start on a node does not become an image.
func TestImageRefuses(t *testing.T) {
	t.Parallel()
	for want, content := range map[string]string{
		"is a program for EM_X86_64, not for linux/arm64": elfOf(elf.EM_X86_64),
		"is not static": elfOf(elf.EM_AARCH64, elf.PT_LOAD, elf.PT_INTERP),
		"is no program": "#!/bin/sh",
	} {
		dir := t.TempDir()
		out := filepath.Join(dir, "image.tar")
		err := run([]string{"-name", "weir.test/weir:v1", "-o", out, "linux/arm64=" + write(t, dir, "weir", content)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: there is an archive", want)
		}
	}
}
