package pipelines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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
	kind := cue.MakePath(cue.Str(s.kind))
	tree := s.written()
	v, err := c.encode(tree)
	if err != nil {
		c.errorf(s, "", "%v", err)
		return
	}
	c.refuseAll(s, tree, c.kinds.LookupPath(kind), v)
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

// refuseAll tells all that the definition has against a stage. CUE stops at the first mistake within a list or a
// counted struct, so the fields that it refused are taken out and the rest is held against the definition again.
func (c *compiler) refuseAll(s *stage, tree map[string]any, def, v cue.Value) {
	for {
		strict := v.Unify(def)
		err := strict.Validate(cue.Concrete(true))
		if err == nil {
			return
		}
		removed := false
		for _, path := range c.refuse(s, strict, err) {
			removed = remove(tree, path) || removed
		}
		if !removed {
			return
		}
		if v, err = c.encode(tree); err != nil {
			return
		}
	}
}

// broken says whether anything has been said against a stage.
func (c *compiler) broken(s *stage) bool {
	own := s.path("")
	for _, e := range c.errs {
		if e.Path == own || strings.HasPrefix(e.Path, own+".") {
			return true
		}
	}
	return false
}

// written is the stage as the user and the wiring have it: kind, fields and ports.
func (s *stage) written() map[string]any {
	tree := map[string]any{"kind": s.kind}
	for name, v := range s.tree {
		if v != nil {
			tree[name] = v
		}
	}
	if s.kind == "exec" && tree["out"] == nil {
		return tree // it was for the user to write
	}
	out := map[string]any{}
	for _, o := range s.outs {
		port := map[string]any{"kind": o.Kind, "from": s.name, "port": o.Port}
		if o.Kind == "adapter" && s.kind != "exec" {
			port["base"] = tree["model"]
		}
		out[o.Port] = port
	}
	tree["out"] = out
	return tree
}

// encode makes a CUE value of a tree.
func (c *compiler) encode(tree map[string]any) (cue.Value, error) {
	b, err := json.Marshal(tree)
	if err != nil {
		return cue.Value{}, err
	}
	expr, err := cuejson.Extract("", b)
	if err != nil {
		return cue.Value{}, err
	}
	v := c.p.context.BuildExpr(expr)
	return v, v.Err()
}

// refuse tells what the definition has against a stage, a line a field, unless something was said about it already.
// It returns the paths of the fields that are wrong.
func (c *compiler) refuse(s *stage, strict cue.Value, err error) (paths []string) {
	for _, e := range errors.Errors(err) {
		path := strings.TrimPrefix(strings.TrimPrefix(joinPath(e.Path()), "#Stages."+s.kind), ".")
		paths = append(paths, path)
		format, args := e.Msg()
		msg := oneLine(format, args)
		if s.kind != "exec" && strings.HasPrefix(path, "out") { // its ports are the definition's own
			if strings.Contains(msg, "field not allowed") && s.wrote("out") && !c.told(s, "out") {
				c.errorf(s, "out", "hone fills this in; only exec declares its ports")
			}
			continue
		}
		if c.told(s, path) || s.holdsEdge(path) || strings.Contains(msg, "matchN") {
			continue // matchN: requireShape has said it in a user's words
		}
		if msg = plain(msg, path, s.tree, choices(strict, e.Path())); msg == "missing" && isChoice(s.kind, path) {
			continue
		}
		c.errorf(s, path, "%s", msg)
	}
	return paths
}

// holdsEdge says whether a path lies in an edge, which resolve has judged.
func (s *stage) holdsEdge(path string) bool {
	for _, e := range s.edges {
		if path == e.path || strings.HasPrefix(path, e.path+".") {
			return true
		}
	}
	return false
}

const (
	isEmpty = "is empty"
	badName = "a name is letters, digits and _ . + -"
)

// dropEchoes drops what only repeats a mistake: a struct is empty for CUE when its fields are wrong, and the fields of
// one that is not allowed are not allowed either.
func (es Errors) dropEchoes() Errors {
	refused := func(e Error) bool { return strings.HasPrefix(e.Msg, "field not allowed") || e.Msg == badName }
	below := func(a, b string) bool { return strings.HasPrefix(a, b+".") || strings.HasPrefix(a, b+"[") }
	return slices.DeleteFunc(slices.Clone(es), func(e Error) bool {
		return slices.ContainsFunc(es, func(other Error) bool {
			return e.Msg == isEmpty && below(other.Path, e.Path) ||
				refused(e) && refused(other) && below(e.Path, other.Path) && strings.Count(other.Path, ".") > 1
		})
	})
}

var outOfPattern = regexp.MustCompile(`^invalid value (.*) \(out of bound =~(.*)\)$`)

// plain rewrites the messages of CUE's that speak of its own workings.
func plain(msg, path string, tree map[string]any, choices string) string {
	label := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case strings.Contains(msg, "required but not present"), strings.Contains(msg, "required field missing"):
		return "missing"
	case choices != "":
		return valueAt(tree, path) + " is not " + choices
	case strings.HasPrefix(msg, "invalid value") && strings.Contains(msg, "struct.MinFields(1)"),
		strings.HasPrefix(msg, "incompatible list lengths (0 "):
		if at(tree, path) == nil {
			return "missing"
		}
		return isEmpty
	case msg == "field not allowed" && !nameRule.MatchString(label):
		return badName
	}
	if m := outOfPattern.FindStringSubmatch(msg); m != nil {
		return m[1] + " does not match " + m[2]
	}
	return msg
}

// choices writes a field's alternatives, where it has some: "auto", "float32" or "bfloat16".
func choices(strict cue.Value, path []string) string {
	v := strict
	for _, part := range path {
		if i, err := strconv.Atoi(part); err == nil && v.IncompleteKind() == cue.ListKind {
			v = v.LookupPath(cue.MakePath(cue.Index(i)))
			continue
		}
		v = v.LookupPath(cue.MakePath(cue.Str(strings.Trim(part, `"`))))
	}
	op, parts := v.Expr()
	if op == cue.AndOp {
		for _, part := range parts {
			if inner, alternatives := part.Expr(); inner == cue.OrOp {
				op, parts = inner, alternatives
				break
			}
		}
	}
	if op != cue.OrOp {
		return ""
	}
	var text []string
	for _, part := range parts {
		switch b, err := part.MarshalJSON(); {
		case part.IncompleteKind() == cue.ListKind:
			text = append(text, "a list")
		case err == nil:
			text = append(text, string(b))
		default:
			text = append(text, fmt.Sprint(part))
		}
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
