package decode

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// avroLong reads the number at b[i] and returns the index behind it, negative if there is none.
func avroNumber(b []byte, i int) (int64, int) {
	x, next := protoVarint(b, i)
	return protowire.DecodeZigZag(x), next
}

// avroSpan returns where the bytes whose length stands at b[i] lie, negative if they do not.
func avroSpan(b []byte, i int) (from, end int) {
	n, from := avroNumber(b, i)
	if from < 0 || n < 0 || n > int64(len(b)-from) {
		return failed, failed
	}
	return from, from + int(n)
}

// avroPlan is how a record type is read into the members of a struct: one step for each field, in the order of the wire.
type avroPlan struct {
	steps    []avroStep
	fallback []avroStep // columns that the writer's schema lacks and the reader's has a default for
	obj      *object
}

// avroStep is how a value is read.
type avroStep struct {
	typ      *avroType
	op       avroOp
	node     *node
	key      []byte
	sub      *avroPlan   // record, or the struct of a union's types
	elem     *avroStep   // array, map
	branches []*avroStep // union
	text     []byte      // of a default
	element  bool
}

type avroOp uint8

const (
	avroDirect  avroOp = iota // the type says how
	avroConvert               // by way of JSON
	avroNowhere               // no column
	avroSkip                  // nothing to keep
	avroText                  // a record as JSON text
	avroEither                // a union: the branch says how
	avroBranch                // a union that is a struct of its types
)

// bindAvro plans how records of type t are read into the members of o. reader may be nil: the schema that names and defaults
// of columns come from.
func bindAvro(t, reader *avroType, o *object) *avroPlan {
	p := &avroPlan{obj: o, steps: make([]avroStep, len(t.fields))}
	seen := map[string]bool{}
	for i, f := range t.fields {
		name, rt := f.name, (*avroType)(nil)
		if reader != nil && reader.kind == avroRecord {
			if rf := reader.fieldFor(f.name); rf != nil {
				name, rt = rf.name, rf.typ
			}
		}
		seen[name] = true
		bindAvroStep(&p.steps[i], f.typ, rt, o.byName[name])
		p.steps[i].key = []byte(name)
	}
	if reader == nil || reader.kind != avroRecord {
		return p
	}
	for _, rf := range reader.fields {
		if n := o.byName[rf.name]; n != nil && !seen[rf.name] && rf.fallback != nil && string(rf.fallback) != "null" {
			p.fallback = append(p.fallback, avroStep{node: n, key: rf.key, text: rf.fallback})
		}
	}
	return p
}

// fieldFor is the field of a reader's record that takes the field of a writer of that name.
func (t *avroType) fieldFor(name string) *avroField {
	for _, f := range t.fields {
		if f.name == name {
			return f
		}
	}
	for _, f := range t.fields {
		if slices.Contains(f.aliases, name) {
			return f
		}
	}
	return nil
}

// without is the reader's type behind its null.
func (t *avroType) without() *avroType {
	if t != nil && t.kind == avroUnion {
		return t.only()
	}
	return t
}

func bindAvroStep(s *avroStep, t, reader *avroType, n *node) {
	s.typ, s.node = t, n
	reader = reader.without()
	promoted := n != nil && avroPromotes(t, reader, n)
	if reader != nil && reader.kind != t.kind && t.kind != avroUnion {
		reader = nil
	}
	switch {
	case t.kind == avroNull:
		s.op = avroSkip
	case n == nil:
		s.op = avroNowhere
	case t.kind == avroUnion:
		bindAvroUnion(s, t, reader, n)
	case t.kind == avroRecord && (n.kind == schema.String || n.kind == jsonKind):
		s.op = avroText
	case t.kind == avroRecord && n.kind == schema.Struct:
		s.sub = bindAvro(t, reader, n.obj)
	case (t.kind == avroArray && n.kind == schema.Array || t.kind == avroMap && n.kind == schema.Map && n.key.kind == schema.String) && n.typ.ContainsNull:
		var inner *avroType
		if reader != nil {
			inner = reader.elem
		}
		s.elem = &avroStep{element: true}
		bindAvroStep(s.elem, t.elem, inner, n.elem)
		markElements(s.elem)
		if s.elem.op == avroNowhere {
			s.op = avroConvert
		}
	case !promoted && !avroFits(t, n):
		s.op = avroConvert
	}
}

func markElements(s *avroStep) {
	s.element = true
	for _, b := range s.branches {
		markElements(b)
	}
}

