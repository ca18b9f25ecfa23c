package pipelines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	cuejson "cuelang.org/go/encoding/json"

	"github.com/hone-ml/hone/internal/near"
	"github.com/hone-ml/hone/schemas"
)

// definitions is what the schemas say of each kind. No two goroutines may use those of one context at once.
type definitions struct {
	context         *cue.Context
	kinds, defaults cue.Value
	full            map[string]cue.Value // a kind's definition with its defaults
}

func (p *Pipeline) definitions(context *cue.Context) *definitions {
	v := context.BuildInstance(p.schemas())
	return &definitions{context, v.LookupPath(cue.ParsePath("#Stages")), v.LookupPath(cue.ParsePath("#Defaults")), map[string]cue.Value{}}
}

// few is how many stages are conformed before another core is worth definitions of its own.
const few = 50

// conformAll holds what the user said of each stage against its kind's definition, fills in defaults and decodes. Those that nothing is
// wrong with, nearly all, are shared among the cores. The others are told off one after the other; what can be decoded of one in
// spite of a mistake is, so that what holds between fields is judged at once too.
func (c *compiler) conformAll() {
	var group sync.WaitGroup
	var next atomic.Int64
	conform := func(d *definitions) {
		for i := next.Add(1) - 1; int(i) < len(c.stages); i = next.Add(1) - 1 {
			if s := c.stages[i]; s.kind != "" {
				s.config = d.conform(s)
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), 4, len(c.stages)/few) - 1 {
		d := c.p.definitions(cuecontext.New()) // builds upon the same syntax: not at the same time as another
		group.Go(func() { conform(d) })
	}
	conform(c.definitions)
	group.Wait()
	for _, s := range c.stages {
		if s.kind != "" && s.config == nil {
			c.refuseStage(s)
		}
	}
}

// conform is the configuration of a stage that nothing is wrong with, else nil.
func (d *definitions) conform(s *stage) any {
	kind := cue.MakePath(cue.Str(s.kind))
	full, known := d.full[s.kind]
	if !known {
		full = d.kinds.LookupPath(kind).Unify(d.defaults.LookupPath(kind))
		d.full[s.kind] = full
	}
	v, err := d.encode(s.written())
	if err != nil {
		return nil
	}
	v = v.Unify(full)
	if v.Validate(cue.Concrete(true)) != nil {
		return nil
	}
	config, err := s.decode(v)
	if err != nil {
		return nil
	}
	return config
}

func (s *stage) decode(v cue.Value) (any, error) {
	b, err := v.MarshalJSON()
	if err == nil {
		b, err = withoutCommon(b, s.shape)
	}
	if err != nil {
		return nil, err
	}
	return schemas.Decode(s.kind, b)
}

// refuseStage tells what is wrong with a stage.
func (c *compiler) refuseStage(s *stage) {
	kind := cue.MakePath(cue.Str(s.kind))
	tree := s.written()
	v, err := c.encode(tree)
	if err != nil {
		c.errorf(s, "", "%v", err)
		return
	}
	c.refuseAll(s, tree, c.kinds.LookupPath(kind), v)
	if s.config, err = s.decode(v.Unify(c.defaults.LookupPath(kind))); err != nil && !c.broken(s) {
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
		for _, path := range c.refuse(s, err) {
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
		port := map[string]any{"from": s.name, "port": o.Port}
		if o.Kind != "" {
			port["kind"] = o.Kind
		}
		if o.Kind == "adapter" && s.kind != "exec" {
			port["base"] = tree["model"]
		}
		out[o.Port] = port
	}
	tree["out"] = out
	return tree
}

// encode makes a CUE value of a tree.
func (d *definitions) encode(tree any) (cue.Value, error) {
	b, err := json.Marshal(tree)
	if err != nil {
		return cue.Value{}, err
	}
	expr, err := cuejson.Extract("", b)
	if err != nil {
		return cue.Value{}, err
	}
	v := d.context.BuildExpr(expr)
	return v, v.Err()
}

// refuse tells what the definition has against a stage, a line a field, unless something was said about it already.
// It returns the paths of the fields that are wrong.
func (c *compiler) refuse(s *stage, err error) (paths []string) {
	for _, e := range errors.Errors(err) {
		parts := ownPath(e.Path(), s.kind)
		for i := range parts { // what it has against the fields of an edge it has against the edge
			if edge, ok := at(s.tree, joinPath(parts[:i])).(*Edge); ok && edge != nil {
				parts = parts[:i]
				break
			}
		}
		path := joinPath(parts)
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
		if msg = c.plain(msg, s, parts, path); msg == "missing" && isChoice(s.kind, path) {
			continue
		}
		c.errorf(s, path, "%s", msg)
	}
	return paths
}

// ownPath is a path of CUE's within a stage.
func ownPath(parts []string, kind string) []string {
	var own []string
	for _, part := range parts {
		own = append(own, strings.Trim(part, `"`))
	}
	if len(own) > 1 && own[0] == "#Stages" && own[1] == kind {
		own = own[2:]
	}
	return own
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
func (c *compiler) plain(msg string, s *stage, parts []string, path string) string {
	x, label := at(s.tree, path), parts[len(parts)-1]
	wanted := c.wants(s, parts, x)
	switch {
	case isEdge(x) && wanted != "":
		return wanted
	case strings.Contains(msg, "required but not present"), strings.Contains(msg, "required field missing"):
		return "missing"
	case strings.HasPrefix(msg, "invalid value") && strings.Contains(msg, "struct.MinFields(1)"),
		strings.HasPrefix(msg, "incompatible list lengths (0 "):
		if x == nil {
			return "missing"
		}
		return isEmpty
	case msg == "field not allowed" && !nameRule.MatchString(label):
		return badName
	case msg == "field not allowed":
		var have []string
		for _, f := range fieldsOf(c.definition(s, parts[:len(parts)-1])) {
			have = append(have, f.name)
		}
		return c.notAllowed(s, path, have)
	}
	if all := choices(c.definition(s, parts)); all != nil && x != nil {
		last := len(all) - 1
		meant := ""
		if text, ok := x.(string); ok && len(text) > 3 { // of three letters any is near any
			var names []string
			for _, choice := range all {
				names = append(names, strings.Trim(choice, `"`))
			}
			if name := near.Name(text, names); name != "" {
				meant = fmt.Sprintf(" (did you mean %q?)", name)
			}
		}
		return valueAt(x, "") + " is not " + strings.Join(all[:last], ", ") + " or " + all[last] + meant
	}
	if wanted != "" {
		return wanted
	}
	if m := outOfPattern.FindStringSubmatch(msg); m != nil {
		return m[1] + " does not match " + m[2]
	}
	return msg
}

// choices writes each of a field's alternatives, where it has some: "auto", "float32", "bfloat16".
func choices(def cue.Value) []string {
	op, parts := def.Expr()
	if op == cue.AndOp {
		for _, part := range parts {
			if inner, alternatives := part.Expr(); inner == cue.OrOp {
				op, parts = inner, alternatives
				break
			}
		}
	}
	if op != cue.OrOp {
		return nil
	}
	return alternatives(parts)
}

// alternatives writes each of a disjunction's.
func alternatives(parts []cue.Value) (text []string) {
	for _, part := range parts {
		if op, inner := cue.Dereference(part).Expr(); op == cue.OrOp { // a definition that is one itself
			text = append(text, alternatives(inner)...)
			continue
		}
		switch b, err := part.MarshalJSON(); {
		case part.IncompleteKind() == cue.ListKind:
			text = append(text, "a list")
		case part.IncompleteKind() == cue.StructKind:
			var names []string
			for _, f := range fieldsOf(part) {
				names = append(names, f.name)
			}
			text = append(text, "{"+strings.Join(names, ", ")+"}")
		case err == nil:
			text = append(text, string(b))
		default:
			text = append(text, fmt.Sprint(part))
		}
	}
	return text
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
