// Command image writes an OCI image archive that holds one static program for each platform and nothing else, so that
// neither a container engine nor a registry is needed to make an image.
//
//	image -name weir.test/weir:dev -o weir.tar bin/weir
//	image -name ghcr.io/weir-dev/weir:v0.1.0 -version v0.1.0 -o weir.tar linux/amd64=bin/amd64/weir linux/arm64=bin/arm64/weir
//
// The same programs make the same archive, byte for byte. The digest of the image is printed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	name := flags.String("name", "", "full name and tag of the image, such as weir.test/weir:dev")
	out := flags.String("o", "", "the archive to write")
	version := flags.String("version", "", "version in the image's labels")
	revision := flags.String("revision", "", "commit in the image's labels")
	files := flags.String("with", "", "further files of every platform, comma-separated, put into /")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *out == "" || flags.NArg() == 0 {
		return errors.New("-name, -o and a program are required: see the comment in hack/image/main.go")
	}
	image := image{name: *name, labels: labels(*name, *version, *revision)}
	if *files != "" {
		image.files = strings.Split(*files, ",")
	}
	for _, arg := range flags.Args() {
		image.programs = append(image.programs, parseProgram(arg))
	}
	digest, err := writeFile(*out, image)
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

// parseProgram reads os/arch=path; a path alone is a program for this machine's architecture.
func parseProgram(arg string) program {
	platform, path, ok := strings.Cut(arg, "=")
	if !ok {
		platform, path = "linux/"+runtime.GOARCH, arg
	}
	system, arch, _ := strings.Cut(platform, "/")
	return program{os: system, arch: arch, path: path}
}

func labels(name, version, revision string) map[string]string {
	repository := name[:max(strings.LastIndex(name, ":"), 0)]
	l := map[string]string{"org.opencontainers.image.title": filepath.Base(repository)}
	if version != "" {
		l["org.opencontainers.image.version"] = version
		l["org.opencontainers.image.source"] = "https://github.com/weir-dev/weir"
		l["org.opencontainers.image.licenses"] = "Apache-2.0"
	}
	if revision != "" {
		l["org.opencontainers.image.revision"] = revision
	}
	return l
}

// writeFile makes the archive appear whole or not at all.
func writeFile(path string, image image) (digest string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone already when all went well
	digest, err = image.write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return digest, err
}
