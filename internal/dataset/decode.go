package dataset

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hone-ml/hone/internal/ordjson"
)

// node is a place of a Parquet file's schema with what it takes to assemble its values from leaf columns.
type node struct {
	name        string
	path        string
	optional    bool
	repeated    bool
	def         int // definition level at which a value is there
	rep         int // repetition level at which another element of a repeated node begins
	first, last int // leaf columns
	convert     func(parquet.Value) (Value, error)
	fields      []*node
	item        *node // of a LIST or MAP group: its repeated child
	unwrap      bool  // LIST: an element is the only field of item
	isMap       bool
	keepNulls   bool   // a null field of an object is a value
	unreadable  string // why no value can be had, of this node or one within it
}

// policy is what a reader knows of a file's places by path.
type policy struct {
	json      func(path string) bool // text that is JSON
	keepNulls func(path string) bool // fields whose null is a value
	binary    func(path string) bool // unannotated bytes that are text
}

var errShape = errors.New("levels of its columns do not fit together")

// build makes the node of elements[at] and returns the index after it. Def and rep are the levels around it, leaf
// the next leaf column. The library has checked that the elements form a tree of bounded depth.
func build(elements []format.SchemaElement, at, def, rep, leaf int, path string, p policy) (*node, int, error) {
	if at >= len(elements) {
		return nil, 0, errShape
	}
	e := &elements[at]
	at++
	n := &node{name: e.Name, path: path, first: leaf}
	switch e.RepetitionType.V {
	case format.Optional:
		n.optional = true
		def++
	case format.Repeated:
		n.repeated = true
		def++
		rep++
	}
	n.def, n.rep = def, rep
	children := int(e.NumChildren.V)
	if e.Type.Valid || children <= 0 {
		n.last = leaf + 1
		n.leaf(e, p)
		return n, at, nil
	}
	isList, isMap := nested(e)
	if (isList && children == 1) || (isMap && children == 1) {
		item, end, err := build(elements, at, def, rep, leaf, path+"[]", p)
		if err != nil {
			return nil, 0, err
		}
		if item.repeated {
			n.item, n.last, n.isMap, n.unreadable = item, item.last, isMap, item.unreadable
			if isMap {
				if len(item.fields) != 2 {
					n.unreadable = "a map without key and value"
				}
			} else if len(item.fields) == 1 && item.item == nil && item.name != "array" && item.name != n.name+"_tuple" {
				n.unwrap = true
			}
			return n, end, nil
		}
		n.fields, n.last, n.unreadable = []*node{item}, item.last, item.unreadable
		return n, end, nil
	}
	n.last = leaf
	for range children {
		if at >= len(elements) {
			return nil, 0, errShape
		}
		inner := path + "." + elements[at].Name
		if n.repeated && children == 1 && strings.HasSuffix(path, "[]") {
			inner = path // the wrapper around a list's element has no name of its own
		}
		child, end, err := build(elements, at, def, rep, n.last, inner, p)
		if err != nil {
			return nil, 0, err
		}
		at, n.last = end, child.last
		child.keepNulls = p.keepNulls(inner)
		if n.unreadable == "" {
			n.unreadable = child.unreadable
		}
		n.fields = append(n.fields, child)
	}
	return n, at, nil
}

func nested(e *format.SchemaElement) (isList, isMap bool) {
	switch e.LogicalType.Value.(type) {
	case *format.ListType:
		return true, false
	case *format.MapType:
		return false, true
	}
	if e.ConvertedType.Valid {
		switch e.ConvertedType.V {
		case deprecated.List:
			return true, false
		case deprecated.Map, deprecated.MapKeyValue:
			return false, true
		}
	}
	return false, false
}

// value assembles the node's value in one parent from its leaf columns' values there.
func (n *node) value(columns [][]parquet.Value) (Value, error) {
	for _, c := range columns {
		if len(c) == 0 {
			return nil, errShape
		}
	}
	if n.repeated {
		return n.elements(columns)
	}
	if n.optional && columns[0][0].DefinitionLevel() < n.def {
		return nil, nil
	}
	return n.single(columns)
}

