package jinja

import (
	"slices"
	"sort"
	"strconv"
	"strings"
)

func init() {
	filter("length", nil, 0, func(r *run, a []Value) Value {
		n, ok := length(a[0])
		if !ok {
			fail("object of type '%s' has no len()", typeName(a[0]))
		}
		return int64(n)
	})
	alias("count", "length")
	filter("list", nil, 0, func(r *run, a []Value) Value { return &List{Items: r.items(a[0])} })
	filter("first", nil, 0, func(r *run, a []Value) Value {
		if v, ok := r.iter(a[0])(); ok {
			return v
		}
		return &Undefined{hint: "No first item, sequence was empty."}
	})
	filter("last", nil, 0, func(r *run, a []Value) Value {
		if v, ok := r.reversed(a[0])(); ok {
			return v
		}
		return &Undefined{hint: "No last item, sequence was empty."}
	})
	filter("reverse", nil, 0, func(r *run, a []Value) Value {
		switch v := a[0].(type) {
		case string:
			runes := []rune(v)
			slices.Reverse(runes)
			return string(runes)
		case *iterator, *loop:
			items := r.items(v)
			slices.Reverse(items)
			return &List{Items: items}
		}
		return lazily(typeName(a[0])+"_reverseiterator", r.reversed(a[0]))
	})
	filter("items", nil, 0, func(r *run, a []Value) Value {
		switch v := a[0].(type) {
		case *Undefined:
			return lazily("generator", sliceIter(nil))
		case *Dict:
			return lazily("generator", dictView{v, "items"}.iter())
		}
		return lazily("generator", func() (Value, bool) {
			fail("Can only get item pairs from a mapping.")
			return nil, false
		})
	})
	filter("join", []string{"d", "attribute"}, 0, func(r *run, a []Value) Value {
		get := r.getter(or(a[2], nil), nil)
		var parts []string
		for _, item := range r.items(a[0]) {
			parts = append(parts, r.str(get(item)))
		}
		return joined(r, parts, r.str(or(a[1], "")))
	})
	filter("dictsort", []string{"case_sensitive", "by", "reverse"}, 0, dictSort)
	filter("sort", []string{"reverse", "case_sensitive", "attribute"}, 0, func(r *run, a []Value) Value {
		var gets []func(Value) Value
		attributes := []Value{or(a[3], nil)}
		if s, ok := attributes[0].(string); ok {
			attributes = nil
			for _, part := range strings.Split(s, ",") {
				attributes = append(attributes, part)
			}
		}
		for _, attribute := range attributes {
			gets = append(gets, r.folded(attribute, a[2], nil))
		}
		key := func(v Value) Value {
			keys := &List{}
			for _, get := range gets {
				keys.Items = append(keys.Items, get(v))
			}
			return keys
		}
		return &List{Items: r.sortBy(r.items(a[0]), key, truth(or(a[1], false)))}
	})
	filter("unique", []string{"case_sensitive", "attribute"}, 0, func(r *run, a []Value) Value {
		get, next := r.folded(or(a[2], nil), a[1], nil), r.later(a[0])
		seen := map[any]bool{}
		return lazily("generator", func() (Value, bool) {
			for v, ok := next(); ok; v, ok = next() {
				if k := hashable(get(v)); !seen[k] {
					seen[k] = true
					return v, true
				}
			}
			return nil, false
		})
	})
	for name, op := range map[string]string{"min": "<", "max": ">"} {
		filter(name, []string{"case_sensitive", "attribute"}, 0, func(r *run, a []Value) Value {
			get := r.folded(or(a[2], nil), a[1], nil)
			items := r.items(a[0])
			if len(items) == 0 {
				return &Undefined{hint: "No aggregated item, sequence was empty."}
			}
			best := items[0]
			for _, v := range items[1:] {
				if r.compare(op, get(v), get(best)) {
					best = v
				}
			}
			return best
		})
	}
	filter("sum", []string{"attribute", "start"}, 0, func(r *run, a []Value) Value {
		get, total := r.getter(or(a[1], nil), nil), or(a[2], int64(0))
		if _, ok := total.(string); ok {
			fail("sum() can't sum strings [use ''.join(seq) instead]")
		}
		for _, v := range r.items(a[0]) {
			total = r.binary("+", total, get(v))
		}
		return total
	})
	filter("batch", []string{"linecount", "fill_with"}, 1, batch)
	filter("slice", []string{"slices", "fill_with"}, 1, slicesFilter)
	filter("groupby", []string{"attribute", "default", "case_sensitive"}, 1, groupBy)
	filters["map"] = &builtin{name: "map", raw: mapFilter}
	for name, how := range map[string][2]bool{"select": {true, false}, "reject": {false, false}, "selectattr": {true, true}, "rejectattr": {false, true}} {
		filters[name] = &builtin{name: name, raw: func(r *run, args []Value, kwargs []keyword) Value {
			return selected(r, args, kwargs, how[0], how[1])
		}}
	}
}

