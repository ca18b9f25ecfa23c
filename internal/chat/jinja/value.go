package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Value is a Python value: nil (None), bool, int64, *big.Int (outside int64 only), float64, string, *List, *Tuple,
// *Dict, *Undefined, or one of the package's own callables, iterators and views.
type Value = any

// List is a Python list.
type List struct{ Items []Value }

// Tuple is a Python tuple. Names is set for named tuples (groupby).
type Tuple struct {
	Items []Value
	Names []string
}

// NewList returns a list of items.
func NewList(items ...Value) *List { return &List{Items: items} }

// Undefined is what a missing name, attribute or item gives.
type Undefined struct {
	hint  string // what is said when it is used; made from name and owner where empty
	name  string
	owner string // type name of the object that lacks the attribute
}

func (u *Undefined) message() string {
	switch {
	case u.hint != "":
		return u.hint
	case u.owner != "":
		return fmt.Sprintf("'%s object' has no attribute '%s'", u.owner, u.name)
	default:
		return fmt.Sprintf("'%s' is undefined", u.name)
	}
}

// namespace is the one object that a template may change: {% set ns.x = 1 %}.
type namespace struct{ attrs *Dict }

// rangeValue is Python's range.
type rangeValue struct{ start, stop, step int64 }

func (r rangeValue) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/-r.step + 1
	}
	return 0
}

// dictView is dict.keys(), dict.values() or dict.items().
type dictView struct {
	dict *Dict
	kind string // keys, values, items
}

// iterator is a Python iterator: it can be read once. next reports false at the end.
type iterator struct {
	kind string // Python's name of its type, for repr
	next func() (Value, bool)
}

// keyword is a keyword argument of a call.
type keyword struct {
	name  string
	value Value
}

// callable is what a template may call.
type callable interface {
	call(r *run, args []Value, kwargs []keyword) Value
}

// builtin is a function of the environment with Python's way of binding arguments.
// Variadic ones have params nil and read args and kwargs themselves through raw.
type builtin struct {
	name     string
	params   []string
	required int
	fn       func(r *run, a []Value) Value
	raw      func(r *run, args []Value, kwargs []keyword) Value
}

// missing stands for an argument that was not given.
type missingType struct{}

var missing = missingType{}

func (b *builtin) call(r *run, args []Value, kwargs []keyword) Value {
	if b.raw != nil {
		return b.raw(r, args, kwargs)
	}
	return b.fn(r, bind(b.name, b.params, b.required, args, kwargs))
}

// bind orders arguments by params; those not given are missing.
func bind(name string, params []string, required int, args []Value, kwargs []keyword) []Value {
	if len(args) > len(params) {
		fail("%s() takes at most %d arguments (%d given)", name, len(params), len(args))
	}
	bound := make([]Value, len(params))
	copy(bound, args)
	for i := len(args); i < len(bound); i++ {
		bound[i] = missing
	}
next:
	for _, k := range kwargs {
		for i, p := range params {
			if p == k.name {
				if bound[i] != missing {
					fail("%s() got multiple values for argument '%s'", name, p)
				}
				bound[i] = k.value
				continue next
			}
		}
		fail("%s() got an unexpected keyword argument '%s'", name, k.name)
	}
	for i := range required {
		if bound[i] == missing {
			fail("%s() missing required argument '%s'", name, params[i])
		}
	}
	return bound
}

// or gives v, or d where v is a missing argument.
func or(v, d Value) Value {
	if v == missing {
		return d
	}
	return v
}

// typeName is Python's name of v's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case rangeValue:
		return "range"
	case dictView:
		return "dict_" + v.kind
	case *iterator:
		return v.kind
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

// truth is Python's bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Tuple:
		return len(v.Items) > 0
	case *Dict:
		return v.Len() > 0
	case *Undefined:
		return false
	case rangeValue:
		return v.len() > 0
	case dictView:
		return v.dict.Len() > 0
	case *loop:
		return v.length() > 0
	}
	return true // *big.Int is never zero
}

// normalInt gives the int64 of b where it fits.
func normalInt(b *big.Int) Value {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// toBig gives v as a big integer; bools count as 0 and 1.
func toBig(v Value) (*big.Int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return big.NewInt(0), true
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// toInt gives an index: an int (or bool) that fits in an int64.
func toInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

// needInt is toInt for arguments that must be integers.
func needInt(v Value) int64 {
	i, ok := toInt(v)
	if !ok {
		needDefined(v)
		fail("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return i
}

// toFloat gives the float of any number.
func toFloat(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		if math.IsInf(f, 0) {
			fail("int too large to convert to float")
		}
		return f, true
	}
	return 0, false
}

// needDefined raises where v is undefined.
func needDefined(v Value) {
	if u, ok := v.(*Undefined); ok {
		panic(&Error{Message: u.message(), Undefined: true})
	}
}

// needString is for arguments that must be str.
func needString(v Value) string {
	s, ok := v.(string)
	if !ok {
		needDefined(v)
		fail("expected str, not %s", typeName(v))
	}
	return s
}

// Error is a template that cannot be parsed or rendered.
type Error struct {
	Line      int    // of the template, from 1; 0 where unknown
	Message   string // what Python's exception would say, or nearly
	Syntax    bool   // found while parsing
	Raised    bool   // by the template itself, through raise_exception
	Limit     bool   // a bound of Limits
	Undefined bool   // an undefined value was used
}

func (e *Error) Error() string {
	m := strings.TrimRight(e.Message, "\n")
	if e.Line > 0 && !e.Limit {
		return fmt.Sprintf("template:%d: %s", e.Line, m)
	}
	return "template: " + m
}

// fail raises in the template.
func fail(format string, args ...any) {
	panic(&Error{Message: fmt.Sprintf(format, args...)})
}
