package jinja

import (
	"math"
	"math/big"
	"slices"
	"strings"
)

// maxBits bounds integers; Python has no bound but memory.
const maxBits = 1 << 16

func negate(op string, v Value) Value {
	switch v := v.(type) {
	case float64:
		if op == "-" {
			return -v
		}
		return v
	default:
		if b, ok := toBig(v); ok {
			if op == "-" {
				b = new(big.Int).Neg(b)
			}
			return normalInt(b)
		}
	}
	needDefined(v)
	fail("bad operand type for unary %s: '%s'", op, typeName(v))
	return nil
}

// binary is Python's left op right for arithmetic.
func (r *run) binary(op string, left, right Value) Value {
	a, aInt := left.(int64)
	b, bInt := right.(int64)
	if aInt && bInt {
		if v, ok := smallInts(op, a, b); ok {
			return v
		}
	}
	if v, ok := r.sequences(op, left, right); ok {
		return v
	}
	x, xInt := toBig(left)
	y, yInt := toBig(right)
	if xInt && yInt {
		return bigInts(op, x, y)
	}
	f, ok1 := toFloat(left)
	g, ok2 := toFloat(right)
	if ok1 && ok2 {
		return floats(op, f, g)
	}
	needDefined(left)
	needDefined(right)
	fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(left), typeName(right))
	return nil
}

// smallInts is exact where the result fits; false leaves it to bigInts.
func smallInts(op string, a, b int64) (Value, bool) {
	switch op {
	case "+":
		c := a + b
		return c, (c > a) == (b > 0)
	case "-":
		c := a - b
		return c, (c < a) == (b > 0)
	case "*":
		if a > -1<<31 && a < 1<<31 && b > -1<<31 && b < 1<<31 {
			return a * b, true
		}
	}
	return nil, false
}

// sequences is +, * and % where strings, lists and tuples have a meaning for them.
func (r *run) sequences(op string, left, right Value) (Value, bool) {
	switch op {
	case "%":
		if s, ok := left.(string); ok {
			return r.printf(s, right), true
		}
	case "*":
		if n, ok := toInt(right); ok {
			return r.repeat(left, n)
		}
		if n, ok := toInt(left); ok {
			return r.repeat(right, n)
		}
	case "+":
		switch a := left.(type) {
		case string:
			if b, ok := right.(string); ok {
				r.grow(len(a) + len(b))
				return a + b, true
			}
		case *List:
			if b, ok := right.(*List); ok {
				r.grow(16 * (len(a.Items) + len(b.Items)))
				return &List{Items: slices.Concat(a.Items, b.Items)}, true
			}
		case *Tuple:
			if b, ok := right.(*Tuple); ok {
				r.grow(16 * (len(a.Items) + len(b.Items)))
				return &Tuple{Items: slices.Concat(a.Items, b.Items)}, true
			}
		}
	}
	return nil, false
}

func (r *run) repeat(v Value, n int64) (Value, bool) {
	n = max(n, 0)
	sized := func(unit int) int {
		if unit > 0 && n > int64(r.limits.Output/unit) {
			r.tooLong()
		}
		r.grow(unit * int(n))
		return int(n)
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return v, true
		}
		return strings.Repeat(v, sized(len(v))), true
	case *List:
		if len(v.Items) == 0 {
			return v, true
		}
		return &List{Items: slices.Repeat(v.Items, sized(16*len(v.Items)))}, true
	case *Tuple:
		if len(v.Items) == 0 {
			return v, true
		}
		return &Tuple{Items: slices.Repeat(v.Items, sized(16*len(v.Items)))}, true
	}
	return nil, false
}

func bigInts(op string, x, y *big.Int) Value {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		if x.BitLen()+y.BitLen() > maxBits {
			fail("integer of more than %d bits", maxBits)
		}
		z.Mul(x, y)
	case "/":
		if y.Sign() == 0 {
			fail("division by zero")
		}
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			fail("integer division result too large for a float")
		}
		return f
	case "//", "%":
		if y.Sign() == 0 {
			fail("integer division or modulo by zero")
		}
		m := new(big.Int)
		z.DivMod(x, y, m) // Euclid's; Python floors
		if m.Sign() != 0 && y.Sign() < 0 {
			z.Sub(z, big.NewInt(1))
			m.Add(m, y)
		}
		if op == "%" {
			z = m
		}
	case "**":
		if y.Sign() < 0 {
			f, _ := new(big.Float).SetInt(x).Float64()
			g, _ := new(big.Float).SetInt(y).Float64()
			return floats(op, f, g)
		}
		if !y.IsInt64() && x.BitLen() > 1 || y.IsInt64() && int64(x.BitLen()) > 1 && y.Int64() > int64(maxBits/x.BitLen()) {
			fail("integer of more than %d bits", maxBits)
		}
		z.Exp(x, y, nil)
	}
	return normalInt(z)
}

func floats(op string, f, g float64) Value {
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "/":
		if g == 0 {
			fail("float division by zero")
		}
		return f / g
	case "//":
		if g == 0 {
			fail("float floor division by zero")
		}
		return math.Floor((f - floatMod(f, g)) / g)
	case "%":
		if g == 0 {
			fail("float modulo")
		}
		return floatMod(f, g)
	}
	if f == 0 && g < 0 {
		fail("0.0 cannot be raised to a negative power")
	}
	if f < 0 && g != math.Trunc(g) {
		fail("a negative number to a fractional power is complex")
	}
	p := math.Pow(f, g)
	if math.IsInf(p, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0) {
		fail("(34, 'Numerical result out of range')")
	}
	return p
}

