package sqlite

import (
	"slices"
	"strings"
)

// Result is the rows of a query.
type Result struct {
	columns int
	rows    [][]string // a cell as DB.value writes it
	ordered bool       // the query says in which order
}

// Equal says whether got has the rows of r: in their order where r's query says one, else in any. Names of columns do not
// matter, their order does.
func (r *Result) Equal(got *Result) bool {
	if r.columns != got.columns || len(r.rows) != len(got.rows) {
		return false
	}
	a, b := r.rows, got.rows
	if !r.ordered {
		a, b = slices.SortedFunc(slices.Values(a), slices.Compare), slices.SortedFunc(slices.Values(b), slices.Compare)
	}
	return slices.EqualFunc(a, b, slices.Equal)
}

// ordered says whether a query has an ORDER BY of its own, as against one of a subquery, a common table expression or a
// window, all of which stand in parentheses.
func ordered(query string) bool {
	depth := 0
	before := ""
	for query != "" {
		token := next(query)
		query = query[len(token):]
		switch word := strings.ToUpper(token); {
		case word == "(":
			depth++
		case word == ")":
			depth--
		case depth == 0 && before == "ORDER" && word == "BY":
			return true
		case skipped(word):
			continue // not between the two words
		}
		before = strings.ToUpper(token)
	}
	return false
}

func skipped(token string) bool {
	return strings.TrimSpace(token) == "" || strings.HasPrefix(token, "--") || strings.HasPrefix(token, "/*")
}

// next is the first token of a query: a quoted text, a comment, a word, white space, or a character.
func next(query string) string {
	until := func(end string, from int) string {
		if i := strings.Index(query[from:], end); i >= 0 {
			return query[:from+i+len(end)]
		}
		return query
	}
	run := func(in func(byte) bool) string {
		n := 1
		for n < len(query) && in(query[n]) {
			n++
		}
		return query[:n]
	}
	switch c := query[0]; {
	case c == '\'', c == '"', c == '`': // a doubled quote within it makes two tokens of one: no matter here
		return until(query[:1], 1)
	case c == '[':
		return until("]", 1)
	case strings.HasPrefix(query, "--"):
		return until("\n", 2)
	case strings.HasPrefix(query, "/*"):
		return until("*/", 2)
	case space(c):
		return run(space)
	case word(c):
		return run(word)
	}
	return query[:1]
}

func space(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func word(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
