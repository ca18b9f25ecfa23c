package jinja

import "unicode/utf8"

// iter is Python's iter(v) as a function that gives the next item.
func (r *run) iter(v Value) func() (Value, bool) {
	switch v := v.(type) {
	case *List:
		return sliceIter(v.Items)
	case *Tuple:
		return sliceIter(v.Items)
	case string:
		return func() (Value, bool) {
			if v == "" {
				return nil, false
			}
			_, n := utf8.DecodeRuneInString(v)
			c := v[:n]
			v = v[n:]
			return c, true
		}
	case *Dict:
		return sliceIter(v.keys)
	case dictView:
		return v.iter()
	case rangeValue:
		n, at := v.len(), v.start
		return func() (Value, bool) {
			if n <= 0 {
				return nil, false
			}
			i := at
			n--
			at += v.step
			return i, true
		}
	case *iterator:
		return v.next
	case *loop:
		return func() (Value, bool) {
			if !v.advance() {
				return nil, false
			}
			return &Tuple{Items: []Value{v.current, v}}, true
		}
	case *Undefined:
		return func() (Value, bool) { return nil, false }
	}
	fail("'%s' object is not iterable", typeName(v))
	return nil
}

// later is iter for generators, which look at what they iterate over only when they are asked for an item.
func (r *run) later(v Value) func() (Value, bool) {
	var next func() (Value, bool)
	return func() (Value, bool) {
		if next == nil {
			next = r.iter(v)
		}
		return next()
	}
}

func sliceIter(items []Value) func() (Value, bool) {
	i := 0
	return func() (Value, bool) {
		if i >= len(items) {
			return nil, false
		}
		i++
		return items[i-1], true
	}
}

func (v dictView) iter() func() (Value, bool) {
	i := 0
	return func() (Value, bool) {
		if i >= v.dict.Len() {
			return nil, false
		}
		i++
		return v.at(i - 1), true
	}
}

func (v dictView) at(i int) Value {
	key, value := v.dict.At(i)
	switch v.kind {
	case "keys":
		return key
	case "values":
		return value
	}
	return &Tuple{Items: []Value{key, value}}
}

// items is Python's list(v), as a slice of its own.
func (r *run) items(v Value) []Value {
	var items []Value
	next := r.iter(v)
	for item, ok := next(); ok; item, ok = next() {
		r.grow(16)
		items = append(items, item)
	}
	return items
}

// length is Python's len(v), false where v has none.
func length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case *List:
		return len(v.Items), true
	case *Tuple:
		return len(v.Items), true
	case *Dict:
		return v.Len(), true
	case dictView:
		return v.dict.Len(), true
	case rangeValue:
		return int(v.len()), true
	case *loop:
		return v.length(), true
	case *Undefined:
		return 0, true
	}
	return 0, false
}

// lazily gives an iterator of Python's type kind that next feeds.
func lazily(kind string, next func() (Value, bool)) Value {
	return &iterator{kind: kind, next: next}
}
