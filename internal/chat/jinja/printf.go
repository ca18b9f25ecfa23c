package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printf is Python's format % values.
func (r *run) printf(format string, values Value) string {
	var args []Value
	named, isDict := values.(*Dict)
	if t, ok := values.(*Tuple); ok {
		args = t.Items
	} else {
		args = []Value{values}
	}
	used := 0
	take := func() Value {
		if used >= len(args) {
			fail("not enough arguments for format string")
		}
		used++
		return args[used-1]
	}
	w := &writer{run: r}
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			w.add(format)
			break
		}
		w.add(format[:i])
		format = format[i+1:]
		var key *string
		if strings.HasPrefix(format, "(") {
			end := strings.IndexByte(format, ')')
			if end < 0 {
				fail("incomplete format key")
			}
			k := format[1:end]
			key, format = &k, format[end+1:]
			if !isDict {
				fail("format requires a mapping")
			}
		}
		spec := formatSpec{fill: " ", precision: -1}
		n := len(format) - len(strings.TrimLeft(format, "-+ #0"))
		flags := format[:n]
		format = format[n:]
		spec.width, format = starOrNumber(format, take)
		if strings.HasPrefix(format, ".") {
			spec.precision, format = starOrNumber(format[1:], take)
			spec.precision = max(spec.precision, 0)
		}
		format = strings.TrimLeft(format, "hlL")
		if format == "" {
			fail("incomplete format")
		}
		verb := format[0]
		format = format[1:]
		if verb == '%' {
			w.add("%")
			continue
		}
		var v Value
		if key != nil {
			var ok bool
			if v, ok = named.get(*key); !ok {
				fail("%s", quote(*key))
			}
			used = len(args)
		} else {
			v = take()
		}
		spec.align = '>'
		if strings.Contains(flags, "0") && !strings.Contains("srac", string(verb)) {
			spec.fill, spec.align = "0", '='
		}
		if strings.Contains(flags, "-") || spec.width < 0 {
			spec.fill, spec.align, spec.width = " ", '<', max(spec.width, -spec.width)
		}
		if strings.Contains(flags, "+") {
			spec.sign = '+'
		} else if strings.Contains(flags, " ") {
			spec.sign = ' '
		}
		spec.alternate = strings.Contains(flags, "#")
		w.add(r.convert(verb, v, spec))
	}
	if used < len(args) && !isDict {
		switch values.(type) {
		case *List, *Undefined, rangeValue: // Python takes them for mappings
		default:
			fail("not all arguments converted during string formatting")
		}
	}
	return w.b.String()
}

func starOrNumber(format string, take func() Value) (int64, string) {
	if strings.HasPrefix(format, "*") {
		return needInt(take()), format[1:]
	}
	n := 0
	for n < len(format) && isDigit(format[n]) {
		n++
	}
	v, _ := strconv.ParseInt(format[:n], 10, 32)
	return v, format[n:]
}

// convert formats v by a verb of %.
func (r *run) convert(verb byte, v Value, spec formatSpec) string {
	switch verb {
	case 's', 'r', 'a':
		var text string
		if verb == 's' {
			text = r.str(v)
		} else {
			text = r.repr(v)
		}
		return spec.text(r, text)
	case 'c':
		if s, ok := v.(string); ok && runeLen(s) == 1 {
			return spec.text(r, s)
		}
		return spec.text(r, string(rune(needInt(v))))
	case 'd', 'i', 'u', 'x', 'X', 'o':
		if f, ok := v.(float64); ok && strings.IndexByte("diu", verb) >= 0 {
			v = floatToInt(f)
		}
		b, ok := toBig(v)
		if !ok {
			needDefined(v)
			fail("%%%c format: a real number is required, not %s", verb, typeName(v))
		}
		if verb == 'i' || verb == 'u' {
			verb = 'd'
		}
		return spec.integer(r, verb, b)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := toFloat(v)
		if !ok {
			needDefined(v)
			fail("must be real number, not %s", typeName(v))
		}
		return spec.float(r, verb, f)
	}
	fail("unsupported format character '%c'", verb)
	return ""
}

// formatSpec is Python's format specification, with % flags brought into the same form.
type formatSpec struct {
	fill      string
	align     byte // < > ^ = or 0 for the type's own
	sign      byte // + or space, or 0
	alternate bool
	width     int64
	grouping  string
	precision int64 // -1 for none
	verb      byte
}

func (s formatSpec) text(r *run, text string) string {
	if s.precision >= 0 && int64(runeLen(text)) > s.precision {
		text = r.slice(text, [3]Value{nil, s.precision}).(string)
	}
	return s.pad(r, "", text, '<')
}

