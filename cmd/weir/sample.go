package main

import (
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

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// The bounds of a sample.
const (
	sampleRecords = 10_000
	sampleBytes   = 16 << 20
	sampleBatch   = 1000 // records that are decoded before their values are looked at
	maxDistinct   = 1000 // values of a column that are told apart
)

// What decode makes beside the columns of fields.
const (
	rescued   = "_rescued"    // the column of what fits no other
	sourceKey = "weir.source" // in the metadata of a column whose field has another name
)

// sample is what the first records of a file would become: they go through the decoder of the pipelines.
type sample struct {
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

// takeSample decodes the first records of a file.
func takeSample(ctx context.Context, stdin io.Reader, file string) (*sample, error) {
	s := &sample{
		schema: decode.NewSchema(nil, decode.Options{}), byPath: map[string]*sampled{}, lost: map[string]*misfit{},
	}
	if err := s.read(ctx, stdin, file); err != nil {
		return nil, fmt.Errorf("look at %s: %w", sourceName(file), err)
	}
	switch {
	case s.records == 0:
		return nil, fmt.Errorf("look at %s: %w", sourceName(file), errNoRecord)
	case s.rows == 0:
		return nil, fmt.Errorf("look at %s: none of %d %s would be taken (NDJSON has one object a line); record %d: %s",
			sourceName(file), s.records, plural(s.records, "record"), s.firstRefused, s.reason)
	}
	return s, nil
}

func (s *sample) read(ctx context.Context, stdin io.Reader, file string) error {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it is only read
		in = f
	}
	plain, err := unpacked(in)
	if err != nil {
		return err
	}
	dec := decode.NewDecoder(s.schema)
	err = eachInput(&bounded{plain, sampleBytes}, inputAuto, false, func(record []byte) error {
		if s.records == sampleRecords {
			return errSampleFull
		}
		s.add(dec, record)
		return ctx.Err()
	})
	if errors.Is(err, errSampleFull) {
		s.more, err = true, nil
	}
	s.look(dec)
	return err
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

func (s *sample) add(dec *decode.Decoder, record []byte) {
	s.records++
	taken, rejects := dec.Append(event.JSON, record, decode.System{}, nil)
	s.rows += taken
	if len(rejects) > 0 {
		if s.refused == 0 {
			s.firstRefused, s.reason = s.records, rejects[0].Reason
		}
		s.refused++
	}
	if dec.Rows() == sampleBatch {
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
