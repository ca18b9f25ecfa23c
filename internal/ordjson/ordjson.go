// Package ordjson is JSON whose objects keep the order of their keys.
//
//	Value   nil, bool, string, Number, []Value or *Object
//	Number  a number as it was written: 1, 1.0 and 1e0 stay three texts
//	Object  members in order, keys unique
//
// Chat templates print their data (a tool's schema, a call's arguments), so the order of keys and the spelling
// of numbers reach the tokens a model is trained on; Go's maps and float64 would change both. Text that is not
// valid UTF-8, lone surrogates and duplicate keys are refused, since whatever were read in their place would not
// be what was written.
package ordjson

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
)

// Value is nil, bool, string, Number, []Value or *Object. Only the functions of this package and New make others
// impossible; Append panics on any other type.
type Value = any

// Number is the text of a JSON number.
type Number = json.Number

// MaxDepth is the deepest nesting that is read: recursion on it is safe here, in templates and in Python.
const MaxDepth = 256

// Object is a JSON object. The zero Object is empty.
type Object struct {
	members []Member
	index   map[string]int // made once there are more than linearMembers
}

// Member is a key with its value.
type Member struct {
	Key   string
	Value Value
}

// Below this many members a scan beats a map, and most objects (a chat turn) stay below.
const linearMembers = 12

// New returns an object of these members; of equal keys the last value wins at the first one's place.
func New(members ...Member) *Object {
	o := &Object{}
	for _, m := range members {
		o.Set(m.Key, m.Value)
	}
	return o
}

// Members returns the members in order. They are the object's own: read only.
func (o *Object) Members() []Member { return o.members }

// Len returns the number of members.
func (o *Object) Len() int { return len(o.members) }

// Get returns the value of key and whether it is there.
func (o *Object) Get(key string) (Value, bool) {
	if i := o.find(key); i >= 0 {
		return o.members[i].Value, true
	}
	return nil, false
}

// Text returns the value of key where it is a string.
func (o *Object) Text(key string) (string, bool) {
	v, _ := o.Get(key)
	s, ok := v.(string)
	return s, ok
}

// Set gives key a value: in its place where it is there, else at the end.
func (o *Object) Set(key string, v Value) {
	if i := o.find(key); i >= 0 {
		o.members[i].Value = v
		return
	}
	o.members = append(o.members, Member{key, v})
	switch {
	case o.index != nil:
		o.index[key] = len(o.members) - 1
	case len(o.members) > linearMembers:
		o.index = make(map[string]int, 2*len(o.members))
		for i, m := range o.members {
			o.index[m.Key] = i
		}
	}
}

// Delete removes key.
func (o *Object) Delete(key string) {
	i := o.find(key)
	if i < 0 {
		return
	}
	rest := New(append(append([]Member(nil), o.members[:i]...), o.members[i+1:]...)...)
	*o = *rest
}

// Clone returns an object with members of its own; values are shared.
func (o *Object) Clone() *Object { return New(o.members...) }

func (o *Object) find(key string) int {
	if o.index != nil {
		if i, ok := o.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range o.members {
		if o.members[i].Key == key {
			return i
		}
	}
	return -1
}

// Parse reads exactly one value.
func Parse(b []byte) (Value, error) {
	d := NewDecoder(bytes.NewReader(b))
	v, err := d.Next()
	if err == io.EOF {
		return nil, errors.New("no JSON value")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Next(); err != io.EOF {
		return nil, errors.New("text after the JSON value")
	}
	return v, nil
}

// Decoder reads values one after another.
type Decoder struct{ d *jsontext.Decoder }

// NewDecoder returns a decoder of r.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{jsontext.NewDecoder(r)} }

// Next returns the next value, or io.EOF after the last.
func (d *Decoder) Next() (Value, error) { return d.value(0) }

// Peek returns the kind of the next token ('{', '[', '"', '0', 't', 'f', 'n', '}', ']'), or 0 at the end or an error.
func (d *Decoder) Peek() byte { return byte(d.d.PeekKind()) }

// Open consumes the '[' or '{' that begins a list or an object, so that Next reads its elements one by one
// and a list longer than memory can be read; Close consumes its end.
func (d *Decoder) Open() error { _, err := d.d.ReadToken(); return clean(err) }

// Close consumes the ']' or '}' of what Open began.
func (d *Decoder) Close() error { _, err := d.d.ReadToken(); return clean(err) }

func (d *Decoder) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	t, err := d.d.ReadToken()
	if err != nil {
		return nil, clean(err)
	}
	switch t.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return Number(t.String()), nil
	case '[':
		list := []Value{}
		for d.d.PeekKind() != ']' {
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, inside(err)
			}
			list = append(list, v)
		}
		_, err = d.d.ReadToken()
		return list, clean(err)
	default: // '{': the decoder refuses any other token here
		o := &Object{}
		for d.d.PeekKind() != '}' {
			k, err := d.d.ReadToken()
			if err != nil {
				return nil, inside(clean(err))
			}
			key := k.String()
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, inside(err)
			}
			o.Set(key, v)
		}
		_, err = d.d.ReadToken()
		return o, clean(err)
	}
}

// inside turns the end of input within a value into an error.
func inside(err error) error {
	if err == io.EOF { //nolint:errorlint // a wrapped one is of what is read
		return io.ErrUnexpectedEOF
	}
	return err
}

// clean takes the decoder's own prefix and repetition from a syntax error.
func clean(err error) error {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		if errors.Is(s.Err, io.ErrUnexpectedEOF) {
			return errors.New("JSON ends in the middle of a value")
		}
		if s.JSONPointer != "" {
			return fmt.Errorf("JSON at %s: %w", s.JSONPointer, s.Err)
		}
		return fmt.Errorf("JSON: %w", s.Err)
	}
	return err
}

// Append appends v as compact JSON: no spaces, no escapes but those that JSON demands.
func Append(b []byte, v Value) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		if v {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case Number:
		return append(b, v...)
	case string:
		out, err := jsontext.AppendQuote(b, v)
		if err != nil {
			panic(fmt.Sprintf("ordjson: %v: text is checked where it is read", err))
		}
		return out
	case []Value:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = Append(b, e)
		}
		return append(b, ']')
	case *Object:
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(Append(b, m.Key), ':')
			b = Append(b, m.Value)
		}
		return append(b, '}')
	default:
		panic(fmt.Sprintf("ordjson: %T is no JSON value", v))
	}
}

// MarshalJSON writes the object in its order.
func (o *Object) MarshalJSON() ([]byte, error) { return Append(nil, o), nil }

// UnmarshalJSON reads an object, order kept.
func (o *Object) UnmarshalJSON(b []byte) error {
	v, err := Parse(b)
	if err != nil {
		return err
	}
	p, ok := v.(*Object)
	if !ok {
		return errors.New("no JSON object")
	}
	*o = *p
	return nil
}

// Walk calls f on every string of v, keys of objects included, and stops at the first error.
func Walk(v Value, f func(string) error) error {
	switch v := v.(type) {
	case string:
		return f(v)
	case []Value:
		for _, e := range v {
			if err := Walk(e, f); err != nil {
				return err
			}
		}
	case *Object:
		for _, m := range v.members {
			if err := f(m.Key); err != nil {
				return err
			}
			if err := Walk(m.Value, f); err != nil {
				return err
			}
		}
	}
	return nil
}
