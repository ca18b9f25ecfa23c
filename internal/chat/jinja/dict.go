package jinja

import (
	"fmt"
	"math"
	"math/big"
)

// Dict is a Python dict: it keeps insertion order, and keys that compare equal are one (1, 1.0 and True).
type Dict struct {
	keys   []Value
	values []Value
	index  map[any]int // made when there are more than a few keys, or keys that are not strings
}

// small is the number of string keys that are searched one by one.
const small = 8

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{} }

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// At gives the i-th key and its value.
func (d *Dict) At(i int) (key, value Value) { return d.keys[i], d.values[i] }

// Get gives the value of a string key.
func (d *Dict) Get(key string) (Value, bool) { return d.get(key) }

// Set adds a string key, or changes its value in place.
func (d *Dict) Set(key string, value Value) *Dict {
	d.set(key, value)
	return d
}

// Delete removes a string key where it is there.
func (d *Dict) Delete(key string) {
	i := d.find(key)
	if i < 0 {
		return
	}
	d.keys = append(append([]Value(nil), d.keys[:i]...), d.keys[i+1:]...)
	d.values = append(append([]Value(nil), d.values[:i]...), d.values[i+1:]...)
	d.index = nil
	d.reindex()
}

// Clone copies the dict, not its values.
func (d *Dict) Clone() *Dict {
	c := &Dict{keys: append([]Value(nil), d.keys...), values: append([]Value(nil), d.values...)}
	if d.index != nil {
		c.reindex()
	}
	return c
}

func (d *Dict) get(key Value) (Value, bool) {
	if i := d.find(key); i >= 0 {
		return d.values[i], true
	}
	return nil, false
}

func (d *Dict) set(key, value Value) {
	if i := d.find(key); i >= 0 {
		d.values[i] = value
		return
	}
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	switch {
	case d.index != nil:
		d.index[hashable(key)] = len(d.keys) - 1
	case len(d.keys) > small:
		d.reindex()
	default:
		if _, ok := key.(string); !ok {
			d.reindex()
		}
	}
}

func (d *Dict) find(key Value) int {
	if d.index == nil {
		s, ok := key.(string)
		if !ok {
			hashable(key) // raises for keys that Python cannot hash
			return -1     // without an index all keys are strings
		}
		for i, k := range d.keys {
			if k.(string) == s {
				return i
			}
		}
		return -1
	}
	if i, ok := d.index[hashable(key)]; ok {
		return i
	}
	return -1
}

func (d *Dict) reindex() {
	d.index = make(map[any]int, len(d.keys))
	for i, k := range d.keys {
		d.index[hashable(k)] = i
	}
}

type noneKey struct{}
type tupleKey string

// hashable gives a Go map key that is equal where Python's keys are; it raises for unhashable types.
func hashable(v Value) any {
	switch v := v.(type) {
	case nil:
		return noneKey{}
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v)
		}
		return v
	case *big.Int:
		return tupleKey(v.String())
	case *Tuple:
		key := "("
		for _, item := range v.Items {
			h := hashable(item)
			key += fmt.Sprintf("%T:%d:%v,", h, len(fmt.Sprint(h)), h)
		}
		return tupleKey(key)
	case *List, *Dict:
		fail("unhashable type: '%s'", typeName(v))
	}
	return v // strings, int64, and objects by identity
}