func bindAvroUnion(s *avroStep, t, reader *avroType, n *node) {
	s.op = avroEither
	several := t.several()
	if several && n.kind == schema.Struct {
		s.op = avroBranch
	}
	for _, b := range t.branches {
		bs := &avroStep{element: s.element}
		switch {
		case s.op == avroBranch:
			bindAvroStep(bs, b, nil, n.obj.byName[b.name])
			bs.key = []byte(b.name)
		case several && n.kind == schema.Struct:
			bindAvroStep(bs, b, nil, nil)
		default:
			bindAvroStep(bs, b, reader, n)
		}
		s.branches = append(s.branches, bs)
	}
}

// avroPromotes says whether the reader's schema takes text for bytes, or bytes for text, as Avro's schema resolution has it:
// without base64 between them.
func avroPromotes(t, reader *avroType, n *node) bool {
	return reader != nil && (t.kind == avroString && reader.kind == avroBytes && n.kind == schema.Binary ||
		t.kind == avroBytes && reader.kind == avroString && n.kind == schema.String)
}

// avroFits says whether values of a scalar type go to the column as they are.
func avroFits(t *avroType, n *node) bool {
	switch t.kind {
	case avroRecord, avroArray, avroMap:
		return false
	case avroDecimal:
		return n.kind == schema.Decimal && n.typ.Precision == t.decimal.Precision && n.typ.Scale == t.decimal.Scale
	case avroTimestamp:
		return n.kind == schema.Timestamp || n.kind == epochKind || n.kind == schema.TimestampNTZ
	case avroInt:
		return n.kind == schema.Integer || n.kind == schema.Long
	case avroFloat:
		return n.kind == schema.Float || n.kind == schema.Double
	default:
		return n.kind == avroScalars[t.kind].Kind
	}
}

func (d *Decoder) avroAt(s *avroStep, depth int) {
	d.depth = depth
	if s.element {
		return
	}
	at := &d.path[depth]
	at.node, at.key, at.index = s.node, s.key, -1
	if s.node != nil && s.node.name == "" {
		at.node = nil
	}
}

const notAvro = "the record is not of the schema that it should be of; check schema.format.avro, and whether records are length-delimited"

func (d *Decoder) avroBad(s *avroStep, depth, at int, what string) int {
	d.avroAt(s, depth)
	return d.fail(at, what, notAvro)
}

// avroRecord reads a record from b[i] on into the members of p at a slot.
func (d *Decoder) avroRecord(b []byte, i int, p *avroPlan, slot, depth int) int {
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	for k := range p.steps {
		if i = d.avroField(b, i, &p.steps[k], slot, depth); i < 0 {
			return i
		}
	}
	for k := range p.fallback {
		s := &p.fallback[k]
		if s.node.vec.Len > slot {
			continue
		}
		from := len(d.json)
		d.json = append(d.json, s.text...)
		d.avroAt(s, depth)
		if d.convertText(from, i, i, s.node, slot, depth) < 0 {
			return failed
		}
	}
	for _, n := range p.obj.required {
		if n.vec.Len <= slot {
			d.depth = depth
			d.path[depth].node = n
			return d.fail(i, "missing, and the table's column is NOT NULL", "send a value")
		}
	}
	d.depth = depth - 1
	return i
}

// avroField reads a value into a slot of its column; a null leaves the column as it is.
func (d *Decoder) avroField(b []byte, i int, s *avroStep, slot, depth int) int {
	switch s.op {
	case avroSkip:
		return i
	case avroNowhere:
		return d.avroHomeless(b, i, s, depth)
	case avroConvert:
		return d.avroByJSON(b, i, s, slot, depth)
	case avroEither, avroBranch:
		x, next := avroNumber(b, i)
		if next < 0 || x < 0 || x >= int64(len(s.branches)) {
			return d.avroBad(s, depth, i, "a union's branch that its type does not have")
		}
		branch := s.branches[x]
		if s.op == avroEither {
			if branch.key == nil {
				branch.key = s.key
			}
			return d.avroField(b, next, branch, slot, depth)
		}
		if branch.typ.kind == avroNull {
			return next
		}
		if depth+1 > d.opts.MaxDepth {
			return d.tooDeep(i)
		}
		s.node.vec.PadNulls(slot)
		d.avroAt(s, depth)
		i = d.avroField(b, next, branch, s.node.vec.AppendStruct(), depth+1)
		d.depth = depth
		return i
	case avroText:
		s.node.vec.PadNulls(slot)
		from := len(d.json)
		var end int
		if d.json, end = s.typ.appendJSON(d.json, b, i, d.opts.MaxDepth-depth); end < 0 {
			return d.avroBad(s, depth, i, "a malformed record, or one that nests too deep, is too long as JSON or holds text that is not UTF-8")
		}
		s.node.vec.AppendBytes(d.json[from:])
		d.expanded += len(d.json) - from
		d.json = d.json[:from]
		return end
	default:
	}
	v := s.node.vec
	if v.Len < slot {
		v.PadNulls(slot)
	}
	switch s.typ.kind {
	case avroRecord:
		d.avroAt(s, depth)
		return d.avroRecord(b, i, s.sub, v.AppendStruct(), depth+1)
	case avroArray, avroMap:
		return d.avroList(b, i, s, depth)
	default:
	}
	return d.avroScalar(b, i, s, v, depth)
}

