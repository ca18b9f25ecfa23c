package jinja

import (
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// jsonStyle is the options of Python's json.dumps that transformers' tojson takes.
type jsonStyle struct {
	ascii     bool
	indent    string
	lines     bool // indent was given, though it may be empty
	item, key string
	sort      bool
}

// tojson is transformers' filter: json.dumps with ensure_ascii off, and nothing escaped for HTML.
func tojson(r *run, a []Value) Value {
	style := jsonStyle{ascii: truth(or(a[1], false)), item: ", ", key: ": ", sort: truth(or(a[4], false))}
	switch indent := or(a[2], nil).(type) {
	case nil:
	case string:
		style.lines, style.indent = true, indent
	default:
		n := needInt(indent)
		if n > 1000 {
			fail("indent of %d", n)
		}
		style.lines, style.indent = true, strings.Repeat(" ", int(max(n, 0)))
	}
	if style.lines {
		style.item = ","
	}
	if sep := or(a[3], nil); sep != nil {
		parts := r.items(sep)
		if len(parts) != 2 {
			fail("separators must be a pair")
		}
		style.item, style.key = needString(parts[0]), needString(parts[1])
	}
	w := &writer{run: r}
	w.json(a[0], style, 0)
	return w.b.String()
}

func (w *writer) json(v Value, style jsonStyle, depth int) {
	if depth > maxCalls {
		fail("maximum recursion depth exceeded while encoding a JSON object")
	}
	switch v := v.(type) {
	case nil:
		w.add("null")
	case bool:
		w.add(strconv.FormatBool(v))
	case int64, *big.Int:
		w.repr(v, nil)
	case float64:
		w.add(jsonFloat(v))
	case string:
		w.add(jsonString(v, style.ascii))
	case *List:
		w.jsonItems("[", "]", len(v.Items), style, depth, func(i int) { w.json(v.Items[i], style, depth+1) })
	case *Tuple:
		w.jsonItems("[", "]", len(v.Items), style, depth, func(i int) { w.json(v.Items[i], style, depth+1) })
	case *Dict:
		if style.sort {
			v = w.run.sorted(v)
		}
		w.jsonItems("{", "}", v.Len(), style, depth, func(i int) {
			w.add(jsonString(jsonKey(v.keys[i]), style.ascii))
			w.add(style.key)
			w.json(v.values[i], style, depth+1)
		})
	default:
		fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

func (w *writer) jsonItems(open, end string, n int, style jsonStyle, depth int, item func(int)) {
	w.add(open)
	for i := range n {
		if i > 0 {
			w.add(style.item)
		}
		w.newline(style, depth+1)
		item(i)
	}
	if n > 0 {
		w.newline(style, depth)
	}
	w.add(end)
}

func (w *writer) newline(style jsonStyle, depth int) {
	if style.lines {
		w.add("\n" + strings.Repeat(style.indent, depth))
	}
}

func jsonKey(k Value) string {
	switch k := k.(type) {
	case string:
		return k
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case int64:
		return strconv.FormatInt(k, 10)
	case *big.Int:
		return k.String()
	case float64:
		return jsonFloat(k)
	}
	fail("keys must be str, int, float, bool or None, not %s", typeName(k))
	return ""
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return formatFloat(f)
}

func jsonString(s string, ascii bool) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c < 0x20 || ascii && c > 0x7f && c < 0x10000:
			b.WriteString(`\u` + hex(c, 4))
		case ascii && c >= 0x10000:
			high, low := utf16.EncodeRune(c)
			b.WriteString(`\u` + hex(high, 4) + `\u` + hex(low, 4))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// sorted gives d with its keys in Python's order.
func (r *run) sorted(d *Dict) *Dict {
	order := make([]int, d.Len())
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return r.order("<", d.keys[order[i]], d.keys[order[j]]) < 0 })
	s := NewDict()
	for _, i := range order {
		s.set(d.keys[i], d.values[i])
	}
	return s
}