// reversed is Python's reversed(v).
func (r *run) reversed(v Value) func() (Value, bool) {
	switch v.(type) {
	case string, *List, *Tuple, *Dict, dictView, rangeValue, *Undefined:
		items := r.items(v)
		slices.Reverse(items)
		return sliceIter(items)
	}
	fail("'%s' object is not reversible", typeName(v))
	return nil
}

// getter reads an attribute path ("a.b.0"); the value itself where attribute is None.
func (r *run) getter(attribute, fallback Value) func(Value) Value {
	var parts []Value
	switch a := attribute.(type) {
	case nil:
		return func(v Value) Value { return v }
	case string:
		for _, part := range strings.Split(a, ".") {
			if i, err := strconv.ParseInt(part, 10, 64); err == nil && part[0] != '-' && part[0] != '+' {
				parts = append(parts, i)
			} else {
				parts = append(parts, part)
			}
		}
	default:
		parts = []Value{a}
	}
	return func(v Value) Value {
		for _, part := range parts {
			v = r.item(v, part)
			if _, ok := v.(*Undefined); ok && fallback != nil {
				v = fallback
			}
		}
		return v
	}
}

// folded is getter with strings in lower case unless caseSensitive.
func (r *run) folded(attribute, caseSensitive, fallback Value) func(Value) Value {
	get := r.getter(attribute, fallback)
	if truth(or(caseSensitive, false)) {
		return get
	}
	return func(v Value) Value {
		v = get(v)
		if s, ok := v.(string); ok {
			return lower(s)
		}
		return v
	}
}

// sortBy is Python's sorted: stable, also in reverse.
func (r *run) sortBy(items []Value, key func(Value) Value, reversed bool) []Value {
	keys := make([]Value, len(items))
	order := make([]int, len(items))
	for i, v := range items {
		keys[i], order[i] = key(v), i
	}
	r.grow(32 * len(items))
	sort.SliceStable(order, func(i, j int) bool {
		if reversed {
			i, j = j, i
		}
		return r.order("<", keys[order[i]], keys[order[j]]) < 0
	})
	sorted := make([]Value, len(items))
	for i, o := range order {
		sorted[i] = items[o]
	}
	return sorted
}

func dictSort(r *run, a []Value) Value {
	d, ok := a[0].(*Dict)
	if !ok {
		needDefined(a[0])
		fail("'%s' object has no attribute 'items'", typeName(a[0]))
	}
	at := 0
	switch by := or(a[2], "key"); by {
	case "key":
	case "value":
		at = 1
	default:
		fail(`You can only sort by either "key" or "value"`)
	}
	fold := r.folded(int64(at), a[1], nil)
	return &List{Items: r.sortBy(r.items(dictView{d, "items"}), fold, truth(or(a[3], false)))}
}

