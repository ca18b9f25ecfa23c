package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// filters are Jinja's, by name. The first argument is the value. Those over sequences are in filters_seq.go.
var filters = map[string]*builtin{}

func filter(name string, params []string, required int, f func(r *run, a []Value) Value) {
	filters[name] = &builtin{name: name, params: append([]string{"value"}, params...), required: required + 1, fn: f}
}

func alias(name, of string) { filters[name] = filters[of] }

func init() {
	text := func(name string, f func(s string) string) {
		filter(name, nil, 0, func(r *run, a []Value) Value {
			s := r.str(a[0])
			r.grow(len(s))
			return f(s)
		})
	}
	text("upper", upper)
	text("lower", lower)
	text("capitalize", capitalize)
	text("title", titleFilter)
	text("string", func(s string) string { return s })
	text("safe", func(s string) string { return s })
	text("escape", func(s string) string {
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(s)
	})
	alias("e", "escape")
	alias("forceescape", "escape")
	filter("trim", []string{"chars"}, 0, func(r *run, a []Value) Value {
		return strip(r.str(a[0]), or(a[1], nil), true, true)
	})
	filter("replace", []string{"old", "new", "count"}, 2, func(r *run, a []Value) Value {
		count := int64(-1)
		if c := or(a[3], nil); c != nil {
			count = needInt(c)
		}
		return replace(r, r.str(a[0]), r.str(a[1]), r.str(a[2]), count)
	})
	filter("center", []string{"width"}, 0, func(r *run, a []Value) Value {
		return pad(r, r.str(a[0]), needInt(or(a[1], int64(80))), " ", '^')
	})
	filter("indent", []string{"width", "first", "blank"}, 0, indent)
	filter("truncate", []string{"length", "killwords", "end", "leeway"}, 0, truncate)
	filter("wordcount", nil, 0, func(r *run, a []Value) Value {
		return int64(len(strings.FieldsFunc(r.str(a[0]), func(c rune) bool {
			return c != '_' && !unicode.IsLetter(c) && !unicode.IsNumber(c)
		})))
	})
	filters["format"] = &builtin{name: "format", raw: func(r *run, args []Value, kwargs []keyword) Value {
		if len(kwargs) == 0 {
			return r.printf(r.str(args[0]), &Tuple{Items: args[1:]})
		}
		if len(args) > 1 {
			fail("can't handle positional and keyword arguments at the same time")
		}
		return r.printf(r.str(args[0]), dictGlobal(r, nil, kwargs))
	}}
	filter("tojson", []string{"ensure_ascii", "indent", "separators", "sort_keys"}, 0, tojson)
	filter("default", []string{"default_value", "boolean"}, 0, func(r *run, a []Value) Value {
		if _, ok := a[0].(*Undefined); ok || truth(or(a[2], false)) && !truth(a[0]) {
			return or(a[1], "")
		}
		return a[0]
	})
	alias("d", "default")
	filter("abs", nil, 0, func(r *run, a []Value) Value {
		if f, ok := a[0].(float64); ok {
			return math.Abs(f)
		}
		b, ok := toBig(a[0])
		if !ok {
			needDefined(a[0])
			fail("bad operand type for abs(): '%s'", typeName(a[0]))
		}
		return normalInt(new(big.Int).Abs(b))
	})
	filter("int", []string{"default", "base"}, 0, intFilter)
	filter("float", []string{"default"}, 0, func(r *run, a []Value) Value {
		if f, ok := parseNumber(a[0]); ok {
			return f
		}
		return or(a[1], 0.0)
	})
	filter("round", []string{"precision", "method"}, 0, round)
	filter("filesizeformat", []string{"binary"}, 0, fileSize)
	filter("attr", []string{"name"}, 1, func(r *run, a []Value) Value {
		if v, ok := r.attribute(a[0], needString(a[1])); ok {
			return v
		}
		return lacks(a[0], needString(a[1]))
	})
	for _, name := range []string{"pprint", "random", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr"} {
		filters[name] = &builtin{name: name, raw: func(*run, []Value, []keyword) Value {
			fail("the filter '%s' is not supported", name)
			return nil
		}}
	}
}

// titleFilter begins words after white space and opening brackets and hyphens, as Jinja's filter does.
func titleFilter(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return isSpace(c) || strings.ContainsRune("-({[<", c) })
		if n < 0 {
			n = len(s)
		}
		for i, c := range s[:n] {
			if i == 0 {
				b.WriteString(upper(string(c)))
				b.WriteString(lower(s[len(string(c)):n]))
				break
			}
		}
		s = s[n:]
		if s != "" {
			c := []rune(s)[0]
			b.WriteRune(c)
			s = s[len(string(c)):]
		}
	}
	return b.String()
}

func indent(r *run, a []Value) Value {
	s := needString(a[0])
	by, ok := or(a[1], int64(4)).(string)
	if !ok {
		by = pad(r, "", needInt(or(a[1], int64(4))), " ", '<')
	}
	lines := splitLines(s+"\n", false)
	for i, line := range lines {
		if i > 0 && (line != "" || truth(or(a[3], false))) || i == 0 && truth(or(a[2], false)) {
			r.grow(len(by) + len(line))
			lines[i] = by + line
		}
	}
	return joined(r, lines, "\n")
}

