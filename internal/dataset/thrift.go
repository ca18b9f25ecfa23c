package dataset

import (
	"errors"
	"fmt"
)

// thriftWalk walks a value in Thrift's compact protocol without keeping it. A decoder makes a list as long as its header
// claims before it reads an element; what this walk has passed holds every element that it claims.
type thriftWalk struct {
	b        []byte
	at       int
	elements int // of all lists so far
}

// maxElements is how many elements the lists of one structure have in all. Real footers have one for each column
// of each row group; a decoder takes some hundred bytes for each.
const maxElements = 1 << 20

var (
	errThrift = errors.New("broken metadata")
	errShort  = errors.New("metadata ends early")
)

// structure walks a struct and returns how many bytes it takes.
func (t *thriftWalk) structure(depth int) error {
	if depth > 64 {
		return errThrift
	}
	for {
		head, err := t.next()
		if err != nil {
			return err
		}
		if head == 0 {
			return nil
		}
		if head>>4 == 0 { // the field's number is not a delta
			if _, err := t.varint(); err != nil {
				return err
			}
		}
		kind := head & 15
		if kind == 1 || kind == 2 { // a bool is in its header
			continue
		}
		if err := t.value(kind, depth); err != nil {
			return err
		}
	}
}

func (t *thriftWalk) value(kind byte, depth int) error {
	switch kind {
	case 1, 2, 3:
		return t.skip(1)
	case 4, 5, 6:
		_, err := t.varint()
		return err
	case 7:
		return t.skip(8)
	case 8:
		n, err := t.varint()
		if err != nil {
			return err
		}
		return t.skip(n)
	case 9, 10:
		head, err := t.next()
		if err != nil {
			return err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = t.varint(); err != nil {
				return err
			}
		}
		return t.list(n, head&15, depth)
	case 11:
		n, err := t.varint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := t.next()
		if err != nil {
			return err
		}
		if err := t.count(n); err != nil {
			return err
		}
		for range n {
			if err := t.value(kinds>>4, depth+1); err != nil {
				return err
			}
			if err := t.value(kinds&15, depth+1); err != nil {
				return err
			}
		}
		return nil
	case 12:
		return t.structure(depth + 1)
	case 13:
		return t.skip(16)
	}
	return errThrift
}

func (t *thriftWalk) list(n uint64, kind byte, depth int) error {
	if depth > 64 {
		return errThrift
	}
	if err := t.count(n); err != nil {
		return err
	}
	for range n {
		if err := t.value(kind, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (t *thriftWalk) count(n uint64) error {
	if n > uint64(len(t.b)-t.at) {
		return errShort
	}
	if t.elements += int(n); t.elements > maxElements {
		return fmt.Errorf("metadata with more than %d entries", maxElements)
	}
	return nil
}

func (t *thriftWalk) next() (byte, error) {
	if t.at >= len(t.b) {
		return 0, errShort
	}
	t.at++
	return t.b[t.at-1], nil
}

func (t *thriftWalk) skip(n uint64) error {
	if n > uint64(len(t.b)-t.at) {
		return errShort
	}
	t.at += int(n)
	return nil
}

func (t *thriftWalk) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		b, err := t.next()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&127) << min(shift, 63)
		if b < 128 {
			return v, nil
		}
	}
	return 0, errThrift
}
