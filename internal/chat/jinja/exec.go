package jinja

import (
	"fmt"
	"sort"
)

func (st textStmt) exec(r *run, s *scope) flow {
	r.print(st.text)
	return flowNext
}

func (st printStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	r.print(r.str(st.expr.eval(r, s)))
	return flowNext
}

func (st *ifStmt) exec(r *run, s *scope) flow {
	for {
		r.line = st.line
		if truth(st.test.eval(r, s)) {
			return r.execAll(st.body, s)
		}
		if len(st.orElse) == 1 {
			if elif, ok := st.orElse[0].(*ifStmt); ok {
				st = elif
				continue
			}
		}
		return r.execAll(st.orElse, s)
	}
}

func (st setStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	st.target.assign(r, s, st.value.eval(r, s))
	return flowNext
}

func (st setBlockStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	inner := &scope{parent: s}
	f := flowNext
	text := Value(r.capture(func() { f = r.execAll(st.body, inner) }))
	if f != flowNext {
		return f
	}
	if st.filter != nil {
		text = st.filter.apply(r, inner, text)
	}
	st.target.assign(r, s, text)
	return flowNext
}

func (st withStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	inner := &scope{parent: s}
	for i, t := range st.targets {
		t.assign(r, inner, st.values[i].eval(r, s))
	}
	return r.execAll(st.body, inner)
}

func (st scopeStmt) exec(r *run, s *scope) flow { return r.execAll(st.body, &scope{parent: s}) }

func (st flowStmt) exec(r *run, s *scope) flow { return st.flow }

func (st raiseStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	fail("%s", st.message)
	return flowNext
}

func (st blockStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	if st.required {
		fail("Required block '%s' not found", st.name)
	}
	if !st.scoped {
		for s.parent != r.top { // a block sees the template's own names, not those of loops around it
			s = s.parent
		}
	}
	return r.execAll(st.body, &scope{parent: s})
}

func (st filterStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	inner := &scope{parent: s}
	f := flowNext
	text := r.capture(func() { f = r.execAll(st.body, inner) })
	if f != flowNext {
		return f
	}
	r.print(r.str(st.filter.apply(r, inner, text)))
	return flowNext
}

func (st macroStmt) exec(r *run, s *scope) flow {
	s.set(st.def.name, &macro{def: st.def, scope: s})
	return flowNext
}

func (st callStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	caller := &macro{def: st.def, scope: s}
	fn := st.call.fn.eval(r, s)
	args, kwargs := st.call.args.eval(r, s)
	r.print(r.str(r.call(fn, args, append(kwargs, keyword{"caller", caller}))))
	return flowNext
}

// A generation block is a call block whose caller prints itself: names that it sets stay inside.
func (st generationStmt) exec(r *run, s *scope) flow {
	inner := &scope{parent: s}
	if !r.mark {
		return r.execAll(st.body, inner)
	}
	if r.out != &r.root {
		r.captured += 2
		r.print(sentinelStart)
		r.execAll(st.body, inner)
		r.print(sentinelEnd)
		return flowNext
	}
	start := r.out.Len()
	r.execAll(st.body, inner)
	r.spans = append(r.spans, Span{start, r.out.Len()})
	return flowNext
}

func sortSpans(spans []Span) {
	sort.Slice(spans, func(i, j int) bool { return spans[i].Start < spans[j].Start })
}

func (t nameTarget) assign(r *run, s *scope, v Value) { s.set(string(t), v) }

func (t attrTarget) assign(r *run, s *scope, v Value) {
	owner, _ := s.get(t.namespace)
	ns, ok := owner.(*namespace)
	if !ok {
		fail("cannot assign attribute on non-namespace object")
	}
	ns.set(t.attr, v)
}

func (n *namespace) set(name string, v Value) {
	if len(name) > 0 && name[0] == '_' {
		fail("Chat templates cannot store underscore-prefixed attributes on a namespace, but got %s.", quote(name))
	}
	n.attrs.Set(name, v)
}

func (t tupleTarget) assign(r *run, s *scope, v Value) {
	next := r.iter(v)
	for i, part := range t {
		item, ok := next()
		if !ok {
			fail("not enough values to unpack (expected %d, got %d)", len(t), i)
		}
		part.assign(r, s, item)
	}
	if _, more := next(); more {
		fail("too many values to unpack (expected %d)", len(t))
	}
}

// macro is a definition with the scope in which it stands.
type macro struct {
	def   *macroDef
	scope *scope
}

func (m *macro) call(r *run, args []Value, kwargs []keyword) Value {
	defer r.enter()()
	d := m.def
	inner := &scope{parent: m.scope}
	take := func(name string) (Value, bool) {
		for i, k := range kwargs {
			if k.name == name {
				kwargs = append(append([]keyword(nil), kwargs[:i]...), kwargs[i+1:]...)
				return k.value, true
			}
		}
		return nil, false
	}
	hasCaller := false
	for i, name := range d.params {
		if name == "caller" {
			hasCaller = true
		}
		if i < len(args) {
			inner.set(name, args[i])
		} else if v, ok := take(name); ok {
			inner.set(name, v)
		} else if k := i - (len(d.params) - len(d.defaults)); k >= 0 {
			inner.set(name, d.defaults[k].eval(r, inner))
		} else {
			inner.set(name, &Undefined{hint: fmt.Sprintf("parameter '%s' was not provided", name)})
		}
	}
	if d.caller && !hasCaller {
		if v, ok := take("caller"); ok && v != nil {
			inner.set("caller", v)
		} else {
			inner.set("caller", &Undefined{hint: "No caller defined"})
		}
	}
	if d.kwargs {
		rest := NewDict()
		for _, k := range kwargs {
			rest.Set(k.name, k.value)
		}
		inner.set("kwargs", rest)
	} else if len(kwargs) > 0 {
		fail("macro '%s' takes no keyword argument '%s'", d.name, kwargs[0].name)
	}
	if len(args) > len(d.params) {
		if !d.varargs {
			fail("macro '%s' takes not more than %d argument(s)", d.name, len(d.params))
		}
		inner.set("varargs", &Tuple{Items: args[len(d.params):]})
	} else if d.varargs {
		inner.set("varargs", &Tuple{})
	}
	return r.capture(func() { r.execAll(d.body, inner) })
}
