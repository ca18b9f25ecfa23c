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
	c := cuecontext.New()
	v, err := jsonschema.Definitions(c)
	if err != nil {
		return err
	}
	of := func(definition string) cue.Value {
		return v.LookupPath(cue.MakePath(cue.Def(definition), cue.Str(kind)))
	}
	l := &listing{columns: width(w), defaults: of("#Defaults"), any: c.CompileString("_")}
	l.fields("", of("#Stages"), schemas.ShapeOf(kind))
	slices.SortStableFunc(l.found, func(a, b listed) int { return a.rank - b.rank })
	_, doc, _ := strings.Cut(said(cue.Dereference(of("#Stages"))), " ") // it begins with the definition's name
	fmt.Fprintf(w, "%s\n", wrapped(kind+" "+doc, l.columns, ""))
	for _, f := range l.found {
		fmt.Fprintf(w, "\n  %s\n", wrapped(f.head, l.columns-6, "      "))
		if f.doc != "" {
			fmt.Fprintf(w, "      %s\n", wrapped(f.doc, l.columns-6, "      "))
		}
	}
	fmt.Fprintf(w, "\n%s\n", wrapped("hone schema json "+kind+" prints the same for programs.", l.columns, ""))
	return nil
}

// listing collects the fields of a kind with those below them, by their path.
type listing struct {
	columns  int
	defaults cue.Value
	any      cue.Value // _
	found    []listed
}

type listed struct {
	head, doc string
	rank      int
}

// The ranks of fields: what must be there, the kind's own, what every kind has.
const (
	requiredField = iota
	ownField
	commonField
)

func (l *listing) fields(below string, v cue.Value, shape *schemas.Shape) {
	all, err := v.Fields(cue.Optional(true))
	if err != nil {
		return
	}
	for all.Next() {
		name := all.Selector().Unquoted()
		if below == "" && (name == "kind" || name == "out") {
			continue
		}
		var own *schemas.Shape
		if shape != nil {
			own = shape.Fields[name]
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
	f := listed{head: path + ": " + l.typed(v, shape), rank: rank}
	if value := l.filled(path); value != "" {
		f.head += ", " + value + " when left out"
	} else if required {
		f.head += ", required"
		if !strings.ContainsAny(path, ".[") {
			f.rank = requiredField
		}
	}
	f.doc = said(v)
	l.found = append(l.found, f)
	before := len(l.found)
	switch {
	case shape == nil && v.IncompleteKind() == cue.StructKind:
		l.fields(path+".", v, nil)
	case shape == nil || shape.Edges != nil:
	case shape.Fields != nil:
		l.fields(path+".", v, shape)
	case shape.List && shape.Elem.Fields != nil:
		l.fields(path+"[].", v.LookupPath(cue.MakePath(cue.AnyIndex)), shape.Elem)
	case shape.Map && shape.Elem.Fields != nil:
		l.fields(path+".NAME.", l.named(v), shape.Elem)
	}
	for i := range l.found[before:] { // they stay with it
		l.found[before+i].rank = f.rank
	}
}

// named is what stands behind any name in a map.
func (l *listing) named(v cue.Value) cue.Value {
	return v.FillPath(cue.ParsePath("NAME"), l.any).LookupPath(cue.ParsePath("NAME"))
}

// said is what the schemas say of a value, in a line.
func said(v cue.Value) string {
	var lines []string
	for _, g := range v.Doc() {
		lines = append(lines, strings.Fields(g.Text())...)
	}
	return strings.Join(lines, " ")
}

// filled is a field's default, empty where it has none.
func (l *listing) filled(path string) string {
	var selectors []cue.Selector
	for _, name := range strings.Split(path, ".") {
		if name == "NAME" || strings.HasSuffix(name, "[]") {
			return ""
		}
		selectors = append(selectors, cue.Str(name))
	}
	v := l.defaults
	for _, s := range selectors {
		if next := v.LookupPath(cue.MakePath(s)); next.Exists() {
			v = next
		} else if v = v.LookupPath(cue.MakePath(s.Optional())); !v.Exists() {
			return ""
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
	case shape == nil && v.IncompleteKind() == cue.StructKind:
		return "{…}"
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
	case shape.Map:
		return "{NAME: " + l.typed(l.named(v), shape.Elem) + "}"
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
	if len(text) > 60 || strings.Contains(text, "=~") {
		return v.IncompleteKind().String()
	}
	if strings.HasPrefix(text, ">") || strings.HasPrefix(text, "<") {
		return "number & " + text
	}
	return text
}
