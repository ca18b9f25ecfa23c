package jinja

import "math"

// dictMethods are those of dict that change nothing.
var dictMethods = map[string]*builtin{
	"get": {name: "get", params: []string{"key", "default"}, required: 1, fn: func(r *run, a []Value) Value {
		if v, ok := a[0].(*Dict).get(a[1]); ok {
			return v
		}
		return or(a[2], nil)
	}},
	"items":  {name: "items", fn: func(r *run, a []Value) Value { return dictView{a[0].(*Dict), "items"} }},
	"keys":   {name: "keys", fn: func(r *run, a []Value) Value { return dictView{a[0].(*Dict), "keys"} }},
	"values": {name: "values", fn: func(r *run, a []Value) Value { return dictView{a[0].(*Dict), "values"} }},
	"copy":   {name: "copy", fn: func(r *run, a []Value) Value { return a[0].(*Dict).Clone() }},
	"fromkeys": {name: "fromkeys", params: []string{"iterable", "value"}, required: 1, fn: func(r *run, a []Value) Value {
		return dictFromKeys.fn(r, a[1:])
	}},
}

var dictFromKeys = &builtin{name: "fromkeys", params: []string{"iterable", "value"}, required: 1, fn: func(r *run, a []Value) Value {
	d := NewDict()
	for _, k := range r.items(a[0]) {
		d.set(k, or(a[1], nil))
	}
	return d
}}

// listMethods are those of list and tuple that change nothing.
var listMethods = map[string]*builtin{
	"copy": {name: "copy", fn: func(r *run, a []Value) Value { return &List{Items: r.items(a[0])} }},
	"count": {name: "count", params: []string{"value"}, required: 1, fn: func(r *run, a []Value) Value {
		n := int64(0)
		for _, item := range r.items(a[0]) {
			if r.equal(item, a[1]) {
				n++
			}
		}
		return n
	}},
	"index": {name: "index", params: []string{"value", "start", "stop"}, required: 1, fn: func(r *run, a []Value) Value {
		items := r.items(a[0])
		start, stop, _ := bounds([3]Value{or(a[2], nil), or(a[3], nil)}, len(items))
		for i := start; i < stop; i++ {
			if r.equal(items[i], a[1]) {
				return int64(i)
			}
		}
		fail("%s is not in list", r.repr(a[1]))
		return nil
	}},
}

func numberAttr(v Value, name string) (Value, bool) {
	switch name {
	case "real":
		if b, ok := v.(bool); ok {
			i, _ := toInt(b)
			return i, true
		}
		return v, true
	case "imag":
		if _, ok := v.(float64); ok {
			return 0.0, true
		}
		return int64(0), true
	case "is_integer":
		if f, ok := v.(float64); ok {
			return method(&builtin{name: name, fn: func(r *run, a []Value) Value { return f == math.Trunc(f) }}, v), true
		}
	case "bit_length":
		if b, ok := toBig(v); ok {
			return method(&builtin{name: name, fn: func(r *run, a []Value) Value { return int64(b.BitLen()) }}, v), true
		}
	}
	return nil, false
}
