package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str(v): what printing gives.
func (r *run) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case *Undefined:
		return ""
	}
	return r.repr(v)
}

// repr is Python's repr(v).
func (r *run) repr(v Value) string {
	w := &writer{run: r}
	w.repr(v, nil)
	return w.b.String()
}

// writer builds text under the run's limits, however often the value shares its parts.
type writer struct {
	run *run
	b   strings.Builder
}

func (w *writer) add(s string) {
	if w.b.Len()+len(s) > w.run.limits.Output {
		w.run.tooLong()
	}
	w.run.grow(len(s))
	w.b.WriteString(s)
}

func (w *writer) repr(v Value, around []Value) {
	if len(around) > maxCalls {
		fail("maximum recursion depth exceeded while getting the repr of an object")
	}
	switch v := v.(type) {
	case nil:
		w.add("None")
	case bool:
		if v {
			w.add("True")
		} else {
			w.add("False")
		}
	case int64:
		w.add(strconv.FormatInt(v, 10))
	case *big.Int:
		if v.BitLen() > 14300 { // Python refuses more than 4300 digits
			fail("Exceeds the limit (4300 digits) for integer string conversion")
		}
		w.add(v.String())
	case float64:
		w.add(formatFloat(v))
	case string:
		w.add(quote(v))
	case *Undefined:
		w.add("Undefined")
	case *List:
		w.sequence("[", v.Items, "]", append(around, v))
	case *Tuple:
		if len(v.Items) == 1 {
			w.sequence("(", v.Items, ",)", append(around, v))
		} else {
			w.sequence("(", v.Items, ")", append(around, v))
		}
	case *Dict:
		w.add("{")
		for i, k := range v.keys {
			if i > 0 {
				w.add(", ")
			}
			w.repr(k, append(around, v))
			w.add(": ")
			w.repr(v.values[i], append(around, v))
		}
		w.add("}")
	case dictView:
		w.add("dict_" + v.kind + "([")
		for i := range v.dict.Len() {
			if i > 0 {
				w.add(", ")
			}
			w.repr(v.at(i), append(around, v.dict))
		}
		w.add("])")
	case *namespace:
		for _, a := range around {
			if a == Value(v) { // the one object that can hold itself
				fail("maximum recursion depth exceeded")
			}
		}
		w.add("<Namespace ")
		w.repr(v.attrs, append(around, v))
		w.add(">")
	case rangeValue:
		w.add("range(" + strconv.FormatInt(v.start, 10) + ", " + strconv.FormatInt(v.stop, 10))
		if v.step != 1 {
			w.add(", " + strconv.FormatInt(v.step, 10))
		}
		w.add(")")
	case *macro:
		w.add("<Macro " + quote(v.def.name) + ">")
	case *loop:
		w.add("<LoopContext " + strconv.Itoa(v.index0+1) + "/" + strconv.Itoa(v.length()) + ">")
	default:
		fail("a %s has no text that is the same each time", typeName(v)) // Python prints its address
	}
}

func (w *writer) sequence(open string, items []Value, end string, around []Value) {
	w.add(open)
	for i, item := range items {
		if i > 0 {
			w.add(", ")
		}
		w.repr(item, around)
	}
	w.add(end)
}

// formatFloat is Python's repr of a float: the shortest text that reads back, with an exponent outside 1e-4 to 1e16.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // Go's exponent has two digits at least, as Python's
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, c := range s {
		switch {
		case c == rune(q) || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			b.WriteString(`\x` + hex(c, 2))
		case c < 0x10000:
			b.WriteString(`\u` + hex(c, 4))
		default:
			b.WriteString(`\U` + hex(c, 8))
		}
	}
	b.WriteByte(q)
	return b.String()
}

func hex(c rune, width int) string {
	h := strconv.FormatInt(int64(c), 16)
	return strings.Repeat("0", width-len(h)) + h
}

// isSpace is Python's str.isspace for one character, which \s of its re module shares.
func isSpace(c rune) bool {
	return c >= 9 && c <= 13 || c >= 0x1c && c <= 0x20 || c == 0x85 || c > 0x85 && unicode.IsSpace(c)
}

func trimLeftSpace(s string) string  { return strings.TrimLeftFunc(s, isSpace) }
func trimRightSpace(s string) string { return strings.TrimRightFunc(s, isSpace) }

// join is strings.Join with the length known.
func join(parts []string, sep string, n int) string {
	if len(parts) == 1 {
		return parts[0]
	}
	var b strings.Builder
	b.Grow(n)
	for i, p := range parts {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(p)
	}
	return b.String()
}

func runeLen(s string) int { return utf8.RuneCountInString(s) }
