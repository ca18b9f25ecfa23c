package grade

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// A figure is a number as it was written: its value, and its digits where it is an integer, since those of more than
// fifteen digits are compared as text.
type figure struct {
	value   float64
	integer string // canonical digits with sign; empty where it is no integer
}

// tolerance is the share of the larger number by which two numbers that are not both integers may differ and be the
// same: 0.333333 is 1/3. Integers are compared exactly.
const tolerance = 1e-6

func equal(a, b figure) bool {
	if a.integer != "" && b.integer != "" {
		return a.integer == b.integer
	}
	return math.Abs(a.value-b.value) <= tolerance*math.Max(math.Abs(a.value), math.Abs(b.value))
}

// A number: digits, in threes between commas or not, with a decimal part or only that, and an exponent. A second one
// after a slash makes a fraction.
var (
	digits   = `(?:\d{1,3}(?:,\d{3})+|\d+)`
	decimal  = `(?:` + digits + `(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?`
	numbers  = regexp.MustCompile(`(` + decimal + `)(?:\s*/\s*(` + decimal + `))?`)
	fraction = regexp.MustCompile(`\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}`)
	spacing  = strings.NewReplacer(`\,`, "", `\!`, "", `\;`, " ", `\ `, " ", "{,}", ",", "−", "-", "–", "-", `\$`, "$", `\%`, "%")
)

// findNumber returns the number in the text's last \boxed{…}, or where there is none the last number of the text.
// Currency and percent signs and units do not count: 50% and $50 are 50.
func findNumber(s string) (figure, bool) {
	if inner, ok := boxed(s); ok {
		return lastNumber(inner)
	}
	return lastNumber(s)
}

// boxed returns what stands in the last \boxed{…}, braces within it balanced. One that is never closed, as where the
// completion was cut off, does not count.
func boxed(s string) (string, bool) {
	for _, command := range []string{`\boxed`, `\fbox`} {
		end := len(s)
		for {
			i := strings.LastIndex(s[:end], command)
			if i < 0 {
				break
			}
			rest := strings.TrimLeft(s[i+len(command):], " ")
			if inner, ok := braced(rest); ok {
				return inner, true
			}
			end = i
		}
	}
	return "", false
}

// braced returns what stands between the brace that s begins with and its partner.
func braced(s string) (string, bool) {
	if !strings.HasPrefix(s, "{") {
		return "", false
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++ // \{ and \} are text
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[1:i], true
			}
		}
	}
	return "", false
}

func lastNumber(s string) (figure, bool) {
	s = spacing.Replace(s)
	s = fraction.ReplaceAllString(s, "$1/$2")
	all := numbers.FindAllStringSubmatchIndex(s, -1)
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		f, ok := parse(s[m[2]:m[3]])
		if !ok {
			continue
		}
		if m[4] >= 0 {
			if d, ok := parse(s[m[4]:m[5]]); ok && d.value != 0 {
				f = figure{value: f.value / d.value}
				if math.Abs(f.value) < 1e15 && f.value == math.Trunc(f.value) {
					f.integer = strconv.FormatFloat(f.value, 'f', 0, 64)
				}
			}
		}
		if negative(s[:m[0]]) {
			f.value = -f.value
			if f.integer != "" && f.integer != "0" {
				f.integer = "-" + f.integer
			}
		}
		return f, true
	}
	return figure{}, false
}

// negative reports whether a minus sign before the number is its own. It is an operator or a dash where it touches or
// follows a figure, touches a word, or stands apart from the number between words. A currency sign may follow it.
func negative(before string) bool {
	before = strings.TrimRight(before, "$€£")
	rest, ok := strings.CutSuffix(strings.TrimRight(before, " "), "-")
	if !ok {
		return false
	}
	apart := strings.HasSuffix(before, " ")
	touched := strings.TrimRight(rest, " ")
	if touched == "" {
		return true
	}
	switch c := touched[len(touched)-1]; {
	case c >= '0' && c <= '9', strings.IndexByte(")]}-", c) >= 0:
		return false
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return len(touched) < len(rest) && !apart
	}
	return true
}

func parse(s string) (figure, bool) {
	s = strings.ReplaceAll(s, ",", "")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return figure{}, false // beyond float64
	}
	f := figure{value: v}
	whole, decimals, _ := strings.Cut(s, ".")
	if !strings.ContainsAny(s, "eE") && strings.Trim(decimals, "0") == "" {
		if f.integer = strings.TrimLeft(whole, "0"); f.integer == "" {
			f.integer = "0"
		}
	}
	return f, true
}
