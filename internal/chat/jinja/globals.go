package jinja

// globals are the names of the environment: Jinja's own, and those that transformers adds or changes.
var globals map[string]Value

func init() {
	globals = map[string]Value{
		"range": &builtin{name: "range", params: []string{"start", "stop", "step"}, required: 1, fn: rangeGlobal},
		"dict":  &builtin{name: "dict", raw: func(r *run, args []Value, kwargs []keyword) Value { return dictGlobal(r, args, kwargs) }},
		"namespace": &builtin{name: "namespace", raw: func(r *run, args []Value, kwargs []keyword) Value {
			ns := &namespace{NewDict()}
			d := dictGlobal(r, args, kwargs)
			for i, k := range d.keys {
				ns.set(needString(k), d.values[i])
			}
			return ns
		}},
		"raise_exception": &builtin{name: "raise_exception", params: []string{"message"}, required: 1, fn: func(r *run, a []Value) Value {
			panic(&Error{Message: r.str(a[0]), Raised: true})
		}},
		"strftime_now": &builtin{name: "strftime_now", params: []string{"format"}, required: 1, fn: func(r *run, a []Value) Value {
			return strftime(r, r.now, needString(a[0]))
		}},
		"lipsum": &builtin{name: "lipsum", raw: func(*run, []Value, []keyword) Value {
			fail("lipsum is not supported: its text is random")
			return nil
		}},
		"cycler": &builtin{name: "cycler", raw: cyclerGlobal},
		"joiner": &builtin{name: "joiner", params: []string{"sep"}, fn: func(r *run, a []Value) Value {
			used := false
			return &builtin{name: "joiner", fn: func(*run, []Value) Value {
				if !used {
					used = true
					return ""
				}
				return or(a[0], ", ")
			}}
		}},
	}
}

// maxRange is the longest range that the sandbox allows.
const maxRange = 100000

func rangeGlobal(r *run, a []Value) Value {
	v := rangeValue{0, needInt(a[0]), 1}
	if a[1] != missing {
		v = rangeValue{needInt(a[0]), needInt(a[1]), 1}
	}
	if a[2] != missing {
		v.step = needInt(a[2])
	}
	const far = 1 << 61 // so that differences do not overflow
	if v.step == 0 {
		fail("range() arg 3 must not be zero")
	}
	if max(v.start, v.stop, v.step) > far || min(v.start, v.stop, v.step) < -far || v.len() > maxRange {
		fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return v
}

// dictGlobal is Python's dict(mapping or pairs, **kwargs).
func dictGlobal(r *run, args []Value, kwargs []keyword) *Dict {
	d := NewDict()
	if len(args) > 1 {
		fail("dict expected at most 1 argument, got %d", len(args))
	}
	if len(args) == 1 {
		if from, ok := args[0].(*Dict); ok {
			d = from.Clone()
		} else {
			for _, pair := range r.items(args[0]) {
				kv := r.items(pair)
				if len(kv) != 2 {
					fail("dictionary update sequence element has length %d; 2 is required", len(kv))
				}
				d.set(kv[0], kv[1])
			}
		}
	}
	for _, k := range kwargs {
		d.Set(k.name, k.value)
	}
	r.grow(32 * d.Len())
	return d
}

// cyclerGlobal gives an object whose next() goes round its items.
func cyclerGlobal(r *run, args []Value, kwargs []keyword) Value {
	if len(args) == 0 || len(kwargs) > 0 {
		fail("at least one item has to be provided")
	}
	at := 0
	attrs := NewDict()
	attrs.Set("current", args[0])
	move := func(to int) {
		at = to % len(args)
		attrs.Set("current", args[at])
	}
	attrs.Set("next", &builtin{name: "next", fn: func(*run, []Value) Value {
		v := args[at]
		move(at + 1)
		return v
	}})
	attrs.Set("reset", &builtin{name: "reset", fn: func(*run, []Value) Value {
		move(0)
		return nil
	}})
	return &namespace{attrs}
}
