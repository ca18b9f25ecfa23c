package jinja

// loop is the variable of that name inside a for: Jinja's LoopContext. It reads its iterable lazily, and no further
// than a template asks (last and nextitem look one ahead, length reads to the end).
type loop struct {
	run     *run
	next    func() (Value, bool)
	size    int // -1 while unknown
	index0  int
	before  Value // previous item
	current Value
	ahead   []Value // read, not yet visited
	changed Value
	recurse func(items Value, depth int) Value // nil unless the loop is recursive
	depth0  int
}

func (l *loop) advance() bool {
	var v Value
	if len(l.ahead) > 0 {
		v, l.ahead = l.ahead[0], l.ahead[1:]
	} else {
		var ok bool
		if v, ok = l.next(); !ok {
			return false
		}
	}
	l.index0++
	l.before, l.current = l.current, v
	return true
}

func (l *loop) peek() (Value, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

func (l *loop) length() int {
	if l.size < 0 {
		for v, ok := l.next(); ok; v, ok = l.next() {
			l.ahead = append(l.ahead, v)
		}
		l.size = l.index0 + 1 + len(l.ahead)
	}
	return l.size
}

func (l *loop) call(r *run, args []Value, kwargs []keyword) Value {
	if l.recurse == nil {
		fail("The loop must have the 'recursive' marker to be called recursively.")
	}
	a := bind("loop", []string{"iterable"}, 1, args, kwargs)
	defer r.enter()()
	return l.recurse(a[0], l.depth0+1)
}

func (l *loop) attr(name string) (Value, bool) {
	switch name {
	case "index":
		return int64(l.index0 + 1), true
	case "index0":
		return int64(l.index0), true
	case "first":
		return l.index0 == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return int64(l.length()), true
	case "revindex":
		return int64(l.length() - l.index0), true
	case "revindex0":
		return int64(l.length() - l.index0 - 1), true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if l.index0 == 0 {
			return &Undefined{hint: "there is no previous item"}, true
		}
		return l.before, true
	case "nextitem":
		if v, ok := l.peek(); ok {
			return v, true
		}
		return &Undefined{hint: "there is no next item"}, true
	case "cycle":
		return &builtin{name: "cycle", raw: func(r *run, args []Value, kwargs []keyword) Value {
			if len(args) == 0 || len(kwargs) > 0 {
				fail("no items for cycling given")
			}
			return args[l.index0%len(args)]
		}}, true
	case "changed":
		return &builtin{name: "changed", raw: func(r *run, args []Value, kwargs []keyword) Value {
			now := &Tuple{Items: args}
			if l.changed != nil && r.equal(l.changed, now) {
				return false
			}
			l.changed = now
			return true
		}}, true
	}
	return nil, false
}

func (st *forStmt) exec(r *run, s *scope) flow {
	r.line = st.line
	return st.loop(r, s, st.iter.eval(r, s), 0)
}

func (st *forStmt) loop(r *run, s *scope, items Value, depth int) flow {
	l := &loop{run: r, next: r.iter(items), size: -1, index0: -1, depth0: depth}
	if st.filter != nil {
		l.next = st.filtered(r, s, l.next)
	} else if n, ok := length(items); ok {
		l.size = n
	}
	if st.recursive {
		l.recurse = func(items Value, depth int) Value {
			return r.capture(func() { st.loop(r, s, items, depth) })
		}
	}
	completed := false
	for l.advance() {
		r.tick(4)
		// A new scope each time: names set in one iteration are gone in the next.
		inner := &scope{parent: s, names: append(make([]string, 0, 4), "loop"), values: append(make([]Value, 0, 4), l)}
		st.target.assign(r, inner, l.current)
		f := r.execAll(st.body, inner)
		if f == flowBreak {
			break
		}
		completed = completed || f == flowNext
	}
	if !completed { // Jinja's else is also for loops whose every iteration is cut short
		return r.execAll(st.orElse, &scope{parent: s})
	}
	return flowNext
}

// filtered leaves out items for which the loop's condition does not hold. Each is judged when it is asked for.
func (st *forStmt) filtered(r *run, s *scope, next func() (Value, bool)) func() (Value, bool) {
	return func() (Value, bool) {
		for {
			v, ok := next()
			if !ok {
				return nil, false
			}
			r.tick(4)
			inner := &scope{parent: s}
			st.target.assign(r, inner, v)
			if truth(st.filter.eval(r, inner)) {
				return v, true
			}
		}
	}
}
