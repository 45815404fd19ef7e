package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/registry"
)

// payloadFormats are the types of payloads that are not JSON.
type payloadFormats struct {
	protobuf *decode.Protobuf
	avro     *decode.Avro
}

// formats reads what spec.schema.format of p names, and finds what is wrong with it.
func formats(p *v1alpha1.Pipeline) (payloadFormats, []strict.Fault) {
	var f payloadFormats
	var faults []strict.Fault
	if spec := p.Spec.Schema.Format.Protobuf; spec != nil {
		const at = "spec.schema.format.protobuf"
		set, field, err := descriptorSet(spec)
		err = explain(p, "protobuf.file", spec.File, err)
		if err == nil {
			if f.protobuf, err = decode.NewProtobuf(set, spec.Message); err != nil && strings.Contains(err.Error(), spec.Message) {
				field = "message"
			}
		}
		if err != nil {
			faults = append(faults, strict.Fault{Path: at + "." + field, Message: err.Error()})
		}
	}
	if spec := p.Spec.Schema.Format.Avro; spec != nil {
		faults = append(faults, f.readAvro(p, spec)...)
	}
	return f, faults
}

// readAvro reads the schema of Avro records and names their registry.
func (f *payloadFormats) readAvro(p *v1alpha1.Pipeline, spec *v1alpha1.AvroFormat) []strict.Fault {
	const at = "spec.schema.format.avro"
	f.avro = &decode.Avro{}
	if r := spec.Registry; r != nil {
		schemas := registry.New(registry.Settings{URL: r.URL, Directory: r.Directory, Timeout: r.Timeout.Duration})
		f.avro.Lookup, f.avro.Fetch = schemas.Lookup, schemas.Fetch
	}
	text := []byte(spec.Inline)
	if spec.File != "" {
		var err error
		if text, err = readBounded(spec.File, decode.MaxAvroSchemaBytes); err != nil {
			return []strict.Fault{{Path: at + ".file", Message: explain(p, "avro.file", spec.File, err).Error()}}
		}
	}
	if len(text) == 0 {
		return nil
	}
	var err error
	if f.avro.Schema, err = decode.NewAvroSchema(text); err == nil {
		return nil
	}
	line, column := 0, 0
	if bad, ok := errors.AsType[*decode.AvroError](err); ok && bad.Offset >= 0 {
		before := text[:min(bad.Offset, len(text))]
		line, column = 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')
	}
	switch {
	case spec.File == "":
		return []strict.Fault{{Path: at + ".inline", Line: line, Column: column, Message: err.Error()}}
	case line > 0:
		err = fmt.Errorf("%s:%d:%d: %w", spec.File, line, column, err)
	default:
		err = fmt.Errorf("%s: %w", spec.File, err)
	}
	return []strict.Fault{{Path: at + ".file", Message: err.Error()}}
}

// descriptorSet returns the descriptor set that spec names, and the field that names it.
func descriptorSet(spec *v1alpha1.ProtobufFormat) (set []byte, field string, err error) {
	if spec.Inline != "" {
		set, err = base64.StdEncoding.DecodeString(spec.Inline)
		if err != nil {
			return nil, "inline", errors.New("is not base64 in the standard alphabet with padding: encode the descriptor set with base64 -w0")
		}
		return set, "inline", nil
	}
	if strings.HasSuffix(spec.File, ".proto") {
		set, err = compileProto(spec.File)
	} else {
		set, err = readBounded(spec.File, decode.MaxDescriptorBytes)
	}
	return set, "file", err
}

// readBounded reads a file of at most limit bytes.
func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return b, nil
}

// compileProto makes the descriptor set of a .proto file. Its errors begin with file:line:column.
func compileProto(file string) ([]byte, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	var first error
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(file)}}),
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			if at := err.GetPosition(); first == nil {
				first = fmt.Errorf("%s:%d:%d: %w", filepath.Join(filepath.Dir(file), at.Filename), at.Line, at.Col, err.Unwrap())
			}
			return nil
		}, nil),
	}
	files, err := c.Compile(context.Background(), filepath.Base(file))
	switch {
	case first != nil:
		return nil, first
	case err != nil:
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return proto.Marshal(&set)
}