func (s formatSpec) pad(r *run, sign, body string, otherwise byte) string {
	align := s.align
	if align == 0 {
		align = otherwise
	}
	if align == '=' {
		return sign + pad(r, body, s.width-int64(len(sign)), s.fill, '>')
	}
	if align == '^' { // str.center puts an odd rest elsewhere than format does
		rest := max(s.width-int64(runeLen(sign+body)), 0)
		return pad(r, pad(r, sign+body, s.width-rest+rest/2, s.fill, '>'), s.width, s.fill, '<')
	}
	return pad(r, sign+body, s.width, s.fill, align)
}

func (s formatSpec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case s.sign != 0:
		return string(s.sign)
	}
	return ""
}

func (s formatSpec) integer(r *run, verb byte, b *big.Int) string {
	base, prefix := 10, ""
	switch verb {
	case 'x', 'X':
		base, prefix = 16, "0"+string(verb)
	case 'o':
		base, prefix = 8, "0o"
	case 'b':
		base, prefix = 2, "0b"
	}
	body := new(big.Int).Abs(b).Text(base)
	if verb == 'X' {
		body = strings.ToUpper(body)
	}
	if s.precision > 0 {
		body = pad(r, body, s.precision, "0", '>')
	}
	sign := s.signOf(b.Sign() < 0)
	if s.alternate {
		sign += prefix
	}
	return s.pad(r, sign, s.group(body), '>')
}

func (s formatSpec) float(r *run, verb byte, f float64) string {
	precision := int(s.precision)
	if precision < 0 {
		precision = 6
	}
	if precision > 10000 {
		fail("precision too big")
	}
	var body string
	a := math.Abs(f)
	switch {
	case math.IsNaN(f):
		body = "nan"
	case math.IsInf(f, 0):
		body = "inf"
	case verb == 'g' || verb == 'G':
		body = general(a, max(precision, 1), s.alternate)
	default:
		body = strconv.FormatFloat(a, verb|0x20, precision, 64)
	}
	if verb < 'a' {
		body = strings.ToUpper(body)
	}
	return s.pad(r, s.signOf(math.Signbit(f) && !math.IsNaN(f)), s.group(body), '>')
}

// general is C's %g: precision significant digits, without trailing zeros unless alternate.
func general(a float64, precision int, alternate bool) string {
	e := strconv.FormatFloat(a, 'e', precision-1, 64)
	at := strings.IndexByte(e, 'e')
	exponent, _ := strconv.Atoi(e[at+1:])
	mantissa, suffix := e[:at], e[at:]
	if exponent >= -4 && exponent < precision {
		mantissa, suffix = strconv.FormatFloat(a, 'f', precision-1-exponent, 64), ""
	}
	if !alternate && strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	return mantissa + suffix
}

// group puts the separator between thousands.
func (s formatSpec) group(body string) string {
	if s.grouping == "" {
		return body
	}
	whole, rest := body, ""
	if i := strings.IndexAny(body, ".e"); i >= 0 {
		whole, rest = body[:i], body[i:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + s.grouping + whole[i:]
	}
	return whole + rest
}

// format is str.format as the sandbox does it: fields may go on with .name and [key].
func (r *run) format(format string, args []Value, named *Dict) string {
	w := &writer{run: r}
	auto := 0
	for format != "" {
		i := strings.IndexAny(format, "{}")
		if i < 0 {
			w.add(format)
			break
		}
		w.add(format[:i])
		if strings.HasPrefix(format[i:], "{{") || strings.HasPrefix(format[i:], "}}") {
			w.add(format[i : i+1])
			format = format[i+2:]
			continue
		}
		if format[i] == '}' {
			fail("Single '}' encountered in format string")
		}
		field, rest := formatField(format[i+1:])
		format = rest
		field, specText, _ := strings.Cut(field, ":")
		field, conversion, _ := strings.Cut(field, "!")
		for strings.Contains(specText, "{") {
			before, after, _ := strings.Cut(specText, "{")
			inner, after := formatField(after)
			specText = before + r.str(r.formatValue(inner, args, named, &auto)) + after
		}
		v := r.formatValue(field, args, named, &auto)
		switch conversion {
		case "r", "a":
			v = r.repr(v)
		case "s":
			v = r.str(v)
		case "":
		default:
			fail("Unknown conversion specifier %s", conversion)
		}
		w.add(r.formatted(v, specText))
	}
	return w.b.String()
}

func formatField(s string) (field, rest string) {
	depth := 1
	for i, c := range s {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[:i], s[i+1:]
			}
		}
	}
	fail("expected '}' before end of string")
	return "", ""
}

