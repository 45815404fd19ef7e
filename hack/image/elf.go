package main

import (
	"debug/elf"
	"errors"
	"fmt"
)

// machines are the processors of Go's architectures, as programs for Linux name them.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64,
	"riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

// check refuses what would not start: a program for another processor, which nothing notices before a node runs the image, and
// one that needs a loader and libraries, of which the image has none.
func (p program) check() error {
	f, err := elf.Open(p.path)
	if err != nil {
		return fmt.Errorf("%s is no program for Linux: %w", p.path, err)
	}
	defer f.Close() //nolint:errcheck // it was read
	if want, known := machines[p.arch]; !known || f.Machine != want {
		return fmt.Errorf("%s is a program for %v, not for %s/%s", p.path, f.Machine, p.os, p.arch)
	}
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			return errors.New(p.path + " is not static: build it with CGO_ENABLED=0")
		}
	}
	return nil
}
