package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// The bounds of a sample.
const (
	sampleRecords = 10_000
	sampleBytes   = 16 << 20
	sampleBatch   = 1000    // records that are decoded before their values are looked at
	sampleArrow   = 1 << 30 // bytes of Arrow, whose record batches are read whole
	maxDistinct   = 1000    // values of a column that are told apart
)

// What decode makes beside the columns of fields.
const (
	rescued   = "_rescued"    // the column of what fits no other
	sourceKey = "weir.source" // in the metadata of a column whose field has another name
)

// sample is what the first records of a file would become: they go through the decoder of the pipelines.
type sample struct {
	from    sampleOptions
	format  string
	records int  // looked at
	rows    int  // that would be taken
	more    bool // there are further records

	refused, firstRefused int
	reason                string // of the first one refused

	schema *decode.Schema
	byPath map[string]*sampled
	lost   map[string]*misfit
}

// sampled is a leaf column: a scalar or a list.
type sampled struct {
	path     string // of the column, dotted
	typ      string
	source   string // what the field is called in records, if the column cannot have that name
	top      bool   // not inside a struct
	kind     schema.Kind
	values   int // that are not null
	example  any // the first of them
	distinct map[string]struct{}
}

// misfit is a path whose values did not always fit its column.
type misfit struct {
	path  string
	count int
	first string
}

// errSampleFull ends the reading of a sample.
var errSampleFull = errors.New("the sample is full")

// sampleOptions are the flags of the commands that look at a file.
type sampleOptions struct {
	file   string // - is the standard input
	format string
	proto  v1alpha1.ProtobufFormat // the type of messages
}

func (o *sampleOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.file, "from", "", "file to look at; - is the standard input")
	f.StringVar(&o.format, "format", inputAuto, "ndjson, csv, json, avro, arrow, protobuf (length-delimited), or auto: by the first bytes")
	f.StringVar(&o.proto.File, "proto", "", "of protobuf: the .proto file, or a descriptor set")
	f.StringVar(&o.proto.Message, "message", "", "of protobuf: the full name of the message, such as shop.v1.Order")
	completeFlag(cmd, "format", sendFormats...)
	for flag, endings := range map[string][]string{"from": inputFiles, "proto": {"proto", "binpb", "pb", "desc"}} {
		if err := cmd.MarkFlagFilename(flag, endings...); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// check says what is missing, and what is too much.
func (o *sampleOptions) check(command string) error {
	protobuf := o.proto.File != "" || o.proto.Message != ""
	if protobuf && o.format == inputAuto {
		o.format = inputProtobuf
	}
	switch {
	case o.file == "":
		return fmt.Errorf("%s needs --from FILE: see %s --help", command, command)
	case !slices.Contains(sendFormats, o.format):
		return fmt.Errorf("--format %s is not known: use %s", o.format, strings.Join(sendFormats, ", "))
	case o.format == inputProtobuf && (o.proto.File == "" || o.proto.Message == ""):
		return errors.New("a file of Protobuf messages does not say what they are: give --proto FILE, a .proto file or a descriptor set, and --message NAME")
	case o.format != inputProtobuf && protobuf:
		return fmt.Errorf("--proto and --message are of --format %s, not of %s", inputProtobuf, o.format)
	}
	return nil
}

// decoding are the options of the decoder.
func (o *sampleOptions) decoding() (decode.Options, error) {
	if o.format != inputProtobuf {
		return decode.Options{}, nil
	}
	set, _, err := descriptorSet(&o.proto)
	if err != nil {
		return decode.Options{}, fmt.Errorf("--proto: %w", err)
	}
	p, err := decode.NewProtobuf(set, o.proto.Message)
	if err != nil {
		return decode.Options{}, fmt.Errorf("--proto %s: %w", o.proto.File, err)
	}
	return decode.Options{Protobuf: p}, nil
}

// takeSample decodes the first records of a file.
func takeSample(ctx context.Context, stdin io.Reader, o sampleOptions) (*sample, error) {
	options, err := o.decoding()
	if err != nil {
		return nil, err
	}
	s := &sample{
		from: o, schema: decode.NewSchema(nil, options), byPath: map[string]*sampled{}, lost: map[string]*misfit{},
	}
	if err := s.read(ctx, stdin); err != nil {
		return nil, fmt.Errorf("look at %s: %w", sourceName(o.file), err)
	}
	switch {
	case s.records == 0:
		return nil, fmt.Errorf("look at %s: %w", sourceName(o.file), errNoRecord)
	case s.rows == 0:
		hint := ""
		if !typed(s.format) {
			hint = " (NDJSON has one object a line)"
		}
		return nil, fmt.Errorf("look at %s: none of %d %s would be taken%s; record %d: %s",
			sourceName(o.file), s.records, plural(s.records, "record"), hint, s.firstRefused, s.reason)
	}
	return s, nil
}

func (s *sample) read(ctx context.Context, stdin io.Reader) error {
	file := stdin
	if s.from.file != "-" {
		f, err := os.Open(s.from.file)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it is only read
		file = f
	}
	in, err := openInput(file, s.from.format)
	if err != nil {
		return err
	}
	s.format = in.format
	dec := decode.NewDecoder(s.schema)
	if typed(in.format) {
		err = s.typed(ctx, in, dec)
	} else {
		in.r = bufio.NewReaderSize(&bounded{in.r, sampleBytes}, 64<<10)
		err = in.each(false, func(record []byte) error {
			if s.records == sampleRecords {
				return errSampleFull
			}
			s.add(dec, event.JSON, record, 1)
			return ctx.Err()
		})
	}
	if errors.Is(err, errSampleFull) {
		s.more, err = true, nil
	}
	s.look(dec)
	return err
}

// typed reads records that are no JSON, some at once.
func (s *sample) typed(ctx context.Context, in *input, dec *decode.Decoder) error {
	left := int64(sampleBytes)
	if in.format == inputArrow {
		left = sampleArrow
	}
	c := cutter{sampleBatch, pieceBytes, func(payload []byte, records int) error {
		if s.records >= sampleRecords {
			return errSampleFull
		}
		s.add(dec, mimeOf(in.format, sampleBatch), payload, records)
		return ctx.Err()
	}}
	return c.each(bufio.NewReader(&bounded{in.r, left}), in.format)
}

// bounded reads at most left bytes and then fails with errSampleFull, unless the source has ended.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		if n, err := io.ReadFull(b.r, make([]byte, 1)); n == 0 {
			return 0, err
		}
		return 0, errSampleFull
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (s *sample) add(dec *decode.Decoder, mime event.MIME, payload []byte, records int) {
	taken, rejects := dec.Append(mime, payload, decode.System{}, nil)
	s.rows += taken
	if len(rejects) > 0 && s.refused == 0 {
		s.firstRefused, s.reason = s.records+rejects[0].Row+1, rejects[0].Reason
	}
	s.records += records
	s.refused += records - taken
	if dec.Rows() >= sampleBatch {
		s.look(dec)
	}
}