// avroScalar reads a value that has no others inside.
func (d *Decoder) avroScalar(b []byte, i int, s *avroStep, v *column.Vector, depth int) int {
	t := s.typ
	switch t.kind {
	case avroInt, avroLong, avroDate, avroTimestamp, avroEnum:
		x, next := avroNumber(b, i)
		if next < 0 || t.kind != avroLong && t.kind != avroTimestamp && x != int64(int32(x)) {
			return d.avroBad(s, depth, i, "a number without an end, or one beyond 32 bits")
		}
		return d.avroInteger(b, i, next, x, s, v, depth)
	case avroBoolean:
		if i >= len(b) || b[i] > 1 {
			return d.avroBad(s, depth, i, "a boolean that is neither 0 nor 1")
		}
		v.AppendBool(b[i] == 1)
		return i + 1
	case avroFloat:
		if len(b)-i < 4 {
			return d.avroBad(s, depth, i, "a number without an end")
		}
		x := math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
		if s.node.kind == schema.Double {
			v.AppendFloat64(float64(x))
		} else {
			v.AppendFloat32(x)
		}
		return i + 4
	case avroDouble:
		if len(b)-i < 8 {
			return d.avroBad(s, depth, i, "a number without an end")
		}
		v.AppendFloat64(math.Float64frombits(binary.LittleEndian.Uint64(b[i:])))
		return i + 8
	default:
	}
	from, end := i, i+t.size
	if t.size == 0 && t.kind != avroFixed {
		from, end = avroSpan(b, i)
	}
	if end < 0 || end > len(b) {
		return d.avroBad(s, depth, i, "a length that goes beyond the end")
	}
	return d.avroBytes(b, i, from, end, s, v, depth)
}

func (d *Decoder) avroInteger(b []byte, i, next int, x int64, s *avroStep, v *column.Vector, depth int) int {
	switch s.typ.kind {
	case avroEnum:
		if x < 0 || x >= int64(len(s.typ.symbols)) {
			return d.avroBad(s, depth, i, "an enum's symbol that its type does not have")
		}
		v.AppendBytes(s.typ.symbols[x])
	case avroTimestamp:
		micros, ok := microsOf(x, s.typ.unit)
		if !ok {
			return d.avroMisfit(b, i, s, depth)
		}
		v.AppendInt64(micros)
	case avroDate:
		if x*secondsPerDay < minSeconds || x*secondsPerDay > maxSeconds {
			return d.avroMisfit(b, i, s, depth)
		}
		v.AppendInt32(int32(x))
	default:
		if s.node.kind == schema.Long {
			v.AppendInt64(x)
		} else {
			v.AppendInt32(int32(x))
		}
	}
	return next
}

func (d *Decoder) avroBytes(b []byte, i, from, end int, s *avroStep, v *column.Vector, depth int) int {
	kind := s.typ.kind
	if kind == avroBytes && s.node.kind == schema.String { // it is promoted
		kind = avroString
	}
	switch kind {
	case avroString:
		if !appendText(v, b, from, end-from) {
			d.avroAt(s, depth)
			return d.fail(from+invalidAt(b[from:end]), "text that is not valid UTF-8", "send text as UTF-8, other bytes in a field of type bytes")
		}
	case avroUUID:
		v.Data = appendUUID(v.Data, b[from:end])
		v.AppendBytes(nil) // closes the value
	case avroDecimal:
		hi, lo, ok := bigInteger(b[from:end])
		if !ok || !withinPrecision(hi, lo, v.Type.Precision) {
			return d.avroMisfit(b, i, s, depth)
		}
		if v.Type.Precision > 18 {
			v.AppendDecimal128(hi, lo)
		} else {
			v.AppendInt64(int64(lo))
		}
	default:
		v.AppendBytes(b[from:end])
	}
	return end
}

func appendUUID(dst, b []byte) []byte {
	for i, cut := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, b[cut[0]:cut[1]])
	}
	return dst
}