func batch(r *run, a []Value) Value {
	n, next := needInt(a[1]), r.later(a[0])
	return lazily("generator", func() (Value, bool) {
		row := &List{}
		for int64(len(row.Items)) < n || len(row.Items) == 0 {
			v, ok := next()
			if !ok {
				break
			}
			r.grow(16)
			row.Items = append(row.Items, v)
		}
		if len(row.Items) == 0 {
			return nil, false
		}
		if fill := or(a[2], nil); fill != nil {
			for int64(len(row.Items)) < n {
				r.grow(16)
				row.Items = append(row.Items, fill)
			}
		}
		return row, true
	})
}

func slicesFilter(r *run, a []Value) Value {
	var items []Value
	var n, each, extra, i, at int
	return lazily("generator", func() (Value, bool) {
		if i == 0 {
			items, n = r.items(a[0]), int(needInt(a[1]))
			if n == 0 {
				fail("integer division or modulo by zero")
			}
			if n > maxRange {
				fail("slice into %d", n)
			}
			each, extra = len(items)/max(n, 1), len(items)%max(n, 1)
		}
		if i >= n {
			return nil, false
		}
		size := each
		if i < extra {
			size++
		}
		part := slices.Clone(items[at : at+size])
		if fill := or(a[2], nil); fill != nil && i >= extra {
			part = append(part, fill)
		}
		at += size
		i++
		r.grow(16 * len(part))
		return &List{Items: part}, true
	})
}

func groupBy(r *run, a []Value) Value {
	fallback := or(a[2], nil)
	key, shown := r.folded(a[1], a[3], fallback), r.getter(a[1], fallback)
	groups := &List{}
	var last Value
	for _, v := range r.sortBy(r.items(a[0]), key, false) {
		k := key(v)
		if n := len(groups.Items); n > 0 && r.equal(last, k) {
			group := groups.Items[n-1].(*Tuple).Items[1].(*List)
			group.Items = append(group.Items, v)
			continue
		}
		last = k
		groups.Items = append(groups.Items, &Tuple{Items: []Value{shown(v), NewList(v)}, Names: []string{"grouper", "list"}})
	}
	return groups
}

func mapFilter(r *run, args []Value, kwargs []keyword) Value {
	var f func(Value) Value
	if len(args) == 1 && slices.ContainsFunc(kwargs, func(k keyword) bool { return k.name == "attribute" }) {
		a := bind("map", []string{"attribute", "default"}, 1, nil, kwargs)
		f = r.getter(a[0], or(a[1], nil))
	} else if len(args) == 1 {
		fail("map requires a filter argument")
	} else {
		name, rest := needString(args[1]), args[2:]
		f = func(v Value) Value { return r.filter(name, v, rest, kwargs) }
	}
	if !truth(args[0]) { // Jinja iterates only over what is true, so that None maps to nothing
		return lazily("generator", sliceIter(nil))
	}
	next := r.later(args[0])
	return lazily("generator", func() (Value, bool) {
		v, ok := next()
		if !ok {
			return nil, false
		}
		r.tick(2)
		return f(v), true
	})
}

func selected(r *run, args []Value, kwargs []keyword, keep, byAttribute bool) Value {
	get := func(v Value) Value { return v }
	rest := args[1:]
	if byAttribute {
		if len(rest) == 0 {
			fail("Missing parameter for attribute name")
		}
		get, rest = r.getter(rest[0], nil), rest[1:]
	}
	is := truth
	if len(rest) > 0 {
		name, more := needString(rest[0]), rest[1:]
		is = func(v Value) bool { return truth(r.test(name, v, more, kwargs)) }
	}
	if !truth(args[0]) {
		return lazily("generator", sliceIter(nil))
	}
	next := r.later(args[0])
	return lazily("generator", func() (Value, bool) {
		for v, ok := next(); ok; v, ok = next() {
			r.tick(2)
			if is(get(v)) == keep {
				return v, true
			}
		}
		return nil, false
	})
}