func truncate(r *run, a []Value) Value {
	end := needString(or(a[3], "..."))
	n := needInt(or(a[1], int64(255)))
	leeway := int64(5)
	if l := or(a[4], nil); l != nil {
		leeway = needInt(l)
	}
	keep := n - int64(runeLen(end))
	if keep < 0 || leeway < 0 {
		fail("expected length >= %d, got %d", runeLen(end), n)
	}
	size, ok := length(a[0])
	if !ok {
		fail("object of type '%s' has no len()", typeName(a[0]))
	}
	if int64(size) <= n+leeway {
		return a[0]
	}
	s := needString(a[0])
	s = r.slice(s, [3]Value{nil, keep}).(string)
	if i := strings.LastIndexByte(s, ' '); i >= 0 && !truth(or(a[2], false)) {
		s = s[:i]
	}
	return s + end
}

// parseNumber is Python's float(v), false where it would raise TypeError or ValueError.
func parseNumber(v Value) (float64, bool) {
	s, ok := v.(string)
	if !ok {
		needDefined(v)
		return toFloat(v)
	}
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	clean, ok := withoutUnderscores(s)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(clean, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// withoutUnderscores takes out underscores that stand between digits; false where one stands elsewhere.
func withoutUnderscores(s string) (string, bool) {
	for i := range s {
		if s[i] == '_' && (i == 0 || i == len(s)-1 || !isHex(s[i-1]) || !isHex(s[i+1])) {
			return "", false
		}
	}
	return strings.ReplaceAll(s, "_", ""), true
}

func intFilter(r *run, a []Value) Value {
	fallback, base := or(a[1], int64(0)), needInt(or(a[2], int64(10)))
	switch v := a[0].(type) {
	case string:
		if b, ok := parseInt(v, int(base)); ok {
			return b
		}
	case float64:
		if math.IsInf(v, 0) {
			fail("cannot convert float infinity to integer")
		}
		if !math.IsNaN(v) {
			return floatToInt(v)
		}
		return fallback
	default:
		if b, ok := toBig(v); ok {
			return normalInt(b)
		}
	}
	f, ok := parseNumber(a[0])
	if !ok || math.IsInf(f, 0) || math.IsNaN(f) {
		return fallback
	}
	return floatToInt(f)
}

// floatToInt cuts off the fraction.
func floatToInt(f float64) Value {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		fail("cannot convert float %s to integer", formatFloat(f))
	}
	b, _ := big.NewFloat(f).Int(nil)
	return normalInt(b)
}

// parseInt is Python's int(s, base).
func parseInt(s string, base int) (Value, bool) {
	s, ok := withoutUnderscores(strings.TrimFunc(s, isSpace))
	if !ok || base != 0 && (base < 2 || base > 36) || len(s) > 4300 {
		return nil, false
	}
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	if len(s) > 1 && s[0] == '0' {
		if prefix := map[int]byte{16: 'x', 8: 'o', 2: 'b'}[base]; prefix != 0 && s[1]|0x20 == prefix {
			s = s[2:]
		}
	}
	if s == "" || s[0] == '-' || s[0] == '+' {
		return nil, false
	}
	b, ok := new(big.Int).SetString(sign+s, base)
	if !ok {
		return nil, false
	}
	return normalInt(b), true
}

func round(r *run, a []Value) Value {
	precision := needInt(or(a[1], int64(0)))
	method := or(a[2], "common")
	if b, ok := toBig(a[0]); ok && method == "common" && precision >= 0 {
		return normalInt(b)
	}
	f, ok := toFloat(a[0])
	if !ok {
		needDefined(a[0])
		fail("type %s doesn't define __round__ method", typeName(a[0]))
	}
	precision = max(min(precision, 400), -400)
	scale := math.Pow(10, float64(precision))
	switch method {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	case "common":
	default:
		fail("method must be common, ceil or floor")
	}
	if precision < 0 {
		f = math.RoundToEven(f*scale) / scale
		if _, isFloat := a[0].(float64); !isFloat {
			return floatToInt(f)
		}
		return f
	}
	// The decimal expansion of f is exact, so that rounding its text is Python's correct rounding.
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
	return f
}

func fileSize(r *run, a []Value) Value {
	n, ok := parseNumber(a[0])
	if !ok {
		fail("could not convert to float: %s", r.repr(a[0]))
	}
	base, infix := 1000.0, ""
	if truth(or(a[1], false)) {
		base, infix = 1024, "i"
	}
	switch {
	case n == 1:
		return "1 Byte"
	case n < base:
		return strconv.FormatInt(int64(n), 10) + " Bytes"
	}
	unit := base
	for i, prefix := range "kMGTPEZY" {
		unit *= base
		if n < unit || i == 7 {
			p := string(prefix)
			if infix != "" {
				p = strings.ToUpper(p)
			}
			return strconv.FormatFloat(base*n/unit, 'f', 1, 64) + " " + p + infix + "B"
		}
	}
	return ""
}
