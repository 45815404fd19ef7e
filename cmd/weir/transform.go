package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/transform"
)

// checkPipeline finds what is wrong with the types and the expressions of p.
func checkPipeline(p *v1alpha1.Pipeline) []strict.Fault {
	_, _, _, faults := shape(p)
	_, wrong := formats(p)
	return append(faults, wrong...)
}

// shape makes of p what decoding needs to know: the columns that are declared, how their values are read, and the steps.
func shape(p *v1alpha1.Pipeline) (*schema.Type, *decode.Hint, *transform.Program, []strict.Fault) {
	columns, hints, faults := declared(p.Spec.Schema.Columns)
	o := transform.Options{
		Columns: columns, Closed: columns != nil && p.Spec.Schema.OnUnknown != v1alpha1.UnknownAddColumns,
		OnError: transformErrors[p.Spec.OnTransformError],
	}
	for i := range p.Spec.Transform {
		o.Steps = append(o.Steps, step(&p.Spec.Transform[i]))
	}
	if len(faults) > 0 { // what a step reads is not known
		return nil, nil, nil, faults
	}
	o.Columns = withSystem(columns, p.Spec.Schema.SystemColumns)
	program, wrong := transform.Compile(o)
	for _, f := range wrong {
		faults = append(faults, strict.Fault{
			Path: fmt.Sprintf("spec.transform[%d].%s", f.Step, f.Field), Line: f.Line, Column: f.Column, Message: f.Message,
		})
	}
	if len(faults) == 0 {
		faults = identityFaults(p, program)
	}
	return columns, hints, program, faults
}

// identityFaults finds columns of the identity that steps change: they are looked at before the steps, and merged behind them.
func identityFaults(p *v1alpha1.Pipeline, program *transform.Program) []strict.Fault {
	id := p.Spec.Identity
	if id == nil {
		return nil
	}
	var faults []strict.Fault
	keep := func(path, name string) {
		if name != "" && !program.Keeps(name) {
			faults = append(faults, strict.Fault{Path: path, Message: fmt.Sprintf("%q is made, renamed or hidden by a step of transform: name a column that all steps leave as it is", name)})
		}
	}
	for i, name := range id.Key {
		keep(fmt.Sprintf("spec.identity.key[%d]", i), name)
	}
	keep("spec.identity.sequence", id.Sequence)
	if id.Op != nil {
		keep("spec.identity.op.field", id.Op.Field)
	}
	return faults
}

var transformErrors = map[v1alpha1.TransformErrorPolicy]transform.OnError{
	v1alpha1.TransformErrorRescue:  transform.Rescue,
	v1alpha1.TransformErrorReject:  transform.Reject,
	v1alpha1.TransformErrorSuspend: transform.Suspend,
}

// declared reads the types of columns; nil when there are none.
func declared(specs []v1alpha1.ColumnSpec) (*schema.Type, *decode.Hint, []strict.Fault) {
	if len(specs) == 0 {
		return nil, nil, nil
	}
	var faults []strict.Fault
	columns := &schema.Type{Kind: schema.Struct}
	hints := &decode.Hint{Fields: map[string]*decode.Hint{}}
	for i := range specs {
		c := &specs[i]
		path := fmt.Sprintf("spec.schema.columns[%d]", i)
		d, err := schema.ParseDDL(c.Type)
		if err != nil {
			f := strict.Fault{Path: path + ".type", Message: err.Error()}
			if bad, ok := errors.AsType[*schema.DDLError](err); ok {
				f.Line, f.Column = 1, bad.Offset+1
			}
			faults = append(faults, f)
			continue
		}
		if err := schema.CheckName(c.Name); err != nil {
			faults = append(faults, strict.Fault{Path: path + ".name", Message: err.Error()})
		} else if decode.IsReserved(c.Name) {
			faults = append(faults, strict.Fault{Path: path + ".name", Message: "is a name of weir's own: use another one"})
		}
		f := schema.Field{Name: c.Name, Type: d.Type, Nullable: !c.Required}
		if c.Comment != "" {
			f.Metadata = map[string]any{schema.CommentKey: c.Comment}
		}
		columns.Fields = append(columns.Fields, f)
		if c.Unit != "" {
			d.Unit = string(c.Unit)
		}
		if h := hint(d); h != nil {
			hints.Fields[c.Name] = h
		}
	}
	return columns, hints, faults
}

