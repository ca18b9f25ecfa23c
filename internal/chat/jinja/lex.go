package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A token's kind is one of these; operators and brackets are their own text, for example "==" or "(".
const (
	tokenEOF      = "end of template"
	tokenData     = "data"
	tokenBlock    = "{%"
	tokenBlockEnd = "%}"
	tokenVar      = "{{"
	tokenVarEnd   = "}}"
	tokenName     = "name"
	tokenString   = "string"
	tokenNumber   = "number" // value: int64, *big.Int or float64
)

type token struct {
	kind  string
	text  string
	value Value
	line  int
}

// lexer cuts a source into tokens by Jinja's rules with trim_blocks and lstrip_blocks:
// the newline after a block or comment goes, and so do the blanks between a line's start and a block or comment.
type lexer struct {
	src          string
	pos          int
	line         int
	lineStarting bool // the token before ended a line
	tokens       []token
}

func lex(source string) []token {
	source = normalizeNewlines(source)
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1, lineStarting: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(tokenEOF, "")
	return l.tokens
}

func normalizeNewlines(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{Line: l.line, Message: fmt.Sprintf(format, args...), Syntax: true})
}

func (l *lexer) emit(kind, text string) {
	l.tokens = append(l.tokens, token{kind: kind, text: text, line: l.line})
}

// take moves over n bytes, counting lines.
func (l *lexer) take(n int) {
	s := l.src[l.pos : l.pos+n]
	l.line += strings.Count(s, "\n")
	l.pos += n
	if n > 0 {
		l.lineStarting = s[n-1] == '\n'
	}
}

func (l *lexer) takeSpace() { l.take(len(l.src[l.pos:]) - len(trimLeftSpace(l.src[l.pos:]))) }

func (l *lexer) has(s string) bool { return strings.HasPrefix(l.src[l.pos:], s) }

// root reads text up to the next tag, and that tag.
func (l *lexer) root() {
	rest := l.src[l.pos:]
	at := 0
	for {
		i := strings.IndexByte(rest[at:], '{')
		if i < 0 || at+i+1 >= len(rest) {
			l.data(rest, len(rest))
			return
		}
		at += i
		if c := rest[at+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		at++
	}
	kind := rest[at : at+2]
	sign := byte(0)
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	l.data(l.strip(rest[:at], kind, sign), at)
	if kind == "{%" && l.raw() {
		return
	}
	l.emit(kind, "")
	l.take(2)
	if sign != 0 {
		l.take(1)
	}
	switch kind {
	case "{#":
		l.tokens = l.tokens[:len(l.tokens)-1]
		l.comment()
	case tokenBlock:
		l.code(tokenBlockEnd)
	default:
		l.code(tokenVarEnd)
	}
}

// data emits text for the n source bytes that it comes from.
func (l *lexer) data(text string, n int) {
	if text != "" {
		l.emit(tokenData, text)
	}
	l.take(n)
}

// strip applies the whitespace control of a tag to the text before it.
func (l *lexer) strip(text, kind string, sign byte) string {
	if sign == '-' {
		return trimRightSpace(text)
	}
	if sign == '+' || kind == tokenVar {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStarting) && start < len(text) && trimLeftSpace(text[start:]) == "" {
		return text[:start]
	}
	return text
}

// raw reads {% raw %} … {% endraw %} where it stands at one, and reports whether it does.
func (l *lexer) raw() bool {
	n, _, ok := tagLength(l.src[l.pos:], "raw", false)
	if !ok {
		return false
	}
	l.take(n)
	rest := l.src[l.pos:]
	for at := 0; ; {
		i := strings.Index(rest[at:], "{%")
		if i < 0 {
			l.fail("Missing end of raw directive")
		}
		at += i
		n, sign, ok := tagLength(rest[at:], "endraw", true)
		if !ok {
			at++
			continue
		}
		l.data(l.strip(rest[:at], tokenBlock, sign), at+n)
		return true
	}
}

// tagLength matches {% name %} at the start of s and gives its length with the whitespace that its end takes.
func tagLength(s, name string, trimNewline bool) (n int, sign byte, ok bool) {
	rest := s[2:]
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		sign, rest = rest[0], rest[1:]
	}
	rest = trimLeftSpace(rest)
	if !strings.HasPrefix(rest, name) {
		return 0, 0, false
	}
	rest = trimLeftSpace(rest[len(name):])
	switch {
	case strings.HasPrefix(rest, "-%}"):
		rest = trimLeftSpace(rest[3:])
	case trimNewline && strings.HasPrefix(rest, "+%}"):
		rest = rest[3:]
	case strings.HasPrefix(rest, "%}"):
		rest = rest[2:]
		if trimNewline {
			rest = strings.TrimPrefix(rest, "\n")
		}
	default:
		return 0, 0, false
	}
	return len(s) - len(rest), sign, true
}

func (l *lexer) comment() {
	i := strings.Index(l.src[l.pos:], "#}")
	if l.pos == len(l.src) {
		return // Jinja lets a comment that begins at the very end pass
	}
	if i < 0 {
		l.fail("Missing end of comment tag")
	}
	sign := byte(0)
	if i > 0 {
		sign = l.src[l.pos+i-1]
	}
	l.take(i + 2)
	switch {
	case sign == '-':
		l.takeSpace()
	case sign != '+' && l.has("\n"):
		l.take(1)
	}
}