// bigInteger reads a big-endian integer in two's complement; ok is false when it has more than 128 bits.
func bigInteger(b []byte) (hi int64, lo uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, true
	}
	sign := byte(int8(b[0]) >> 7)
	for len(b) > 16 {
		if b[0] != sign {
			return 0, 0, false
		}
		b = b[1:]
	}
	var wide [16]byte
	for i := range wide {
		wide[i] = sign
	}
	copy(wide[16-len(b):], b)
	return int64(binary.BigEndian.Uint64(wide[:])), binary.BigEndian.Uint64(wide[8:]), wide[0]>>7 == sign>>7
}

// avroMisfit goes on behind a value that its column cannot hold.
func (d *Decoder) avroMisfit(b []byte, i int, s *avroStep, depth int) int {
	from := len(d.json)
	var end int
	if d.json, end = s.typ.appendJSON(d.json, b, i, d.opts.MaxDepth); end < 0 {
		return d.avroBad(s, depth, i, "a malformed value")
	}
	d.avroAt(s, depth)
	return d.keep(from, i, end, s.node)
}

// avroByJSON reads a value by way of JSON.
func (d *Decoder) avroByJSON(b []byte, i int, s *avroStep, slot, depth int) int {
	from := len(d.json)
	var end int
	if d.json, end = s.typ.appendJSON(d.json, b, i, d.opts.MaxDepth-depth); end < 0 {
		return d.avroBad(s, depth, i, "a malformed value, or one that nests too deep, is too long as JSON or holds text that is not UTF-8")
	}
	d.avroAt(s, depth)
	return d.convertText(from, i, end, s.node, slot, depth)
}

func (d *Decoder) avroHomeless(b []byte, i int, s *avroStep, depth int) int {
	from := len(d.json)
	var end int
	if d.json, end = s.typ.appendJSON(d.json, b, i, d.opts.MaxDepth-depth); end < 0 {
		return d.avroBad(s, depth, i, "a malformed value, or one that nests too deep, is too long as JSON or holds text that is not UTF-8")
	}
	d.avroAt(s, depth)
	return d.refuge(from, i, end)
}

// avroBlock reads how many items a block of an array or map has; the size that a negative count brings is passed.
func avroBlock(b []byte, i int) (count int64, next int) {
	if count, i = avroNumber(b, i); i < 0 {
		return 0, i
	}
	if count < 0 {
		if _, i = avroNumber(b, i); i < 0 || count == math.MinInt64 {
			return 0, failed
		}
		count = -count
	}
	return count, i
}

// avroList reads an array or a map.
func (d *Decoder) avroList(b []byte, i int, s *avroStep, depth int) int {
	if depth+1 > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	v, e := s.node.vec, s.elem
	weight := 1
	if e.sub != nil {
		weight += e.sub.obj.leaves
	}
	mark := v.Offsets[len(v.Offsets)-1]
	for {
		count, next := avroBlock(b, i)
		if next < 0 {
			return d.avroBad(s, depth, i, "a list without an end")
		}
		if i = next; count == 0 {
			break
		}
		for ; count > 0; count-- {
			if d.expanded += weight; d.expanded > expansion*d.opts.MaxEventBytes {
				d.avroAt(s, depth)
				return d.fail(i, "the lists of the record would fill too many slots", "send fewer elements in one record")
			}
			if i = d.avroElement(b, i, s, depth); i < 0 {
				return i
			}
		}
	}
	d.depth = depth
	if s.typ.kind == avroMap && repeats(v.Children[0], int(mark)) {
		v.Truncate(v.Len)
		return d.avroBad(s, depth, i, "a map with a key twice")
	}
	v.AppendList()
	return i
}

func (d *Decoder) avroElement(b []byte, i int, s *avroStep, depth int) int {
	d.avroAt(s, depth)
	v := s.elem.node.vec
	slot := v.Len
	if s.typ.kind == avroMap {
		keys := s.node.vec.Children[0]
		from, end := avroSpan(b, i)
		if end < 0 || !validText(b[from:end]) {
			return d.avroBad(s, depth, i, "a key that is malformed, or no UTF-8")
		}
		slot = keys.Len
		keys.AppendBytes(b[from:end])
		d.listStep(s.node.vec, slot, depth)
		d.path[depth+1].key = b[from:end]
		i = end
	} else {
		d.listStep(s.node.vec, slot, depth)
	}
	if i = d.avroField(b, i, s.elem, slot, depth+1); i >= 0 {
		v.PadNulls(slot + 1)
	}
	return i
}