// hint is how values of d are read beyond what its type says, nil if that says all.
func hint(d *schema.Declared) *decode.Hint {
	if d == nil {
		return nil
	}
	h := decode.Hint{JSON: d.JSON, Micros: schema.UnitMicros[d.Unit], Elem: hint(d.Elem)}
	for i, f := range d.Fields {
		if inner := hint(f); inner != nil {
			if h.Fields == nil {
				h.Fields = map[string]*decode.Hint{}
			}
			h.Fields[d.Type.Fields[i].Name] = inner
		}
	}
	if !h.JSON && h.Micros == 0 && h.Elem == nil && h.Fields == nil {
		return nil
	}
	return &h
}

// withSystem adds the columns that weir makes, which steps may read.
func withSystem(columns *schema.Type, system []v1alpha1.SystemColumn) *schema.Type {
	if columns == nil {
		return nil
	}
	out := *columns
	kinds := map[v1alpha1.SystemColumn]schema.Kind{
		v1alpha1.SystemColumnStream: schema.String, v1alpha1.SystemColumnSeq: schema.Long, v1alpha1.SystemColumnReceived: schema.Timestamp,
	}
	for _, c := range system {
		out.Fields = append(slices.Clip(out.Fields), schema.Field{
			Name: "_weir_" + string(c), Type: &schema.Type{Kind: kinds[c]}, Nullable: true,
		})
	}
	return &out
}

func step(s *v1alpha1.TransformStep) transform.Step {
	switch {
	case s.Set != nil:
		set := &transform.Set{Column: s.Set.Column, Value: s.Set.Value}
		if s.Set.Type != "" {
			if d, err := schema.ParseDDL(string(s.Set.Type)); err == nil { // the API allows only simple types
				set.Type = d.Type
			}
		}
		return transform.Step{Set: set}
	case s.Filter != "":
		return transform.Step{Filter: s.Filter}
	case s.Rename != nil:
		return transform.Step{Rename: &transform.Rename{From: s.Rename.From, To: s.Rename.To}}
	case s.Flatten != nil:
		return transform.Step{Flatten: &transform.Flatten{Column: s.Flatten.Column, Separator: s.Flatten.Separator}}
	case s.Mask != nil:
		return transform.Step{Mask: &transform.Mask{Columns: s.Mask.Columns, Hash: s.Mask.Method == v1alpha1.MaskHash, Salt: s.Mask.Salt}}
	case s.Derive != nil:
		return transform.Step{Derive: &transform.Derive{Column: s.Derive.Column, From: s.Derive.From, Hour: s.Derive.Part == v1alpha1.TimePartHour}}
	case s.Route != nil:
		return transform.Step{Route: &transform.Route{When: s.Route.When, Reason: s.Route.Reason}}
	}
	return transform.Step{Drop: s.Drop}
}

var mismatches = map[v1alpha1.MismatchPolicy]decode.OnMismatch{
	v1alpha1.MismatchRescue: decode.Rescue, v1alpha1.MismatchReject: decode.RejectRecord, v1alpha1.MismatchSuspend: decode.SuspendPipeline,
}

var unknowns = map[v1alpha1.UnknownPolicy]decode.OnUnknown{
	v1alpha1.UnknownAddColumns: decode.AddColumns, v1alpha1.UnknownRescue: decode.RescueUnknown,
	v1alpha1.UnknownDrop: decode.DropUnknown, v1alpha1.UnknownReject: decode.RejectUnknown, v1alpha1.UnknownSuspend: decode.SuspendUnknown,
}

// decodeOptions is what the decoder takes of p.
func decodeOptions(p *v1alpha1.Pipeline, hints *decode.Hint) decode.Options {
	o := decode.Options{
		MaxColumns: int(*p.Spec.Schema.MaxColumns), MaxEventBytes: int(p.Spec.Flow.MaxEventBytes.Value()),
		OnMismatch: mismatches[p.Spec.Schema.OnMismatch], OnUnknown: unknowns[p.Spec.Schema.OnUnknown], Hints: hints,
	}
	f, _ := formats(p) // the file was checked
	o.Protobuf, o.Avro = f.protobuf, f.avro
	o.Declares = len(p.Spec.Schema.Columns) == 0 && o.OnUnknown != decode.AddColumns // then nobody else does
	for _, c := range p.Spec.Schema.SystemColumns {
		switch c {
		case v1alpha1.SystemColumnStream:
			o.SystemColumns.Stream = true
		case v1alpha1.SystemColumnSeq:
			o.SystemColumns.Seq = true
		case v1alpha1.SystemColumnReceived:
			o.SystemColumns.Received = true
		}
	}
	return o
}
