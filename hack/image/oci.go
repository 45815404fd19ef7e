package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Media types of the OCI image specification 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// user runs the program: no account of any machine, the same number that distroless images use for nonroot.
const user = "65532:65532"

// image is what an archive is made from.
type image struct {
	name     string
	labels   map[string]string
	programs []program
	files    []string
}

// program is the entry point on one platform.
type program struct{ os, arch, path string }

// descriptor points to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	Config       execConfig `json:"config"`
	RootFS       rootFS     `json:"rootfs"`
}

type execConfig struct {
	User       string            `json:"User"`
	Entrypoint []string          `json:"Entrypoint"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// write writes the archive and returns the digest by which a registry would know the image. One platform is a manifest,
// several are an index of manifests.
func (i image) write(w io.Writer) (string, error) {
	a := &archive{tar: tar.NewWriter(w), have: map[string]bool{}}
	manifests := make([]descriptor, 0, len(i.programs))
	for _, p := range i.programs {
		m, err := i.platform(a, p)
		if err != nil {
			return "", fmt.Errorf("%s/%s: %w", p.os, p.arch, err)
		}
		manifests = append(manifests, m)
	}
	top := manifests[0]
	if len(manifests) > 1 {
		top = a.encoded(typeIndex, index{SchemaVersion: 2, MediaType: typeIndex, Manifests: manifests})
	}
	top.Annotations = map[string]string{
		"io.containerd.image.name":          i.name,
		"org.opencontainers.image.ref.name": i.name[strings.LastIndex(i.name, ":")+1:],
	}
	a.json("index.json", index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})
	a.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"})
	return top.Digest, a.close()
}

// platform adds the layer, the config and the manifest of one program.
func (i image) platform(a *archive, p program) (descriptor, error) {
	if err := p.check(); err != nil {
		return descriptor{}, err
	}
	root, err := layer(append([]string{p.path}, i.files...))
	if err != nil {
		return descriptor{}, err
	}
	c := a.encoded(typeConfig, config{
		Architecture: p.arch, OS: p.os,
		Config: execConfig{
			User: user, Entrypoint: []string{"/" + filepath.Base(p.path)}, WorkingDir: "/", Labels: i.labels,
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{digest(root)}},
	})
	packed, err := pack(root)
	if err != nil {
		return descriptor{}, err
	}
	m := a.encoded(typeManifest, manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: c,
		Layers: []descriptor{a.blob(typeLayer, packed)}, Annotations: i.labels,
	})
	m.Platform = &platform{Architecture: p.arch, OS: p.os}
	return m, nil
}

// layer is a root directory of files by their base names. The first is a program; the others can be read.
func layer(paths []string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for n, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		mode := int64(0o444)
		if n == 0 {
			mode = 0o555
		}
		if err := put(w, filepath.Base(path), mode, content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func pack(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}

// put adds a file without owner and time, so that the same content makes the same bytes.
func put(w *tar.Writer, name string, mode int64, content []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func digest(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// archive is an OCI image layout in a tar file. It keeps its first error.
type archive struct {
	tar  *tar.Writer
	have map[string]bool
	err  error
}

func (a *archive) blob(mediaType string, content []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(content), Size: len(content)}
	if !a.have[d.Digest] {
		a.have[d.Digest] = true
		a.put("blobs/"+strings.Replace(d.Digest, ":", "/", 1), content)
	}
	return d
}

func (a *archive) encoded(mediaType string, v any) descriptor {
	return a.blob(mediaType, a.encode(v))
}

func (a *archive) json(name string, v any) { a.put(name, a.encode(v)) }

func (a *archive) encode(v any) []byte {
	b, err := json.Marshal(v)
	a.keep(err)
	return b
}

func (a *archive) put(name string, content []byte) { a.keep(put(a.tar, name, 0o644, content)) }

func (a *archive) keep(err error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *archive) close() error {
	a.keep(a.tar.Close())
	return a.err
}
