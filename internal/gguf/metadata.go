package gguf

import (
	"fmt"
	"reflect"
)

// Metadata is the file's key-value pairs: uint64, int64, float32, float64, bool, string or slices of them.
type Metadata map[string]any

// Text returns a string, or "" where the key is missing.
func (m Metadata) Text(key string) (string, error) {
	v, ok := m[key]
	if !ok {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s: not a string", key)
	}
	return s, nil
}

// Int returns an integer and whether the key is there.
func (m Metadata) Int(key string) (n int64, found bool, err error) {
	switch v := m[key].(type) {
	case nil:
		return 0, false, nil
	case uint64:
		if v < 1<<62 {
			return int64(v), true, nil
		}
	case int64:
		return v, true, nil
	}
	return 0, false, fmt.Errorf("%s: %s: not an integer", key, shown(m[key]))
}

// Float returns a number as the shortest decimal that means it in its own precision, so that 1e-5 stored in 32 bits
// is 1e-05 and not 9.999999747378752e-06; and whether the key is there.
func (m Metadata) Float(key string) (text string, found bool, err error) {
	switch v := m[key].(type) {
	case nil:
		return "", false, nil
	case float32, float64:
		return fmt.Sprint(v), true, nil
	case uint64, int64:
		return fmt.Sprint(v), true, nil
	}
	return "", false, fmt.Errorf("%s: %s: not a number", key, shown(m[key]))
}

// Bool returns a truth value, or otherwise where the key is missing.
func (m Metadata) Bool(key string, otherwise bool) (bool, error) {
	v, ok := m[key]
	if !ok {
		return otherwise, nil
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s: %s: not a bool", key, shown(v))
	}
	return b, nil
}

// Texts returns a list of strings, nil where the key is missing.
func (m Metadata) Texts(key string) ([]string, error) {
	v, ok := m[key]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]string)
	if !ok {
		return nil, fmt.Errorf("%s: not a list of strings", key)
	}
	return list, nil
}

// shown is a value in a message: cut where it is long, strings in quotes, so that "32" is no number.
func shown(v any) string {
	if s, ok := v.(string); ok {
		if len(s) > 40 {
			return fmt.Sprintf("the string %q…", s[:40])
		}
		return fmt.Sprintf("the string %q", s)
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.Len() > 8 {
		return fmt.Sprintf("a list of %d", list.Len())
	}
	return fmt.Sprint(v)
}