// code reads the inside of a block or variable tag up to its end.
func (l *lexer) code(end string) {
	var open []byte // closing brackets that are awaited
	for {
		l.takeSpace()
		if l.pos >= len(l.src) {
			return // the parser meets the end of the template
		}
		if len(open) == 0 && l.codeEnd(end) {
			return
		}
		c := l.src[l.pos]
		switch {
		case c >= '0' && c <= '9':
			l.number()
		case c == '\'' || c == '"':
			l.string(c)
		case c == '_' || c >= 0x80 || unicode.IsLetter(rune(c)):
			l.name()
		default:
			open = l.operator(open)
		}
	}
}

func (l *lexer) codeEnd(end string) bool {
	sign := byte(0)
	if c := l.src[l.pos]; (c == '-' || c == '+' && end == tokenBlockEnd) && strings.HasPrefix(l.src[l.pos+1:], end) {
		sign = c
	} else if !l.has(end) {
		return false
	}
	l.emit(end, "")
	if sign != 0 {
		l.take(1)
	}
	l.take(2)
	switch {
	case sign == '-':
		l.takeSpace()
	case sign == 0 && end == tokenBlockEnd && l.has("\n"):
		l.take(1)
	}
	return true
}

var operators = []string{"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

func (l *lexer) operator(open []byte) []byte {
	for _, op := range operators {
		if !l.has(op) {
			continue
		}
		switch c := op[0]; c {
		case '(':
			open = append(open, ')')
		case '[':
			open = append(open, ']')
		case '{':
			open = append(open, '}')
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != c {
				l.fail("unexpected '%s'", op)
			}
			open = open[:len(open)-1]
		}
		l.emit(op, op)
		l.take(len(op))
		return open
	}
	r, _ := utf8.DecodeRuneInString(l.src[l.pos:])
	l.fail("unexpected char %s", quote(string(r)))
	return nil
}

func (l *lexer) name() {
	n := 0
	for _, r := range l.src[l.pos:] {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r) && !unicode.Is(unicode.Nl, r) {
			break
		}
		n += utf8.RuneLen(r)
	}
	if n == 0 {
		r, _ := utf8.DecodeRuneInString(l.src[l.pos:])
		l.fail("unexpected char %s", quote(string(r)))
	}
	l.emit(tokenName, l.src[l.pos:l.pos+n])
	l.take(n)
}

// number reads Python's integers and floats, underscores allowed between digits.
func (l *lexer) number() {
	s := l.src[l.pos:]
	if len(s) > 1 && s[0] == '0' && strings.ContainsRune("xXoObB", rune(s[1])) {
		n := 2
		for n < len(s) && (isHex(s[n]) || s[n] == '_') {
			n++
		}
		if b, ok := new(big.Int).SetString(s[:n], 0); ok {
			l.emitNumber(n, normalInt(b))
			return
		}
	}
	n := digits(s)
	isFloat := false
	afterDot := l.pos > 0 && l.src[l.pos-1] == '.'
	if !afterDot {
		m := n
		if m+1 < len(s) && s[m] == '.' && isDigit(s[m+1]) {
			m += 1 + digits(s[m+1:])
			isFloat, n = true, m
		}
		if m < len(s) && (s[m] == 'e' || s[m] == 'E') {
			e := m + 1
			if e < len(s) && (s[e] == '+' || s[e] == '-') {
				e++
			}
			if e < len(s) && isDigit(s[e]) {
				isFloat, n = true, e+digits(s[e:])
			}
		}
	}
	text := strings.ReplaceAll(s[:n], "_", "")
	if isFloat {
		f, _ := strconv.ParseFloat(text, 64) // out of range is infinity, as in Python
		l.emitNumber(n, f)
		return
	}
	if len(text) > 4300 {
		l.fail("Exceeds the limit (4300 digits) for integer string conversion")
	}
	if text[0] == '0' { // 0, 00 and 0_0 are zero; 07 is 0 and then 7
		n = 1
		for n < len(s) && (s[n] == '0' || s[n] == '_' && n+1 < len(s) && s[n+1] == '0') {
			n++
		}
		text = "0"
	}
	b, _ := new(big.Int).SetString(text, 10)
	l.emitNumber(n, normalInt(b))
}

func (l *lexer) emitNumber(n int, v Value) {
	l.emit(tokenNumber, l.src[l.pos:l.pos+n])
	l.tokens[len(l.tokens)-1].value = v
	l.take(n)
}

// digits is the length of the digits at the start of s.
func digits(s string) int {
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] == '_' && n > 0 && n+1 < len(s) && isDigit(s[n+1])) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func (l *lexer) string(q byte) {
	s := l.src[l.pos+1:]
	n := 0
	for n < len(s) && s[n] != q {
		if s[n] == '\\' {
			n++
		}
		n++
	}
	if n >= len(s) {
		l.fail("unexpected char %s", quote(string(q)))
	}
	l.emit(tokenString, l.unescape(s[:n]))
	l.take(n + 2)
}

// unescape is Python's unicode-escape decoding. A backslash before anything else stays.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case '\n':
		case '\\', '\'', '"':
			b.WriteByte(c)
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case 'x', 'u', 'U':
			width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+1+width > len(s) {
				l.fail("truncated \\%c escape", c)
			}
			code, err := strconv.ParseUint(s[i+1:i+1+width], 16, 32)
			if err != nil || !utf8.ValidRune(rune(code)) {
				l.fail("no character \\%c%s", c, s[i+1:i+1+width])
			}
			b.WriteRune(rune(code))
			i += width
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n, code := 0, rune(0)
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				code = code*8 + rune(s[i+n]-'0')
				n++
			}
			b.WriteRune(code)
			i += n - 1
		case 'N':
			l.fail("characters by name (\\N{…}) are not supported")
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}