func (r *run) formatValue(field string, args []Value, named *Dict, auto *int) Value {
	n := strings.IndexAny(field, ".[")
	if n < 0 {
		n = len(field)
	}
	first, rest := field[:n], field[n:]
	if first == "" {
		first = strconv.Itoa(*auto)
		*auto++
	}
	var v Value
	if i, err := strconv.Atoi(first); err == nil {
		if i >= len(args) {
			fail("Replacement index %d out of range for positional args tuple", i)
		}
		v = args[i]
	} else {
		var ok bool
		if v, ok = named.get(first); !ok {
			fail("%s", quote(first))
		}
	}
	for rest != "" {
		if rest[0] == '[' {
			key, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				fail("Missing ']' in format string")
			}
			rest = after
			if i, err := strconv.Atoi(key); err == nil {
				v = r.item(v, int64(i))
			} else {
				v = r.item(v, key)
			}
			continue
		}
		rest = rest[1:]
		n := strings.IndexAny(rest, ".[")
		if n < 0 {
			n = len(rest)
		}
		v, rest = r.attr(v, rest[:n]), rest[n:]
	}
	return v
}

// formatted is Python's format(v, spec).
func (r *run) formatted(v Value, text string) string {
	if text == "" {
		return r.str(v)
	}
	s := parseSpec(text)
	switch v := v.(type) {
	case string:
		if s.verb != 0 && s.verb != 's' || s.sign != 0 || s.align == '=' && s.fill != "0" {
			fail("Invalid format specifier '%s' for object of type 'str'", text)
		}
		if s.align == '=' {
			s.align = '<'
		}
		return s.text(r, v)
	case bool, int64, *big.Int:
		if b, ok := v.(bool); ok && s.verb == 0 {
			return s.text(r, r.str(b))
		}
		b, _ := toBig(v)
		switch s.verb {
		case 0, 'd', 'n', 'x', 'X', 'o', 'b':
			return s.integer(r, s.verb, b)
		case 'c':
			return s.text(r, string(rune(b.Int64())))
		}
		f, _ := toFloat(v)
		return s.floatSpec(r, f, text)
	case float64:
		return s.floatSpec(r, v, text)
	}
	needDefined(v)
	fail("unsupported format string passed to %s.__format__", typeName(v))
	return ""
}

func (s formatSpec) floatSpec(r *run, f float64, text string) string {
	switch s.verb {
	case 0:
		if s.precision < 0 {
			return s.pad(r, s.signOf(math.Signbit(f)), s.group(formatFloat(math.Abs(f))), '>')
		}
		body := general(math.Abs(f), int(max(s.precision, 1)), s.alternate)
		if !strings.ContainsAny(body, ".e") {
			body += ".0"
		}
		return s.pad(r, s.signOf(math.Signbit(f)), s.group(body), '>')
	case 'e', 'E', 'f', 'F', 'g', 'G':
		return s.float(r, s.verb, f)
	case '%':
		s.verb = 'f'
		if s.precision < 0 {
			s.precision = 6
		}
		body := strconv.FormatFloat(math.Abs(f*100), 'f', int(min(s.precision, 10000)), 64) + "%"
		return s.pad(r, s.signOf(math.Signbit(f)), body, '>')
	}
	fail("Unknown format code in '%s' for object of type 'float'", text)
	return ""
}

// parseSpec reads [[fill]align][sign][#][0][width][grouping][.precision][type].
func parseSpec(text string) formatSpec {
	s := formatSpec{fill: " ", precision: -1}
	rest := text
	_, n := utf8.DecodeRuneInString(rest)
	switch {
	case len(rest) > n && strings.IndexByte("<>^=", rest[n]) >= 0:
		s.fill, s.align, rest = rest[:n], rest[n], rest[n+1:]
	case strings.IndexByte("<>^=", rest[0]) >= 0:
		s.align, rest = rest[0], rest[1:]
	}
	if rest != "" && strings.IndexByte("+- ", rest[0]) >= 0 {
		if rest[0] != '-' {
			s.sign = rest[0]
		}
		rest = rest[1:]
	}
	if strings.HasPrefix(rest, "#") {
		s.alternate, rest = true, rest[1:]
	}
	if strings.HasPrefix(rest, "0") {
		rest = rest[1:]
		if s.align == 0 {
			s.fill, s.align = "0", '='
		}
	}
	s.width, rest = starOrNumber(rest, nil)
	if rest != "" && (rest[0] == ',' || rest[0] == '_') {
		s.grouping, rest = rest[:1], rest[1:]
	}
	if strings.HasPrefix(rest, ".") {
		s.precision, rest = starOrNumber(rest[1:], nil)
	}
	if rest != "" {
		s.verb, rest = rest[0], rest[1:]
	}
	if rest != "" {
		fail("Invalid format specifier '%s'", text)
	}
	return s
}
