package ordjson

import (
	"encoding/json"
	jsonv2 "encoding/json/v2"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Explain says of an error that encoding/json gave for b which field wants what, in place of the names of Go's types:
// hidden_size: a number is wanted, not "x". Fields within others are written a.b[0]. What is no JSON is said as Parse says it,
// other errors stay as they are.
func Explain(b []byte, err error) error {
	var path []string
	var want reflect.Type
	var old *json.UnmarshalTypeError
	var semantic *jsonv2.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic):
		for token := range semantic.JSONPointer.Tokens() {
			path = append(path, token)
		}
		want = semantic.GoType
	case errors.As(err, &old):
		if old.Field != "" {
			path = strings.Split(old.Field, ".")
		}
		want = old.Type
	default:
		if _, parsing := Parse(b); parsing != nil {
			return parsing
		}
		return err
	}
	var value Value
	name, found := strings.Join(path, "."), false
	if root, err := Parse(b); err == nil { // else a duplicate key, which some readers allow
		var at string
		if value, at, found = lookup(root, path); found {
			name = strings.TrimPrefix(at, ".")
		}
	}
	said := wanted(want, value)
	switch {
	case semantic != nil && errors.Is(semantic.Err, jsonv2.ErrUnknownName):
		said = "is not a field that is known"
	case said == "" && semantic != nil && semantic.Err != nil:
		said = semantic.Err.Error()
	case said == "":
		said = "this value is not known"
	case found:
		said += " is wanted, not " + Short(value)
	default:
		said += " is wanted"
	}
	if name == "" {
		return errors.New(said)
	}
	return fmt.Errorf("%s: %s", name, said)
}

// lookup is the value at a path, and the path as it is shown. Keys of encoding/json's paths are split at the dots that they have, so the parts of a key
// are joined until there is one of that name.
func lookup(v Value, path []string) (value Value, at string, found bool) {
	if len(path) == 0 {
		return v, "", true
	}
	switch v := v.(type) {
	case *Object:
		for n := range path {
			key := strings.Join(path[:n+1], ".")
			if m, ok := v.Get(key); ok {
				value, at, found = lookup(m, path[n+1:])
				return value, "." + key + at, found
			}
		}
	case []Value:
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(v) {
			value, at, found = lookup(v[i], path[1:])
			return value, "[" + path[0] + "]" + at, found
		}
	}
	return nil, "", false
}

// wanted names what a type is in JSON, "" where it reads JSON in its own way.
func wanted(t reflect.Type, v Value) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if _, ok := v.(Number); ok {
			return "a whole number in range"
		}
		return "a number"
	case reflect.Float32, reflect.Float64:
		if _, ok := v.(Number); ok {
			return "a number in range"
		}
		return "a number"
	case reflect.String:
		if _, ok := v.(string); !ok {
			return "text"
		}
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return ""
}

// Short names a value in a message: its JSON where that is short.
func Short(v Value) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []Value:
		return "a list"
	case *Object:
		return "an object"
	default:
		b := Append(nil, v)
		if len(b) > 40 {
			cut := 40
			for !utf8.RuneStart(b[cut]) {
				cut--
			}
			b = append(b[:cut:cut], "…"...)
		}
		return string(b)
	}
}
