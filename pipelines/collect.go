package pipelines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

var nameRule = regexp.MustCompile(schemas.NamePattern)

// common is what every kind takes beside its configuration.
var common = map[string]*schemas.Shape{
	"description": {},
	"needs":       {List: true, Elem: &schemas.Shape{Edges: []string{"report"}}},
	"resources":   {Fields: map[string]*schemas.Shape{"cpus": {}, "memory": {}, "device": {}, "threads": {}, "machine": {}, "price": {}}},
}

// header checks the fields beside the stages and returns the pipeline's name.
func (c *compiler) header() string {
	have := []string{"name", "description", "intent", "stages"}
	it, err := c.p.value.Fields(cue.Optional(false))
	if err != nil {
		c.addCUE(nil, "", c.p.value, err)
		return ""
	}
	for it.Next() {
		if label := it.Selector().Unquoted(); !slices.Contains(have, label) {
			c.errs = append(c.errs, Error{Pos: c.p.place(it.Value()), Path: label,
				Msg: "field not allowed" + Suggest(label, have) + "; a helper is written _" + label + ", #" + label + " or let"})
		}
	}
	name, ok := c.text("name")
	if !ok {
		c.errs = append(c.errs, Error{Pos: c.p.start(), Path: "name", Msg: "missing: a pipeline has a name"})
	}
	c.text("description")
	return name
}

// text reads a field beside the stages; false where nobody wrote it.
func (c *compiler) text(label string) (string, bool) {
	v := c.p.value.LookupPath(cue.MakePath(cue.Str(label)))
	if !v.Exists() || !c.p.pos(v).IsValid() {
		return "", false
	}
	if err := v.Validate(cue.Concrete(true)); err != nil {
		c.addCUE(nil, label, v, err)
	}
	text, _ := v.String()
	return text, true
}

// collectStages reads what the user said of each stage.
func (c *compiler) collectStages() {
	v := c.p.value.LookupPath(cue.MakePath(cue.Str("stages")))
	it, err := v.Fields(cue.Optional(false))
	if err != nil {
		c.addCUE(nil, "stages", v, v.Validate())
		return
	}
	for it.Next() {
		c.collectStage(it.Selector().Unquoted(), it.Value())
	}
	if len(c.stages) == 0 {
		c.errs = append(c.errs, Error{Pos: c.p.start(), Path: "stages", Msg: "missing: a pipeline has stages"})
	}
}

func (c *compiler) collectStage(name string, v cue.Value) {
	s := &stage{name: name, tree: map[string]any{}, where: map[string]token.Position{}}
	s.pos = c.place(s, "", v)
	c.stages = append(c.stages, s)
	c.byName[name] = s
	if !nameRule.MatchString(name) {
		c.errorf(s, "", "a stage's name is letters, digits and _ . + -")
		return
	}
	it, err := v.Fields(cue.Optional(false))
	if err != nil {
		c.addCUE(s, "", v, err)
		return
	}
	kind := v.LookupPath(cue.MakePath(cue.Str("kind")))
	written := c.place(s, "kind", kind) // nowhere, where the user embeds a kind's definition
	if written.IsValid() {
		s.where["kind"] = written
	}
	def, _ := kind.Default()
	text, err := def.String()
	switch {
	case err != nil && !written.IsValid():
		c.errorf(s, "kind", "missing: one of %s", strings.Join(schemas.Kinds(), ", "))
		return
	case err != nil:
		c.addCUE(s, "kind", kind, err)
		return
	}
	if s.shape = schemas.ShapeOf(text); s.shape == nil || !slices.Contains(schemas.Kinds(), text) {
		c.errorf(s, "kind", "unknown kind %q%s", text, Suggest(text, schemas.Kinds()))
		return
	}
	s.kind = text
	for it.Next() {
		label, field := it.Selector().Unquoted(), it.Value()
		switch shape := s.shape.Fields[label]; {
		case label == "kind":
		case common[label] != nil:
			s.tree[label] = c.collect(s, label, field, common[label])
		case label == "out":
			s.outs = c.ports(field)
			if shape != nil {
				s.tree[label] = c.collect(s, label, field, shape)
			} else if pos := c.place(s, label, field); pos.IsValid() {
				s.where[label] = pos
			}
		case shape == nil:
			s.where[label] = c.place(s, label, field)
			c.errorf(s, label, "%s", c.notAllowed(s, label, append(names(s.shape.Fields), names(common)...)))
		default:
			s.tree[label] = c.collect(s, label, field, shape)
		}
	}
}

