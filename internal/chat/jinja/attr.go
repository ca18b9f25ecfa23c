package jinja

import (
	"math/big"
	"strings"
	"unicode/utf8"
)

// attr is v.name as the sandbox gives it: Python's attribute first, then the item of that name, else undefined.
func (r *run) attr(v Value, name string) Value {
	if found, ok := r.attribute(v, name); ok {
		return found
	}
	if found, ok := r.lookup(v, name); ok {
		return found
	}
	return lacks(v, name)
}

// item is v[key]: the item first, then the attribute where the key is a string.
func (r *run) item(v, key Value) Value {
	if found, ok := r.lookup(v, key); ok {
		return found
	}
	name, ok := key.(string)
	if !ok {
		return lacks(v, r.repr(key))
	}
	if found, ok := r.attribute(v, name); ok {
		return found
	}
	return lacks(v, name)
}

func lacks(v Value, name string) Value {
	needDefined(v)
	return &Undefined{name: name, owner: typeName(v)}
}

// lookup is Python's subscript; false where it would raise TypeError or LookupError.
func (r *run) lookup(v, key Value) (Value, bool) {
	switch v := v.(type) {
	case *Dict:
		if !isHashable(key) {
			return nil, false
		}
		return v.get(key)
	case *Undefined:
		needDefined(v)
	}
	i, ok := toInt(key)
	if !ok {
		return nil, false
	}
	n, _ := length(v)
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, false
	}
	switch v := v.(type) {
	case *List:
		return v.Items[i], true
	case *Tuple:
		return v.Items[i], true
	case string:
		if n == len(v) {
			return v[i : i+1], true
		}
		r.tick(1 + n/16)
		rest := v
		for range i {
			_, w := utf8.DecodeRuneInString(rest)
			rest = rest[w:]
		}
		_, w := utf8.DecodeRuneInString(rest)
		return rest[:w], true
	case rangeValue:
		return v.start + i*v.step, true
	}
	return nil, false
}

func isHashable(v Value) bool {
	switch v := v.(type) {
	case *List, *Dict:
		return false
	case *Tuple:
		for _, item := range v.Items {
			if !isHashable(item) {
				return false
			}
		}
	}
	return true
}

// attribute gives the Python attribute of that name: a method, or an attribute of one of Jinja's own objects.
// Attributes that the immutable sandbox refuses are undefined.
func (r *run) attribute(v Value, name string) (Value, bool) {
	if strings.HasPrefix(name, "__") && v != nil {
		switch name {
		case "__class__", "__doc__", "__dir__", "__eq__", "__format__", "__hash__", "__init__", "__len__", "__getitem__",
			"__iter__", "__contains__", "__str__", "__repr__", "__setitem__", "__subclasshook__", "__reduce__":
			needDefined(v)
			return unsafe(v, name), true
		}
	}
	switch v := v.(type) {
	case string:
		if m, ok := stringMethods[name]; ok {
			return method(m, v), true
		}
	case *Dict:
		if m, ok := dictMethods[name]; ok {
			return method(m, v), true
		}
		switch name {
		case "clear", "pop", "popitem", "setdefault", "update":
			return unsafe(v, name), true
		}
	case *List, *Tuple:
		if t, ok := v.(*Tuple); ok {
			for i, n := range t.Names {
				if n == name {
					return t.Items[i], true
				}
			}
		}
		if m, ok := listMethods[name]; ok && (name != "copy" || typeName(v) == "list") {
			return method(m, v), true
		}
		if _, ok := v.(*List); ok {
			switch name {
			case "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove":
				return unsafe(v, name), true
			}
		}
	case *namespace:
		return v.attrs.get(name)
	case *loop:
		return v.attr(name)
	case *macro:
		return v.attr(name)
	case *builtin:
		if v == globals["dict"] && name == "fromkeys" {
			return dictFromKeys, true
		}
	case rangeValue:
		switch name {
		case "count", "index":
			return method(listMethods[name], v), true
		case "start":
			return v.start, true
		case "stop":
			return v.stop, true
		case "step":
			return v.step, true
		}
	case bool, int64, *big.Int, float64:
		return numberAttr(v, name)
	}
	return nil, false
}

func (m *macro) attr(name string) (Value, bool) {
	switch name {
	case "name":
		return m.def.name, true
	case "arguments":
		items := make([]Value, len(m.def.params))
		for i, p := range m.def.params {
			items[i] = p
		}
		return &Tuple{Items: items}, true
	case "catch_kwargs":
		return m.def.kwargs, true
	case "catch_varargs":
		return m.def.varargs, true
	case "caller":
		return m.def.caller, true
	}
	return nil, false
}

func unsafe(v Value, name string) Value {
	return &Undefined{hint: "access to attribute " + quote(name) + " of " + quote(typeName(v)) + " object is unsafe."}
}

// method binds self as the first argument of m.
func method(m *builtin, self Value) Value {
	if m.raw != nil {
		return &builtin{name: m.name, raw: func(r *run, args []Value, kwargs []keyword) Value {
			return m.raw(r, append([]Value{self}, args...), kwargs)
		}}
	}
	return &builtin{name: m.name, params: m.params, required: m.required, fn: func(r *run, a []Value) Value {
		return m.fn(r, append([]Value{self}, a...))
	}}
}

// slice is v[start:stop:step].
func (r *run) slice(v Value, parts [3]Value) Value {
	for _, p := range parts {
		if _, ok := toInt(p); p != nil && !ok {
			needDefined(v)
			fail("slice indices must be integers or None or have an __index__ method")
		}
	}
	switch v := v.(type) {
	case *List:
		return &List{Items: cut(r, v.Items, parts)}
	case *Tuple:
		return &Tuple{Items: cut(r, v.Items, parts)}
	case string:
		if utf8.RuneCountInString(v) != len(v) {
			return string(cut(r, []rune(v), parts))
		}
		if parts[2] == nil {
			start, stop, _ := bounds(parts, len(v))
			return v[start:max(start, stop)]
		}
		return string(cut(r, []byte(v), parts))
	case rangeValue:
		start, stop, step := bounds(parts, int(v.len()))
		return rangeValue{v.start + int64(start)*v.step, v.start + int64(stop)*v.step, v.step * int64(step)}
	}
	needDefined(v)
	fail("'%s' object is not subscriptable", typeName(v))
	return nil
}

func cut[T any](r *run, items []T, parts [3]Value) []T {
	start, stop, step := bounds(parts, len(items))
	r.grow(16 * len(items) / max(step, -step, 1))
	if step == 1 {
		return items[start:max(start, stop):max(start, stop)]
	}
	var out []T
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, items[i])
	}
	return out
}

// bounds resolves a slice over n items by Python's rules.
func bounds(parts [3]Value, n int) (start, stop, step int) {
	step = 1
	if parts[2] != nil {
		s, _ := toInt(parts[2])
		if s == 0 {
			fail("slice step cannot be zero")
		}
		step = int(max(min(s, 1<<31), -1<<31))
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	clamp := func(p Value, otherwise int) int {
		if p == nil {
			return otherwise
		}
		i, _ := toInt(p)
		if i < 0 {
			i += int64(n)
		}
		return int(max(min(i, int64(high)), int64(low)))
	}
	if step < 0 {
		return clamp(parts[0], high), clamp(parts[1], low), step
	}
	return clamp(parts[0], low), clamp(parts[1], high), step
}
