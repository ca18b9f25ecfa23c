package jinja

import (
	"math/big"
	"strings"
	"unicode"
)

// tests are what may follow "is". The first argument is the value.
var tests map[string]*builtin

func init() {
	tests = map[string]*builtin{}
	one := func(name string, f func(r *run, v Value) bool) {
		tests[name] = &builtin{name: name, params: []string{"value"}, required: 1, fn: func(r *run, a []Value) Value { return f(r, a[0]) }}
	}
	two := func(f func(r *run, v, other Value) bool, names ...string) {
		for _, name := range names {
			tests[name] = &builtin{name: name, params: []string{"value", "other"}, required: 2, fn: func(r *run, a []Value) Value { return f(r, a[0], a[1]) }}
		}
	}
	one("defined", func(r *run, v Value) bool { return typeName(v) != "Undefined" })
	one("undefined", func(r *run, v Value) bool { return typeName(v) == "Undefined" })
	one("none", func(r *run, v Value) bool { return v == nil })
	one("boolean", func(r *run, v Value) bool { return typeName(v) == "bool" })
	one("true", func(r *run, v Value) bool { return v == true })
	one("false", func(r *run, v Value) bool { return v == false })
	one("integer", func(r *run, v Value) bool { return typeName(v) == "int" })
	one("float", func(r *run, v Value) bool { return typeName(v) == "float" })
	one("number", func(r *run, v Value) bool {
		switch v.(type) {
		case bool, int64, *big.Int, float64:
			return true
		}
		return false
	})
	one("string", func(r *run, v Value) bool { return typeName(v) == "str" })
	one("mapping", func(r *run, v Value) bool { return typeName(v) == "dict" })
	one("sequence", func(r *run, v Value) bool {
		switch v.(type) {
		case string, *List, *Tuple, *Dict, rangeValue, *Undefined:
			return true
		}
		return false
	})
	one("iterable", func(r *run, v Value) bool {
		switch v.(type) {
		case string, *List, *Tuple, *Dict, rangeValue, dictView, *iterator, *loop, *Undefined:
			return true
		}
		return false
	})
	one("callable", func(r *run, v Value) bool {
		_, ok := v.(callable)
		return ok || typeName(v) == "Undefined"
	})
	one("lower", func(r *run, v Value) bool { return isCased(r.str(v), unicode.IsLower, unicode.IsUpper) })
	one("upper", func(r *run, v Value) bool { return isCased(r.str(v), unicode.IsUpper, unicode.IsLower) })
	one("odd", func(r *run, v Value) bool { return r.equal(r.binary("%", v, int64(2)), int64(1)) })
	one("even", func(r *run, v Value) bool { return r.equal(r.binary("%", v, int64(2)), int64(0)) })
	one("escaped", func(r *run, v Value) bool { return false })
	one("filter", func(r *run, v Value) bool { s, _ := v.(string); return filters[s] != nil })
	one("test", func(r *run, v Value) bool { s, _ := v.(string); return tests[s] != nil })

	two(func(r *run, v, n Value) bool { return r.equal(r.binary("%", v, n), int64(0)) }, "divisibleby")
	two(func(r *run, v, o Value) bool { return r.equal(v, o) }, "==", "eq", "equalto")
	two(func(r *run, v, o Value) bool { return !r.equal(v, o) }, "!=", "ne")
	two(func(r *run, v, o Value) bool { return r.compare("<", v, o) }, "<", "lt", "lessthan")
	two(func(r *run, v, o Value) bool { return r.compare("<=", v, o) }, "<=", "le")
	two(func(r *run, v, o Value) bool { return r.compare(">", v, o) }, ">", "gt", "greaterthan")
	two(func(r *run, v, o Value) bool { return r.compare(">=", v, o) }, ">=", "ge")
	two(func(r *run, v, o Value) bool { return r.contains(o, v) }, "in")
	two(func(r *run, v, o Value) bool { return identical(v, o) }, "sameas")
}

// isCased is Python's islower or isupper: at least one letter of the case, none of the other.
func isCased(s string, is, other func(rune) bool) bool {
	return strings.ContainsFunc(s, is) &&
		!strings.ContainsFunc(s, func(c rune) bool { return other(c) || unicode.IsTitle(c) })
}