// collect reads a value as JSON would have it. It notes where the user wrote each field, sets edges aside, and tells
// of fields that the shape does not have. A nil shape is free-form.
func (c *compiler) collect(s *stage, path string, v cue.Value, shape *schemas.Shape) any {
	if pos := c.place(s, path, v); pos.IsValid() {
		s.where[path] = pos
	}
	if shape == nil {
		shape = &schemas.Shape{}
	}
	if def, ok := v.Default(); ok {
		v = def
	}
	kind := v.IncompleteKind()
	switch {
	case shape.Edges != nil && !(shape.File && kind == cue.StringKind):
		out := new(Edge)
		s.edges = append(s.edges, edgeField{path: path, value: v, kinds: shape.Edges, set: func(e Edge) { *out = e }})
		return out
	case kind == cue.StructKind:
		return c.collectStruct(s, path, v, shape)
	case kind == cue.BottomKind && s.declares(path): // what #Pipeline fills in and what the user wrote do not go together
		if _, err := v.Fields(); err == nil && shape.Elem != nil {
			return c.collectStruct(s, path, v, shape)
		}
		x := c.own(v)
		parts := []string{"out", strings.TrimPrefix(path, "out.")}
		if path == "out" {
			parts = parts[:1]
		}
		if text := c.wants(s, parts, x); text != "" {
			c.errorf(s, path, "%s", text)
			return x
		}
	case kind == cue.ListKind:
		list := []any{}
		it, err := v.List()
		if err != nil {
			c.addCUE(s, path, v, err)
			return nil
		}
		for it.Next() {
			list = append(list, c.collect(s, fmt.Sprintf("%s[%d]", path, len(list)), it.Value(), shape.Elem))
		}
		return list
	}
	b, err := v.MarshalJSON()
	if err != nil {
		if better := v.Validate(cue.Concrete(true)); better != nil {
			err = better
		}
		c.addCUE(s, path, v, err)
		return nil
	}
	leaf := decoded(b)
	if text, ok := leaf.(string); ok && shape.File {
		attribute := v.Attribute("get")
		get, _ := attribute.String(0) // none is an error, and empty
		s.files = append(s.files, Source{Field: path, Written: text, Get: get, Named: shape.Named})
	}
	return leaf
}

func (c *compiler) collectStruct(s *stage, path string, v cue.Value, shape *schemas.Shape) any {
	it, err := v.Fields(cue.Optional(false))
	if err != nil {
		c.addCUE(s, path, v, err)
		return nil
	}
	if edge, ok := asEdge(v); ok && shape.Fields != nil && !s.declares(path) {
		return &edge // where fields are wanted: told by conform
	}
	tree := map[string]any{}
	for it.Next() {
		label, field := it.Selector().Unquoted(), it.Value()
		sub := path + "." + label
		child := shape.Elem
		if shape.Fields != nil {
			if child = shape.Fields[label]; child == nil {
				if s.declares(path) && (label == "from" || label == "port") {
					continue // hone's
				}
				s.where[sub] = c.place(s, sub, field)
				c.errorf(s, sub, "%s", c.notAllowed(s, sub, names(shape.Fields)))
				continue
			}
		}
		tree[label] = c.collect(s, sub, field, child)
	}
	return tree
}

// declares says whether a path lies in the ports that an exec declares.
func (s *stage) declares(path string) bool {
	return s.kind == "exec" && (path == "out" || strings.HasPrefix(path, "out."))
}

// own is what the user wrote of a value that is in conflict with the schemas; nil where it is not plain.
func (c *compiler) own(v cue.Value) any {
	_, parts := v.Expr()
	for _, part := range parts {
		src := part.Source()
		if src == nil || !c.p.better(token.NoPos, src.Pos()).IsValid() {
			continue
		}
		if b, err := part.MarshalJSON(); err == nil {
			return decoded(b)
		}
	}
	return nil
}

// decoded is JSON as a stage's tree holds it.
func decoded(b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var x any
	if d.Decode(&x) != nil {
		return nil
	}
	return x
}

// ports reads a stage's out.
func (c *compiler) ports(out cue.Value) []Output {
	var ports []Output
	it, err := out.Fields(cue.Optional(false))
	if err != nil {
		return nil
	}
	for it.Next() {
		port := Output{Port: it.Selector().Unquoted()}
		port.Kind, _ = it.Value().LookupPath(cue.MakePath(cue.Str("kind"))).String()
		if base, ok := asEdge(it.Value().LookupPath(cue.MakePath(cue.Str("base")))); ok {
			port.Base = &base
		}
		ports = append(ports, port)
	}
	return ports
}

func asEdge(v cue.Value) (e Edge, ok bool) {
	var err1, err2, err3 error
	e.Kind, err1 = v.LookupPath(cue.MakePath(cue.Str("kind"))).String()
	e.From, err2 = v.LookupPath(cue.MakePath(cue.Str("from"))).String()
	e.Port, err3 = v.LookupPath(cue.MakePath(cue.Str("port"))).String()
	return e, err1 == nil && err2 == nil && err3 == nil
}

// addCUE tells CUE's own errors about a value. One that began elsewhere, in a helper that several stages read, is told
// once and at its own place.
func (c *compiler) addCUE(s *stage, path string, v cue.Value, err error) {
	own := path
	if s != nil {
		own = s.path(path)
	}
	for _, e := range errors.Errors(err) {
		format, args := e.Msg()
		told := Error{Pos: c.p.shown(c.p.userPos(e)), Path: joinPath(e.Path()), Msg: oneLine(format, args)}
		if !told.Pos.IsValid() {
			told.Pos = c.p.place(v)
		}
		if !told.Pos.IsValid() && s != nil {
			told.Pos = s.at(path)
		}
		if told.Path == "" {
			told.Path = own
		}
		if strings.HasPrefix(told.Msg, "incomplete value") || told.Msg == "invalid interpolation" {
			if tag := c.p.unsetTag(v, append(e.InputPositions(), e.Position())); tag != "" {
				told.Msg += fmt.Sprintf("; the tag %s has no value: -t %s=VALUE", tag, tag)
			}
		}
		c.errs = append(c.errs, told)
	}
}

// joinPath writes a path of CUE's as hone writes it: stages.mix.data[0].weight.
func joinPath(parts []string) string {
	var b strings.Builder
	for i, part := range parts {
		if part != "" && strings.Trim(part, "0123456789") == "" && i > 0 {
			b.WriteString("[" + part + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strings.Trim(part, `"`))
	}
	return b.String()
}
