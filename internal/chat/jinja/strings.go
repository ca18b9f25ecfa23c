package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// stringMethods are those of Python's str. The first argument is the string.
var stringMethods = map[string]*builtin{}

func stringMethod(name string, params []string, required int, f func(r *run, s string, a []Value) Value) {
	stringMethods[name] = &builtin{name: name, params: params, required: required, fn: func(r *run, a []Value) Value {
		s := a[0].(string)
		r.tick(1 + len(s)/16)
		return f(r, s, a[1:])
	}}
}

func init() {
	plain := func(name string, f func(s string) string) {
		stringMethod(name, nil, 0, func(r *run, s string, a []Value) Value {
			r.grow(len(s))
			return f(s)
		})
	}
	plain("upper", upper)
	plain("lower", lower)
	plain("capitalize", capitalize)
	plain("title", title)
	plain("swapcase", swapcase)
	plain("casefold", func(s string) string { return cases.Fold().String(s) })

	test := func(name string, f func(s string) bool) {
		stringMethod(name, nil, 0, func(r *run, s string, a []Value) Value { return f(s) })
	}
	each := func(is func(rune) bool) func(string) bool {
		return func(s string) bool {
			return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !is(c) })
		}
	}
	test("isspace", each(isSpace))
	test("isalpha", each(unicode.IsLetter))
	test("isalnum", each(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }))
	test("isdigit", each(isUnicodeDigit))
	test("isdecimal", each(unicode.IsDigit))
	test("isnumeric", each(unicode.IsNumber))
	test("isascii", func(s string) bool { return runeLen(s) == len(s) })
	test("isprintable", func(s string) bool { return s == "" || each(unicode.IsPrint)(s) })
	test("islower", func(s string) bool { return isCased(s, unicode.IsLower, unicode.IsUpper) })
	test("isupper", func(s string) bool { return isCased(s, unicode.IsUpper, unicode.IsLower) })
	test("istitle", func(s string) bool { return title(s) == s && strings.ContainsFunc(s, isCasedRune) })
	test("isidentifier", func(s string) bool {
		first, _ := utf8.DecodeRuneInString(s)
		return s != "" && !unicode.IsDigit(first) && each(func(c rune) bool {
			return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.Is(unicode.M, c)
		})(s)
	})

	for name, sides := range map[string][2]bool{"strip": {true, true}, "lstrip": {true, false}, "rstrip": {false, true}} {
		stringMethod(name, []string{"chars"}, 0, func(r *run, s string, a []Value) Value {
			return strip(s, or(a[0], nil), sides[0], sides[1])
		})
	}
	stringMethod("startswith", []string{"prefix", "start", "end"}, 1, func(r *run, s string, a []Value) Value {
		return affix(r, s, a, strings.HasPrefix)
	})
	stringMethod("endswith", []string{"suffix", "start", "end"}, 1, func(r *run, s string, a []Value) Value {
		return affix(r, s, a, strings.HasSuffix)
	})
	for _, name := range []string{"find", "index", "rfind", "rindex"} {
		find := strings.Index
		if name[0] == 'r' {
			find = strings.LastIndex
		}
		stringMethod(name, []string{"sub", "start", "end"}, 1, func(r *run, s string, a []Value) Value {
			part, offset, ok := window(r, s, a[1], a[2])
			at := -1
			if ok {
				at = find(part, needString(a[0]))
			}
			if at >= 0 {
				return int64(offset + runeLen(part[:at]))
			}
			if strings.HasSuffix(name, "index") {
				fail("substring not found")
			}
			return int64(-1)
		})
	}
	stringMethod("count", []string{"sub", "start", "end"}, 1, func(r *run, s string, a []Value) Value {
		part, _, ok := window(r, s, a[1], a[2])
		if !ok {
			return int64(0)
		}
		return int64(strings.Count(part, needString(a[0])))
	})
	stringMethod("replace", []string{"old", "new", "count"}, 2, func(r *run, s string, a []Value) Value {
		return replace(r, s, needString(a[0]), needString(a[1]), needInt(or(a[2], int64(-1))))
	})
	stringMethod("join", []string{"iterable"}, 1, func(r *run, s string, a []Value) Value {
		var parts []string
		for _, item := range r.items(a[0]) {
			parts = append(parts, needString(item))
		}
		return joined(r, parts, s)
	})
	stringMethod("split", []string{"sep", "maxsplit"}, 0, func(r *run, s string, a []Value) Value {
		return split(r, s, or(a[0], nil), needInt(or(a[1], int64(-1))), false)
	})
	stringMethod("rsplit", []string{"sep", "maxsplit"}, 0, func(r *run, s string, a []Value) Value {
		return split(r, s, or(a[0], nil), needInt(or(a[1], int64(-1))), true)
	})
	stringMethod("splitlines", []string{"keepends"}, 0, func(r *run, s string, a []Value) Value {
		return stringList(r, splitLines(s, truth(or(a[0], false))))
	})
	stringMethod("partition", []string{"sep"}, 1, func(r *run, s string, a []Value) Value {
		sep := needSeparator(a[0])
		if before, after, ok := strings.Cut(s, sep); ok {
			return &Tuple{Items: []Value{before, sep, after}}
		}
		return &Tuple{Items: []Value{s, "", ""}}
	})
	stringMethod("rpartition", []string{"sep"}, 1, func(r *run, s string, a []Value) Value {
		sep := needSeparator(a[0])
		if i := strings.LastIndex(s, sep); i >= 0 {
			return &Tuple{Items: []Value{s[:i], sep, s[i+len(sep):]}}
		}
		return &Tuple{Items: []Value{"", "", s}}
	})
	stringMethod("removeprefix", []string{"prefix"}, 1, func(r *run, s string, a []Value) Value {
		return strings.TrimPrefix(s, needString(a[0]))
	})
	stringMethod("removesuffix", []string{"suffix"}, 1, func(r *run, s string, a []Value) Value {
		return strings.TrimSuffix(s, needString(a[0]))
	})
	for name, align := range map[string]byte{"ljust": '<', "rjust": '>', "center": '^'} {
		stringMethod(name, []string{"width", "fillchar"}, 1, func(r *run, s string, a []Value) Value {
			fill := needString(or(a[1], " "))
			if runeLen(fill) != 1 {
				fail("The fill character must be exactly one character long")
			}
			return pad(r, s, needInt(a[0]), fill, align)
		})
	}
	stringMethod("zfill", []string{"width"}, 1, func(r *run, s string, a []Value) Value {
		sign := ""
		if s != "" && (s[0] == '-' || s[0] == '+') {
			sign, s = s[:1], s[1:]
		}
		return sign + pad(r, s, needInt(a[0])-int64(len(sign)), "0", '>')
	})
	stringMethod("expandtabs", []string{"tabsize"}, 0, func(r *run, s string, a []Value) Value {
		return expandTabs(r, s, needInt(or(a[0], int64(8))))
	})
	stringMethods["format"] = &builtin{name: "format", raw: func(r *run, args []Value, kwargs []keyword) Value {
		named := NewDict()
		for _, k := range kwargs {
			named.Set(k.name, k.value)
		}
		return r.format(args[0].(string), args[1:], named)
	}}
	stringMethod("format_map", []string{"mapping"}, 1, func(r *run, s string, a []Value) Value {
		d, ok := a[0].(*Dict)
		if !ok {
			fail("format_map() argument must be a dict, not %s", typeName(a[0]))
		}
		return r.format(s, nil, d)
	})
	for _, name := range []string{"encode", "maketrans", "translate"} {
		stringMethods[name] = &builtin{name: name, raw: func(*run, []Value, []keyword) Value {
			fail("str.%s is not supported", name)
			return nil
		}}
	}
}

