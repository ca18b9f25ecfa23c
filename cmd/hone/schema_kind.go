package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

// printKind lists the fields of a stage kind as a person reads them: those that must be there first.
func printKind(w io.Writer, kind string) error {
	columns := width(w)
	doc, fields, err := listKind(kind)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s\n", reflowed(kind+" "+doc, columns))
	for _, f := range fields {
		fmt.Fprintf(w, "\n  %s\n", wrapped(f.head(), columns-6, "      "))
		if f.doc != "" {
			fmt.Fprintf(w, "      %s\n", wrapped(f.doc, columns-6, "      "))
		}
	}
	fmt.Fprintf(w, "\n%s\n", wrapped("hone schema json "+kind+" prints the same for programs.", columns, ""))
	return nil
}

// listKind is what the schemas say of a kind, without its name, and its fields: those that must be there first.
func listKind(kind string) (doc string, fields []listed, err error) {
	v, err := jsonschema.Definitions(cuecontext.New())
	if err != nil {
		return "", nil, err
	}
	of := func(definition string) cue.Value {
		return v.LookupPath(cue.MakePath(cue.Def(definition), cue.Str(kind)))
	}
	l := &listing{defaults: of("#Defaults")}
	l.fields("", of("#Stages"), schemas.ShapeOf(kind))
	slices.SortStableFunc(l.found, func(a, b listed) int { return a.rank - b.rank })
	_, doc, _ = strings.Cut(said(cue.Dereference(of("#Stages"))), " ") // it begins with the definition's name
	return doc, l.found, nil
}

// listing collects the fields of a kind with those below them, by their path.
type listing struct {
	defaults cue.Value
	found    []listed
}

type listed struct {
	path, typ, doc string
	required       bool
	filled         string // in JSON, when it is left out; empty where nothing is filled in
	unkeyed        bool   // no ingredient of the key
	edge           bool
	rank           int
}

func (f listed) head() string {
	switch {
	case f.required:
		return f.path + ": " + f.typ + ", required"
	case f.filled != "":
		return f.path + ": " + f.typ + ", " + f.filled + " when left out"
	}
	return f.path + ": " + f.typ
}

// The ranks of fields: what must be there, the kind's own, what every kind has.
const (
	requiredField = iota
	ownField
	commonField
)

func (l *listing) fields(below string, v cue.Value, shape *schemas.Shape) {
	all, err := v.Fields(cue.Optional(true), cue.Patterns(true)) // with patterns, a struct that must not be empty is no error
	if err != nil {
		return
	}
	for all.Next() {
		if all.Selector().ConstraintType() == cue.PatternConstraint {
			continue
		}
		name := all.Selector().Unquoted()
		var own *schemas.Shape
		if shape != nil {
			own = shape.Fields[name]
		}
		if hones := name == "out" || below != "" && shape != nil; below == "" && name == "kind" || own == nil && hones {
			continue // hone fills it in
		}
		rank := ownField
		if below == "" && own == nil {
			rank = commonField
		}
		l.field(below+name, all.Value(), own, all.Selector().ConstraintType() == cue.RequiredConstraint, rank)
	}
}

// field lists one, and what is below it.
func (l *listing) field(path string, v cue.Value, shape *schemas.Shape, required bool, rank int) {
	f := listed{path: path, typ: l.typed(v, shape), doc: strings.Join(strings.Fields(said(v)), " "), required: required, rank: rank}
	key := v.Attribute("key")
	f.unkeyed = key.Err() == nil && key.Contents() == "none"
	f.edge = shape != nil && shape.Edges != nil
	if !required {
		f.filled = l.filled(path)
	} else if !strings.ContainsAny(path, ".[") {
		f.rank = requiredField
	}
	l.found = append(l.found, f)
	before := len(l.found)
	switch {
	case shape == nil:
		l.fields(path+".", v, nil)
	case shape.Edges != nil:
	case shape.Fields != nil:
		l.fields(path+".", v, shape)
	case shape.List && shape.Elem.Fields != nil:
		l.fields(path+"[].", v.LookupPath(cue.MakePath(cue.AnyIndex)), shape.Elem)
	case shape.Map && named(v).Exists():
		if shape.Elem.Fields != nil {
			l.fields(path+".NAME.", named(v), shape.Elem)
		}
	case shape.Map: // its names are the schemas'
		l.fields(path+".", v, nil)
	}
	for i := range l.found[before:] { // they stay with it
		l.found[before+i].rank = f.rank
		l.found[before+i].unkeyed = l.found[before+i].unkeyed || f.unkeyed
	}
}

// named is what stands behind any name in a map.
func named(v cue.Value) cue.Value { return v.LookupPath(cue.MakePath(cue.Str("NAME").Optional())) }

// said is what the schemas say of a value.
func said(v cue.Value) string {
	var text strings.Builder
	for _, g := range v.Doc() {
		text.WriteString(strings.ReplaceAll(g.Text(), "\t", "    "))
	}
	return strings.TrimSpace(text.String())
}

// filled is a field's default, empty where it has none.
func (l *listing) filled(path string) string {
	v := l.defaults
	for _, name := range strings.Split(path, ".") {
		name, item := strings.CutSuffix(name, "[]")
		if v = v.LookupPath(cue.MakePath(cue.Str(name).Optional())); item {
			v = v.LookupPath(cue.MakePath(cue.AnyIndex))
		}
	}
	v, _ = v.Default()
	if v.IncompleteKind() == cue.StructKind {
		return ""
	}
	b, err := v.MarshalJSON()
	if err != nil {
		return ""
	}
	return string(b)
}

// typed is what may stand in a field.
func (l *listing) typed(v cue.Value, shape *schemas.Shape) string {
	switch {
	case shape == nil && v.IncompleteKind() == cue.ListKind:
		return "list"
	case shape == nil:
		return constraint(v)
	case shape.Edges != nil:
		said := "edge to a " + strings.Join(shape.Edges, " or ")
		if said = strings.NewReplacer("a adapter", "an adapter", "a files", "files").Replace(said); shape.File {
			said += ", or a path"
		}
		return said
	case shape.List:
		return "list of " + l.typed(v.LookupPath(cue.MakePath(cue.AnyIndex)), shape.Elem)
	case shape.Map && named(v).Exists():
		return "{NAME: " + l.typed(named(v), shape.Elem) + "}"
	case shape.Fields != nil:
		return "{…}"
	case shape.File:
		return "path"
	}
	return constraint(v)
}

// constraint is a value in CUE, a long one by its type alone.
func constraint(v cue.Value) string {
	text := fmt.Sprint(v)
	switch op, parts := v.Expr(); {
	case v.IncompleteKind() == cue.StructKind, v.IncompleteKind() == cue.BottomKind: // one that must not be empty is an error as it stands
		return "{…}"
	case v.IncompleteKind() == cue.ListKind:
		return "list of " + constraint(v.LookupPath(cue.MakePath(cue.AnyIndex)))
	case op == cue.OrOp && v.IncompleteKind()&cue.ListKind != 0:
		var either []string
		for _, part := range parts {
			either = append(either, constraint(part))
		}
		return strings.Join(either, " | ")
	case len(text) > 60, strings.Contains(text, "=~"), strings.HasPrefix(text, "!="):
		return v.IncompleteKind().String()
	case strings.HasPrefix(text, ">"), strings.HasPrefix(text, "<"):
		return "number & " + text
	}
	return text
}
