package pipelines

import (
	"bytes"
	"encoding/json"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	cuejson "cuelang.org/go/encoding/json"

	"github.com/hone-ml/hone/schemas"
)

// conform holds what the user said of a stage against its kind's definition, fills in defaults and decodes. What can
// be decoded in spite of a mistake is, so that what holds between fields is judged at once too.
func (c *compiler) conform(s *stage) {
	if s.kind == "" {
		return
	}
	v, err := c.encode(s)
	if err != nil {
		c.errorf(s, "", "%v", err)
		return
	}
	kind := cue.MakePath(cue.Str(s.kind))
	strict := v.Unify(c.kinds.LookupPath(kind))
	if err := strict.Validate(cue.Concrete(true)); err != nil {
		c.refuse(s, c.kinds.LookupPath(kind), err)
	}
	b, err := v.Unify(c.defaults.LookupPath(kind)).MarshalJSON()
	if err == nil {
		b, err = withoutCommon(b, s.shape)
	}
	if err == nil {
		s.config, err = schemas.Decode(s.kind, b)
	}
	if err != nil && !c.broken(s) {
		c.errorf(s, "", "%v", err)
	}
}

// broken says whether anything has been said against a stage.
func (c *compiler) broken(s *stage) bool {
	own := "stages." + s.name
	for _, e := range c.errs {
		if e.Path == own || strings.HasPrefix(e.Path, own+".") {
			return true
		}
	}
	return false
}

// encode writes a stage as a CUE value: kind, what the user said, and its ports.
func (c *compiler) encode(s *stage) (cue.Value, error) {
	tree := map[string]any{"kind": s.kind}
	for name, v := range s.tree {
		if v != nil {
			tree[name] = v
		}
	}
	out := map[string]any{}
	for _, o := range s.outs {
		port := map[string]any{"kind": o.Kind, "from": s.name, "port": o.Port}
		if o.Kind == "adapter" {
			port["base"] = tree["model"]
		}
		out[o.Port] = port
	}
	tree["out"] = out
	b, err := json.Marshal(tree)
	if err != nil {
		return cue.Value{}, err
	}
	expr, err := cuejson.Extract("", b)
	if err != nil {
		return cue.Value{}, err
	}
	v := c.kinds.Context().BuildExpr(expr)
	return v, v.Err()
}

// refuse tells what the definition has against a stage, a line a field, unless something was said about it already.
func (c *compiler) refuse(s *stage, def cue.Value, err error) {
	said := map[string]bool{}
	for _, e := range errors.Errors(err) {
		path := strings.TrimPrefix(joinPath(e.Path()), "#Stages."+s.kind+".")
		if path == "#Stages."+s.kind {
			path = ""
		}
		format, args := e.Msg()
		msg := oneLine(format, args)
		if said[path] || c.told(s, path) || strings.HasPrefix(path, "out") && s.kind != "exec" {
			continue
		}
		said[path] = true
		if strings.Contains(msg, "required but not present") || strings.Contains(msg, "required field missing") {
			msg = "missing"
		} else if choice := choices(def, e.Path()); choice != "" {
			msg = valueAt(s.tree, path) + " is not " + choice
		}
		c.errorf(s, path, "%s", msg)
	}
}

// choices writes a field's alternatives, where it has some: "auto", "float32" or "bfloat16".
func choices(def cue.Value, path []string) string {
	v := def
	for _, part := range path {
		next := v.LookupPath(cue.MakePath(cue.Str(strings.Trim(part, `"`)).Optional()))
		if !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.AnyString))
		}
		if !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		v = next
	}
	op, parts := v.Expr()
	if op != cue.OrOp {
		return ""
	}
	var text []string
	for _, part := range parts {
		b, err := part.MarshalJSON()
		if err != nil {
			return ""
		}
		text = append(text, string(b))
	}
	last := len(text) - 1
	return strings.Join(text[:last], ", ") + " or " + text[last]
}

// withoutCommon drops what is no part of a kind's configuration: kind, description, needs, resources and ports.
func withoutCommon(b []byte, shape *schemas.Shape) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if shape.Fields[name] == nil {
			delete(fields, name)
		}
	}
	if out, ok := fields["out"]; ok { // exec: the kinds of its ports alone
		var ports map[string]struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(out, &ports); err != nil {
			return nil, err
		}
		b, err := json.Marshal(ports)
		if err != nil {
			return nil, err
		}
		fields["out"] = b
	}
	return json.Marshal(fields)
}

// valueAt prints the value at a path of a tree, cut where it is long.
func valueAt(tree any, path string) string {
	v := at(tree, path)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "it"
	}
	s := strings.TrimSpace(b.String())
	if len(s) > 60 {
		s = s[:57] + "…"
	}
	return s
}