// elements assembles a repeated node: each column is cut where an element of this level begins.
func (n *node) elements(columns [][]parquet.Value) (Value, error) {
	elements := []Value{}
	if columns[0][0].DefinitionLevel() < n.def {
		return elements, nil
	}
	rest := append([][]parquet.Value(nil), columns...)
	window := make([][]parquet.Value, len(columns))
	for len(rest[0]) > 0 {
		for i, c := range rest {
			if len(c) == 0 {
				return nil, errShape
			}
			end := 1
			for end < len(c) && c[end].RepetitionLevel() > n.rep {
				end++
			}
			window[i], rest[i] = c[:end], c[end:]
		}
		v, err := n.single(window)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	return elements, nil
}

// single assembles a value that is there.
func (n *node) single(columns [][]parquet.Value) (Value, error) {
	switch {
	case n.convert != nil:
		v, err := n.convert(columns[0][0])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", n.path, err)
		}
		return v, nil
	case n.item != nil:
		v, err := n.item.value(columns)
		if err != nil || (!n.unwrap && !n.isMap) {
			return v, err
		}
		if n.isMap {
			return n.entries(v.([]Value))
		}
		list := v.([]Value)
		for i, e := range list {
			list[i], _ = e.(*ordjson.Object).Get(n.item.fields[0].name)
		}
		return list, nil
	default:
		o := ordjson.New()
		for _, f := range n.fields {
			v, err := f.value(columns[f.first-n.first : f.last-n.first])
			if err != nil {
				return nil, err
			}
			if v != nil || f.keepNulls {
				o.Set(f.name, v)
			}
		}
		return o, nil
	}
}

// entries turns a map's key_value objects into an object.
func (n *node) entries(list []Value) (Value, error) {
	o := ordjson.New()
	for _, e := range list {
		key, _ := e.(*ordjson.Object).Get(n.item.fields[0].name)
		value, _ := e.(*ordjson.Object).Get(n.item.fields[1].name)
		s, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("column %s: a key of a map is %s, not text", n.path, ordjson.Short(key))
		}
		o.Set(s, value)
	}
	return o, nil
}

// leaf chooses how values of a leaf column are read.
func (n *node) leaf(e *format.SchemaElement, p policy) {
	if !e.Type.Valid {
		n.unreadable = "a group without fields"
		return
	}
	scale, isDecimal := decimalScale(e)
	unit, isTimestamp, utc := timestampUnit(e)
	switch kind := e.Type.V; {
	case isDecimal && kind == format.Int32:
		n.convert = func(v parquet.Value) (Value, error) { return decimal(int64(v.Int32()), scale), nil }
	case isDecimal && kind == format.Int64:
		n.convert = func(v parquet.Value) (Value, error) { return decimal(v.Int64(), scale), nil }
	case isDecimal && kind == format.FixedLenByteArray && e.TypeLength.V <= 8: // Arrow's, of up to 18 digits
		n.convert = func(v parquet.Value) (Value, error) { return decimal(bigEndian(v.ByteArray()), scale), nil }
	case isDecimal:
		n.unreadable = "a decimal of more than 18 digits"
	case isTimestamp && kind == format.Int64:
		n.convert = func(v parquet.Value) (Value, error) { return timestamp(v.Int64(), unit, utc), nil }
	case isDate(e) && kind == format.Int32:
		n.convert = func(v parquet.Value) (Value, error) {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly), nil
		}
	case kind == format.Boolean:
		n.convert = func(v parquet.Value) (Value, error) { return v.Boolean(), nil }
	case kind == format.Int32 && unsigned(e):
		n.convert = func(v parquet.Value) (Value, error) { return ordjson.Int(int64(uint32(v.Int32()))), nil }
	case kind == format.Int32:
		n.convert = func(v parquet.Value) (Value, error) { return ordjson.Int(int64(v.Int32())), nil }
	case kind == format.Int64 && unsigned(e):
		n.convert = func(v parquet.Value) (Value, error) {
			return ordjson.Number(strconv.FormatUint(uint64(v.Int64()), 10)), nil
		}
	case kind == format.Int64:
		n.convert = func(v parquet.Value) (Value, error) { return ordjson.Int(v.Int64()), nil }
	case kind == format.Float:
		n.convert = func(v parquet.Value) (Value, error) { return number(float64(v.Float())) }
	case kind == format.Double:
		n.convert = func(v parquet.Value) (Value, error) { return number(v.Double()) }
	case kind == format.ByteArray && p.json(n.path):
		n.convert = func(v parquet.Value) (Value, error) { return ordjson.Parse(v.ByteArray()) }
	case kind == format.ByteArray && (isText(e) || p.binary(n.path)):
		n.convert = textValue
	case kind == format.ByteArray:
		n.unreadable = "binary"
	default:
		n.unreadable = strings.ToLower(kind.String())
	}
}

