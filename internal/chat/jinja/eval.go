package jinja

func (e *constExpr) eval(r *run, s *scope) Value { return e.value }

func (e *nameExpr) eval(r *run, s *scope) Value {
	if v, ok := s.get(e.name); ok {
		return v
	}
	if g, ok := globals[e.name]; ok {
		return g
	}
	return &Undefined{name: e.name}
}

func evalAll(r *run, s *scope, items []expr) []Value {
	values := make([]Value, len(items))
	for i, item := range items {
		values[i] = item.eval(r, s)
	}
	r.grow(16 * len(items))
	return values
}

func (e *listExpr) eval(r *run, s *scope) Value  { return &List{Items: evalAll(r, s, e.items)} }
func (e *tupleExpr) eval(r *run, s *scope) Value { return &Tuple{Items: evalAll(r, s, e.items)} }

func (e *dictExpr) eval(r *run, s *scope) Value {
	d := NewDict()
	for i, k := range e.keys {
		r.grow(32)
		d.set(k.eval(r, s), e.values[i].eval(r, s))
	}
	return d
}

func (e *attrExpr) eval(r *run, s *scope) Value {
	r.tick(1)
	return r.attr(e.of.eval(r, s), e.name)
}

func (e *itemExpr) eval(r *run, s *scope) Value {
	r.tick(1)
	of := e.of.eval(r, s)
	if k, ok := e.key.(*sliceKey); ok {
		return r.slice(of, k.parts(r, s))
	}
	return r.item(of, e.key.eval(r, s))
}

// eval of a slice that is part of a tuple of keys: nothing that templates hold takes one.
func (k *sliceKey) eval(r *run, s *scope) Value {
	k.parts(r, s)
	return NewDict() // unhashable, so that every lookup by it fails
}

func (k *sliceKey) parts(r *run, s *scope) [3]Value {
	var parts [3]Value
	for i, e := range []expr{k.start, k.stop, k.step} {
		if e != nil {
			parts[i] = e.eval(r, s)
		}
	}
	return parts
}

func (e *notExpr) eval(r *run, s *scope) Value { return !truth(e.of.eval(r, s)) }

func (e *andExpr) eval(r *run, s *scope) Value {
	if left := e.left.eval(r, s); !truth(left) {
		return left
	}
	return e.right.eval(r, s)
}

func (e *orExpr) eval(r *run, s *scope) Value {
	if left := e.left.eval(r, s); truth(left) {
		return left
	}
	return e.right.eval(r, s)
}

func (e *condExpr) eval(r *run, s *scope) Value {
	if truth(e.test.eval(r, s)) {
		return e.then.eval(r, s)
	}
	if e.orElse == nil {
		return &Undefined{hint: "the inline if-expression evaluated to false and no else section was defined."}
	}
	return e.orElse.eval(r, s)
}

func (e *concatExpr) eval(r *run, s *scope) Value {
	parts := make([]string, len(e.parts))
	n := 0
	for i, p := range e.parts {
		parts[i] = r.str(p.eval(r, s))
		n += len(parts[i])
	}
	r.grow(n)
	return join(parts, "", n)
}

func (e *negExpr) eval(r *run, s *scope) Value { return negate(e.op, e.of.eval(r, s)) }

func (e *binaryExpr) eval(r *run, s *scope) Value {
	left := e.left.eval(r, s)
	return r.binary(e.op, left, e.right.eval(r, s))
}

func (e *compareExpr) eval(r *run, s *scope) Value {
	left := e.first.eval(r, s)
	for i, op := range e.ops {
		right := e.rest[i].eval(r, s)
		if !r.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (e *callExpr) eval(r *run, s *scope) Value {
	r.tick(2)
	fn := e.fn.eval(r, s)
	args, kwargs := e.args.eval(r, s)
	line := r.line
	r.line = e.line
	v := r.call(fn, args, kwargs)
	r.line = line
	return v
}

func (e *filterExpr) eval(r *run, s *scope) Value {
	return e.apply(r, s, nil)
}

// apply runs the chain of filters over text where the chain has no expression at its start.
func (e *filterExpr) apply(r *run, s *scope, text Value) Value {
	r.tick(2)
	switch of := e.of.(type) {
	case nil:
	case *filterExpr:
		text = of.apply(r, s, text)
	default:
		text = of.eval(r, s)
	}
	args, kwargs := e.args.eval(r, s)
	return r.filter(e.name, text, args, kwargs)
}

func (e *testExpr) eval(r *run, s *scope) Value {
	r.tick(1)
	of := e.of.eval(r, s)
	args, kwargs := e.args.eval(r, s)
	return r.test(e.name, of, args, kwargs)
}

func (r *run) filter(name string, v Value, args []Value, kwargs []keyword) Value {
	f := filters[name]
	if f == nil {
		fail("No filter named '%s' found.", name)
	}
	return f.call(r, append([]Value{v}, args...), kwargs)
}

func (r *run) test(name string, v Value, args []Value, kwargs []keyword) Value {
	t := tests[name]
	if t == nil {
		fail("No test named '%s' found.", name)
	}
	return t.call(r, append([]Value{v}, args...), kwargs)
}

func (a *callArgs) eval(r *run, s *scope) (args []Value, kwargs []keyword) {
	for _, e := range a.args {
		args = append(args, e.eval(r, s))
	}
	for i, e := range a.values {
		kwargs = append(kwargs, keyword{a.names[i], e.eval(r, s)})
	}
	if a.star != nil {
		args = append(args, r.items(a.star.eval(r, s))...)
	}
	if a.starred != nil {
		v := a.starred.eval(r, s)
		d, ok := v.(*Dict)
		if !ok {
			fail("argument after ** must be a mapping, not %s", typeName(v))
		}
		for i, k := range d.keys {
			kwargs = append(kwargs, keyword{needString(k), d.values[i]})
		}
	}
	return args, kwargs
}

func (r *run) call(fn Value, args []Value, kwargs []keyword) Value {
	c, ok := fn.(callable)
	if !ok {
		needDefined(fn)
		fail("'%s' object is not callable", typeName(fn))
	}
	return c.call(r, args, kwargs)
}
