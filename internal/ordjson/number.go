package ordjson

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Float spells f as Python's repr does: shortest text that reads back, at least one decimal, an exponent below 1e-4
// and from 1e16. It panics where f is not finite.
func Float(f float64) Number {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		panic("ordjson: JSON has no word for a number that is not finite")
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		s := strconv.FormatFloat(f, 'e', -1, 64) // Go and Python both write two digits of exponent at least
		return Number(s)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return Number(s)
}

// Int spells i.
func Int(i int64) Number { return Number(strconv.FormatInt(i, 10)) }

// IsInt reports whether n is spelled as an integer, which Python reads as int and not as float.
func IsInt(n Number) bool { return !strings.ContainsAny(string(n), ".eE") }

// Canonical spells n as Python writes it back after reading it. It refuses what overflows a float64.
func Canonical(n Number) (Number, error) {
	if IsInt(n) {
		if n == "-0" {
			return "0", nil
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return "", fmt.Errorf("number %.40s is out of range", n)
	}
	return Float(f), nil
}

// Normalize spells every number of v by Canonical, in place where v is a list or an object, and returns v.
func Normalize(v Value) (Value, error) {
	switch v := v.(type) {
	case Number:
		return Canonical(v)
	case []Value:
		for i, e := range v {
			e, err := Normalize(e)
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case *Object:
		for i, m := range v.members {
			e, err := Normalize(m.Value)
			if err != nil {
				return nil, err
			}
			v.members[i].Value = e
		}
	}
	return v, nil
}