func textValue(v parquet.Value) (Value, error) {
	b := v.ByteArray()
	if !utf8.Valid(b) {
		return nil, errors.New("invalid UTF-8")
	}
	return string(b), nil
}

// number reads NaN as null, as pandas writes what is missing.
func number(f float64) (Value, error) {
	if math.IsNaN(f) {
		return nil, nil
	}
	if math.IsInf(f, 0) {
		return nil, errors.New("an infinite number")
	}
	return ordjson.Float(f), nil
}

func isText(e *format.SchemaElement) bool {
	switch e.LogicalType.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return true
	}
	return e.ConvertedType.Valid && (e.ConvertedType.V == deprecated.UTF8 || e.ConvertedType.V == deprecated.Enum || e.ConvertedType.V == deprecated.Json)
}

func unsigned(e *format.SchemaElement) bool {
	if t, ok := e.LogicalType.Value.(*format.IntType); ok {
		return !t.IsSigned
	}
	return e.ConvertedType.Valid && e.ConvertedType.V >= deprecated.Uint8 && e.ConvertedType.V <= deprecated.Uint64
}

func isDate(e *format.SchemaElement) bool {
	_, ok := e.LogicalType.Value.(*format.DateType)
	return ok || e.ConvertedType.Valid && e.ConvertedType.V == deprecated.Date
}

func decimalScale(e *format.SchemaElement) (scale int32, ok bool) {
	if t, ok := e.LogicalType.Value.(*format.DecimalType); ok {
		return t.Scale, true
	}
	return e.Scale.V, e.ConvertedType.Valid && e.ConvertedType.V == deprecated.Decimal
}

// bigEndian is a two's complement of at most eight bytes.
func bigEndian(b []byte) int64 {
	var v int64
	for i, x := range b {
		if i == 0 {
			v = int64(int8(x))
		} else {
			v = v<<8 | int64(x)
		}
	}
	return v
}

// decimal is v / 10^scale in full, as text: a float would round it.
func decimal(v int64, scale int32) Value {
	s := strconv.FormatInt(v, 10)
	if scale <= 0 || scale > 18 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if pad := int(scale) + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	point := len(s) - int(scale)
	return sign + s[:point] + "." + s[point:]
}

func timestampUnit(e *format.SchemaElement) (unit time.Duration, ok, utc bool) {
	if t, ok := e.LogicalType.Value.(*format.TimestampType); ok {
		if t.Unit.Value == nil {
			return time.Microsecond, true, t.IsAdjustedToUTC
		}
		return t.Unit.Value.Duration(), true, t.IsAdjustedToUTC
	}
	if e.ConvertedType.Valid {
		switch e.ConvertedType.V {
		case deprecated.TimestampMillis:
			return time.Millisecond, true, true
		case deprecated.TimestampMicros:
			return time.Microsecond, true, true
		}
	}
	return 0, false, false
}

// timestamp is ISO 8601, with Z where the file says that it is in UTC.
func timestamp(v int64, unit time.Duration, utc bool) Value {
	perSecond := int64(time.Second / unit)
	seconds, rest := v/perSecond, v%perSecond
	s := time.Unix(seconds, rest*int64(unit)).UTC().Format("2006-01-02T15:04:05.999999999")
	if utc {
		s += "Z"
	}
	return s
}