func upper(s string) string { return cases.Upper(language.Und).String(s) }
func lower(s string) string { return cases.Lower(language.Und).String(s) }

func capitalize(s string) string {
	if s == "" {
		return s
	}
	_, n := utf8.DecodeRuneInString(s)
	return titleRune(s[:n]) + lower(s[n:])
}

// titleRune is the title case of one character: ǆ gives ǅ, ß gives Ss.
func titleRune(c string) string { return cases.Title(language.Und, cases.NoLower).String(c) }

// title is Python's str.title: a letter after anything but a letter begins a word.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, c := range s {
		switch {
		case inWord:
			b.WriteString(lower(string(c)))
		default:
			b.WriteString(titleRune(string(c)))
		}
		inWord = isCasedRune(c)
	}
	return b.String()
}

func swapcase(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case unicode.IsUpper(c):
			b.WriteString(lower(string(c)))
		case unicode.IsLower(c):
			b.WriteString(upper(string(c)))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func isCasedRune(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c) }

// isUnicodeDigit holds for decimal digits, superscripts and the like.
func isUnicodeDigit(c rune) bool {
	return unicode.IsDigit(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 || c >= 0x2070 && c <= 0x2089 && unicode.Is(unicode.No, c)
}

func strip(s string, chars Value, left, right bool) string {
	is := isSpace
	if chars != nil {
		set := needString(chars)
		is = func(c rune) bool { return strings.ContainsRune(set, c) }
	}
	if left {
		s = strings.TrimLeftFunc(s, is)
	}
	if right {
		s = strings.TrimRightFunc(s, is)
	}
	return s
}

// window is s[start:end] and the characters before it; false where start lies behind the end of s.
func window(r *run, s string, start, end Value) (string, int, bool) {
	if or(start, nil) == nil && or(end, nil) == nil {
		return s, 0, true
	}
	n := runeLen(s)
	from, to, _ := bounds([3]Value{optionalInt(start), optionalInt(end)}, n)
	if i, ok := toInt(or(start, nil)); ok && i > int64(n) || from > to {
		return "", 0, false
	}
	return r.slice(s, [3]Value{int64(from), int64(to)}).(string), from, true
}

func optionalInt(v Value) Value {
	if v = or(v, nil); v == nil {
		return nil
	}
	return needInt(v)
}

func affix(r *run, s string, a []Value, has func(s, affix string) bool) Value {
	part, _, ok := window(r, s, a[1], a[2])
	options := []Value{a[0]}
	if t, isTuple := a[0].(*Tuple); isTuple {
		options = t.Items
	}
	for _, o := range options {
		if _, isString := o.(string); !isString {
			needDefined(o)
			fail("startswith first arg must be str or a tuple of str, not %s", typeName(o))
		}
		if ok && has(part, o.(string)) {
			return true
		}
	}
	return false
}

func replace(r *run, s, from, to string, count int64) string {
	n := strings.Count(s, from)
	if count >= 0 && int64(n) > count {
		n = int(count)
	}
	if n == 0 {
		return s
	}
	if grown := len(to) - len(from); grown > 0 && n > r.limits.Output/grown {
		r.tooLong()
	}
	r.grow(len(s) + n*(len(to)-len(from)))
	return strings.Replace(s, from, to, n)
}

func joined(r *run, parts []string, sep string) string {
	n := 0
	for i, p := range parts {
		n += len(p)
		if i > 0 {
			n += len(sep)
		}
		if n > r.limits.Output {
			r.tooLong()
		}
	}
	r.grow(n)
	return join(parts, sep, n)
}

func stringList(r *run, parts []string) *List {
	items := make([]Value, len(parts))
	n := 0
	for i, p := range parts {
		items[i] = p
		n += 16 + len(p)
	}
	r.grow(n)
	return &List{Items: items}
}

func needSeparator(v Value) string {
	sep := needString(v)
	if sep == "" {
		fail("empty separator")
	}
	return sep
}

// split is str.split and, from the right, str.rsplit.
func split(r *run, s string, sep Value, limit int64, right bool) Value {
	if sep == nil {
		return stringList(r, splitSpace(s, limit, right))
	}
	by := needSeparator(sep)
	if limit < 0 {
		return stringList(r, strings.Split(s, by))
	}
	var parts []string
	for ; limit > 0; limit-- {
		i := strings.Index(s, by)
		if right {
			i = strings.LastIndex(s, by)
		}
		if i < 0 {
			break
		}
		if right {
			parts = append(parts, s[i+len(by):])
			s = s[:i]
		} else {
			parts = append(parts, s[:i])
			s = s[i+len(by):]
		}
	}
	parts = append(parts, s)
	if right {
		reverse(parts)
	}
	return stringList(r, parts)
}

// splitSpace splits at runs of white space, none of which is in the parts.
func splitSpace(s string, limit int64, right bool) []string {
	var parts []string
	for {
		if right {
			s = trimRightSpace(s)
		} else {
			s = trimLeftSpace(s)
		}
		if s == "" {
			break
		}
		if limit == 0 {
			// Python keeps the white space at the far end of what is left: "a b ".split(None, 1) is ["a", "b "].
			parts = append(parts, s)
			break
		}
		limit--
		i := strings.IndexFunc(s, isSpace)
		if right {
			i = strings.LastIndexFunc(s, isSpace)
		}
		switch {
		case i < 0:
			parts, s = append(parts, s), ""
		case right:
			_, n := utf8.DecodeRuneInString(s[i:])
			parts, s = append(parts, s[i+n:]), s[:i]
		default:
			parts, s = append(parts, s[:i]), s[i:]
		}
	}
	if right {
		reverse(parts)
	}
	return parts
}

func reverse[T any](items []T) {
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
}

// splitLines cuts at each of the line ends that Python knows.
func splitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		i := strings.IndexFunc(s, func(c rune) bool {
			return c >= '\n' && c <= '\r' || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
		})
		if i < 0 {
			return append(lines, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep {
			lines = append(lines, s[:i+n])
		} else {
			lines = append(lines, s[:i])
		}
		s = s[i+n:]
	}
	return lines
}

// pad fills s up to width characters; align is <, > or ^ with Python's choice of side for an odd rest.
func pad(r *run, s string, width int64, fill string, align byte) string {
	missing := width - int64(runeLen(s))
	if missing <= 0 {
		return s
	}
	if missing > int64(r.limits.Output/len(fill)) {
		r.tooLong()
	}
	r.grow(len(s) + int(missing)*len(fill))
	left := 0
	switch align {
	case '>':
		left = int(missing)
	case '^':
		left = int(missing/2 + missing&width&1)
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, int(missing)-left)
}

func expandTabs(r *run, s string, size int64) string {
	if size > 1000 {
		fail("tab size of %d", size)
	}
	var b strings.Builder
	column := int64(0)
	for _, c := range s {
		switch c {
		case '\t':
			if size > 0 {
				n := size - column%size
				r.grow(int(n))
				b.WriteString(strings.Repeat(" ", int(n)))
				column += n
			}
			continue
		case '\n', '\r':
			column = -1
		}
		column++
		b.WriteRune(c)
	}
	return b.String()
}