// floatMod has the sign of g, as Python's.
func floatMod(f, g float64) float64 {
	m := math.Mod(f, g)
	if m != 0 && (m < 0) != (g < 0) {
		m += g
	}
	return m
}

func (r *run) compare(op string, left, right Value) bool {
	switch op {
	case "==":
		return r.equal(left, right)
	case "!=":
		return !r.equal(left, right)
	case "in":
		return r.contains(right, left)
	case "not in":
		return !r.contains(right, left)
	case "<":
		return r.order(op, left, right) < 0
	case "<=":
		return r.order(op, left, right) <= 0
	case ">":
		return r.order(op, left, right) > 0
	}
	return r.order(op, left, right) >= 0
}

// unordered is what order gives for NaN: no comparison but != holds.
const unordered = 2

// order compares as Python's < does: below, at or above zero.
func (r *run) order(op string, left, right Value) int {
	a, aStr := left.(string)
	b, bStr := right.(string)
	if aStr && bStr {
		r.tick(1 + min(len(a), len(b))/16)
		return strings.Compare(a, b) // UTF-8 sorts as code points do
	}
	if c, ok := numbers(left, right); ok {
		if c == unordered { // NaN: whichever way it is asked, no
			if op == "<" || op == "<=" {
				return 1
			}
			return -1
		}
		return c
	}
	x, xs := sequence(left)
	y, ys := sequence(right)
	if xs && ys && typeName(left) == typeName(right) {
		defer r.enter()()
		for i := range min(len(x), len(y)) {
			r.tick(1)
			if !r.equal(x[i], y[i]) {
				return r.order(op, x[i], y[i])
			}
		}
		return len(x) - len(y)
	}
	needDefined(left)
	needDefined(right)
	fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(left), typeName(right))
	return 0
}

func sequence(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *List:
		return v.Items, true
	case *Tuple:
		return v.Items, true
	}
	return nil, false
}

// numbers compares two numbers exactly; false where one is none.
func numbers(left, right Value) (int, bool) {
	x, xInt := toBig(left)
	y, yInt := toBig(right)
	if xInt && yInt {
		return x.Cmp(y), true
	}
	f, fFloat := left.(float64)
	g, gFloat := right.(float64)
	switch {
	case fFloat && gFloat:
	case fFloat && yInt:
		if math.IsInf(f, 0) || math.IsNaN(f) {
			break
		}
		return big.NewFloat(f).Cmp(new(big.Float).SetInt(y)), true
	case gFloat && xInt:
		if math.IsInf(g, 0) || math.IsNaN(g) {
			break
		}
		return new(big.Float).SetInt(x).Cmp(big.NewFloat(g)), true
	default:
		return 0, false
	}
	switch {
	case math.IsNaN(f) || math.IsNaN(g):
		return unordered, true
	case f < g:
		return -1, true
	case f > g:
		return 1, true
	}
	return 0, true
}

// equal is Python's ==.
func (r *run) equal(left, right Value) bool {
	r.tick(1)
	switch a := left.(type) {
	case nil:
		return right == nil
	case string:
		b, ok := right.(string)
		return ok && a == b
	case *Undefined:
		_, ok := right.(*Undefined)
		return ok
	case *List, *Tuple:
		x, _ := sequence(left)
		y, ok := sequence(right)
		if !ok || len(x) != len(y) || typeName(left) != typeName(right) {
			return false
		}
		defer r.enter()()
		for i := range x {
			if !r.equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := right.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false
		}
		defer r.enter()()
		for i, k := range a.keys {
			v, ok := b.get(k)
			if !ok || !r.equal(a.values[i], v) {
				return false
			}
		}
		return true
	}
	if c, ok := numbers(left, right); ok {
		return c == 0
	}
	return identical(left, right)
}

// identical is Python's is, for values that are not built anew by each evaluation.
func identical(left, right Value) bool {
	switch left.(type) {
	case *big.Int:
		return false
	}
	if typeName(left) != typeName(right) {
		return false
	}
	return left == right
}

// contains is Python's needle in v.
func (r *run) contains(v, needle Value) bool {
	switch v := v.(type) {
	case string:
		s, ok := needle.(string)
		if !ok {
			needDefined(needle)
			fail("'in <string>' requires string as left operand, not %s", typeName(needle))
		}
		r.tick(1 + len(v)/16)
		return strings.Contains(v, s)
	case *Dict:
		_, ok := v.get(needle)
		return ok
	case dictView:
		if v.kind == "keys" {
			_, ok := v.dict.get(needle)
			return ok
		}
	case rangeValue:
		i, ok := toInt(needle)
		if f, isFloat := needle.(float64); isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			i, ok = int64(f), true
		}
		n := v.len()
		return ok && n > 0 && (i-v.start)%v.step == 0 && (i-v.start)/v.step >= 0 && (i-v.start)/v.step < n
	}
	if _, ok := v.(callable); ok || v == nil {
		fail("argument of type '%s' is not iterable", typeName(v))
	}
	next := r.iter(v)
	for item, ok := next(); ok; item, ok = next() {
		if r.equal(item, needle) {
			return true
		}
	}
	return false
}