// look takes the rows out of dec and notes their values.
func (s *sample) look(dec *decode.Decoder) {
	b := dec.Take()
	for row := range b.Rows {
		for c, m := range printableRow(b, row) {
			if m.name == rescued {
				s.misfit(m.value)
			}
			s.value(m.name, b.Schema.Fields[c].Type, m.value)
		}
	}
	dec.Recycle(b) // the values noted are copies
}

// value notes v, the value of the column at path.
func (s *sample) value(path string, t *schema.Type, v any) {
	if v == nil {
		return
	}
	if o, ok := v.(object); ok && t.Kind == schema.Struct {
		for i, m := range o {
			s.value(path+"."+m.name, t.Fields[i].Type, m.value)
		}
		return
	}
	c := s.byPath[path]
	if c == nil {
		c = &sampled{example: v, distinct: map[string]struct{}{}}
		s.byPath[path] = c
	}
	c.values++
	if len(c.distinct) < maxDistinct {
		c.distinct[fmt.Sprint(v)] = struct{}{}
	}
}

// misfit notes what a record has in _rescued: a JSON object from path to value.
func (s *sample) misfit(v any) {
	text, ok := v.(string)
	if !ok {
		return
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &values) != nil {
		return
	}
	for path, value := range values {
		m := s.lost[path]
		if m == nil {
			m = &misfit{path: path, first: string(bytes.TrimSpace(value))}
			s.lost[path] = m
		}
		m.count++
	}
}

// misfits returns the misfits, the most frequent first.
func (s *sample) misfits() []*misfit {
	return slices.SortedFunc(maps.Values(s.lost), func(a, b *misfit) int {
		return cmp.Or(b.count-a.count, strings.Compare(a.path, b.path))
	})
}

// columns returns the leaf columns in the order of the schema.
func (s *sample) columns() []*sampled {
	var all []*sampled
	var walk func(prefix string, t *schema.Type)
	walk = func(prefix string, t *schema.Type) {
		for i := range t.Fields {
			f := &t.Fields[i]
			path := prefix + f.Name
			if f.Type.Kind == schema.Struct {
				walk(path+".", f.Type)
				continue
			}
			c := s.byPath[path]
			if c == nil {
				c = &sampled{}
			}
			c.path, c.typ, c.kind, c.top = path, f.Type.String(), f.Type.Kind, prefix == ""
			c.source, _ = f.Metadata[sourceKey].(string)
			all = append(all, c)
		}
	}
	walk("", s.schema.Current())
	return all
}

// partitions returns columns by which the table could be partitioned, those of the fewest values first: they have no null,
// and each value has many rows.
func (s *sample) partitions() []*sampled {
	const fewest, most, rowsPerValue, shown = 2, 100, 20, 5
	var best []*sampled
	for _, c := range s.columns() {
		n := len(c.distinct)
		word := c.kind == schema.String || c.kind == schema.Long || c.kind == schema.Boolean
		if word && c.top && c.values == s.rows && n >= fewest && n <= most && n*rowsPerValue <= s.rows {
			best = append(best, c)
		}
	}
	slices.SortStableFunc(best, func(a, b *sampled) int { return len(a.distinct) - len(b.distinct) })
	return best[:min(len(best), shown)]
}
