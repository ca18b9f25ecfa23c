package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Bounds on what no real file has. ggml itself allows 4 dimensions.
const (
	maxDims      = 4
	maxDepth     = 4 // arrays of arrays
	maxKey       = 1 << 16
	maxAlignment = 1 << 20
	maxElements  = 1 << 50
)

// cursor reads little-endian values from b. The first error sticks, and all reads after it give zeros.
type cursor struct {
	b   []byte
	at  int
	err error
}

func (c *cursor) fail(format string, a ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("byte %d: %w", c.at, fmt.Errorf(format, a...))
	}
}

func (c *cursor) take(n uint64) []byte {
	if c.err != nil {
		return nil
	}
	if n > uint64(len(c.b)-c.at) {
		c.fail("truncated: %d bytes wanted, %d left", n, len(c.b)-c.at)
		return nil
	}
	b := c.b[c.at : c.at+int(n)]
	c.at += int(n)
	return b
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) text() string { return string(c.take(c.u64())) }

// count reads a number of items of at least size bytes each and refuses more than are left.
func (c *cursor) count(what string, size int) int {
	n := c.u64()
	if c.err == nil && n > uint64((len(c.b)-c.at)/size) {
		c.fail("%s: %d, more than the file has bytes for", what, n)
		return 0
	}
	return int(n)
}

// Parse reads the content of a file. Tensors' Data are views of b.
func Parse(b []byte) (*File, error) {
	c := &cursor{b: b}
	if magic := c.take(4); c.err != nil || string(magic) != "GGUF" {
		return nil, errors.New("not a GGUF file")
	}
	version := c.u32()
	switch {
	case c.err != nil:
		return nil, c.err
	case version&0xffff == 0:
		return nil, errors.New("big-endian GGUF: convert it with gguf_convert_endian.py first")
	case version != 2 && version != 3:
		return nil, fmt.Errorf("GGUF version %d: only 2 and 3 are known", version)
	}
	const leastTensor, leastPair = 8 + 4 + 4 + 8, 8 + 4 + 1
	tensors := c.count("tensor count", leastTensor)
	pairs := c.count("metadata count", leastPair)
	f := &File{Meta: make(Metadata, pairs)}
	for i := 0; i < pairs && c.err == nil; i++ {
		key := c.key("metadata key")
		if c.err != nil {
			return nil, c.err
		}
		if _, twice := f.Meta[key]; twice {
			return nil, fmt.Errorf("metadata key %q: twice", key)
		}
		v := c.value(c.u32(), 0)
		if c.err != nil {
			return nil, fmt.Errorf("metadata key %q: %w", key, c.err)
		}
		f.Meta[key] = v
	}
	align := uint64(32)
	switch n, found, err := f.Meta.Int("general.alignment"); {
	case err != nil:
		return nil, err
	case found && (n <= 0 || n > maxAlignment || n&(n-1) != 0):
		return nil, fmt.Errorf("general.alignment: %d: not a power of two of at most %d", n, maxAlignment)
	case found:
		align = uint64(n)
	}
	infos := make([]info, 0, tensors)
	names := make(map[string]bool, tensors)
	for i := 0; i < tensors && c.err == nil; i++ {
		t := c.info()
		if names[t.Name] {
			c.fail("tensor %s: twice", t.Name)
		}
		names[t.Name] = true
		infos = append(infos, t)
	}
	if c.err != nil {
		return nil, c.err
	}
	start := (uint64(c.at) + align - 1) / align * align
	if start > uint64(len(b)) && tensors > 0 {
		return nil, fmt.Errorf("truncated: the data should begin at byte %d of %d", start, len(b))
	}
	if err := f.place(infos, b[min(start, uint64(len(b))):], align); err != nil {
		return nil, err
	}
	return f, nil
}

// key reads a name: short and UTF-8. Other strings may be any bytes, as vocabularies of old converters are.
func (c *cursor) key(what string) string {
	if n := c.peek(); n > maxKey {
		c.fail("%s of %d bytes", what, n)
	}
	s := c.text()
	if !utf8.ValidString(s) {
		c.fail("%s %q: invalid UTF-8", what, s)
	}
	return s
}

func (c *cursor) peek() uint64 {
	if c.err != nil || len(c.b)-c.at < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(c.b[c.at:])
}

// Value types of metadata.
const (
	kindU8 = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindString
	kindArray
	kindU64
	kindI64
	kindF64
)

// leastSize is the fewest bytes of a value of each type.
var leastSize = [...]int{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

// value reads a value: uint64, int64, float32, float64, bool, string, or a slice of one of them, or []any of slices.
func (c *cursor) value(kind uint32, depth int) any {
	switch kind {
	case kindU8:
		if b := c.take(1); b != nil {
			return uint64(b[0])
		}
	case kindI8:
		if b := c.take(1); b != nil {
			return int64(int8(b[0]))
		}
	case kindU16:
		if b := c.take(2); b != nil {
			return uint64(binary.LittleEndian.Uint16(b))
		}
	case kindI16:
		if b := c.take(2); b != nil {
			return int64(int16(binary.LittleEndian.Uint16(b)))
		}
	case kindU32:
		return uint64(c.u32())
	case kindI32:
		return int64(int32(c.u32()))
	case kindF32:
		return math.Float32frombits(c.u32())
	case kindBool:
		b := c.take(1)
		if b != nil && b[0] > 1 {
			c.fail("bool of value %d", b[0])
		}
		return b != nil && b[0] == 1
	case kindString:
		return c.text()
	case kindU64:
		return c.u64()
	case kindI64:
		return int64(c.u64())
	case kindF64:
		return math.Float64frombits(c.u64())
	case kindArray:
		return c.array(depth + 1)
	default:
		c.fail("value type %d is not known", kind)
	}
	return nil
}

func (c *cursor) array(depth int) any {
	kind := c.u32()
	if c.err == nil && int(kind) >= len(leastSize) {
		c.fail("value type %d is not known", kind)
	}
	if depth > maxDepth {
		c.fail("arrays nested deeper than %d", maxDepth)
	}
	if c.err != nil {
		return nil
	}
	n := c.count("array length", leastSize[kind])
	switch kind {
	case kindU8, kindU16, kindU32, kindU64:
		return items[uint64](c, kind, n, depth)
	case kindI8, kindI16, kindI32, kindI64:
		return items[int64](c, kind, n, depth)
	case kindF32:
		return items[float32](c, kind, n, depth)
	case kindF64:
		return items[float64](c, kind, n, depth)
	case kindBool:
		return items[bool](c, kind, n, depth)
	case kindString:
		return items[string](c, kind, n, depth)
	}
	return items[any](c, kind, n, depth)
}

func items[T any](c *cursor, kind uint32, n, depth int) []T {
	list := make([]T, 0, n)
	for i := 0; i < n && c.err == nil; i++ {
		v, _ := c.value(kind, depth).(T)
		list = append(list, v)
	}
	return list
}

type info struct {
	Tensor
	offset, size uint64
}

func (c *cursor) info() info {
	t := info{Tensor: Tensor{Name: c.key("tensor name")}}
	dims := c.u32()
	if c.err == nil && (dims == 0 || dims > maxDims) {
		c.fail("tensor %s: %d dimensions", t.Name, dims)
	}
	elements := uint64(1)
	for i := uint32(0); i < dims && c.err == nil; i++ {
		d := c.u64()
		if d == 0 || d > maxElements || elements > maxElements/d {
			c.fail("tensor %s: dimension of %d", t.Name, d)
			break
		}
		elements *= d
		t.Shape = append(t.Shape, int64(d))
	}
	t.Type = Type(c.u32())
	t.offset = c.u64()
	if c.err != nil {
		return t
	}
	k, ok := kinds[t.Type]
	switch {
	case !ok:
		c.fail("tensor %s: type %s is not supported", t.Name, t.Type)
	case t.Shape[0]%int64(k.values) != 0:
		c.fail("tensor %s: rows of %d values are not whole blocks of %d (%s)", t.Name, t.Shape[0], k.values, t.Type)
	default:
		t.size = elements / uint64(k.values) * uint64(k.bytes)
	}
	slices.Reverse(t.Shape)
	return t
}

// place gives each tensor its bytes and refuses two that share some.
func (f *File) place(infos []info, data []byte, align uint64) error {
	for _, t := range infos {
		switch {
		case t.offset%align != 0:
			return fmt.Errorf("tensor %s: offset %d is not a multiple of %d", t.Name, t.offset, align)
		case t.offset > uint64(len(data)) || t.size > uint64(len(data))-t.offset:
			return fmt.Errorf("tensor %s: bytes %d to %d of %d: the file is truncated", t.Name, t.offset, t.offset+t.size, len(data))
		}
		t.Data = data[t.offset : t.offset+t.size : t.offset+t.size]
		f.Tensors = append(f.Tensors, t.Tensor)
	}
	slices.SortFunc(infos, func(a, b info) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return 0
	})
	for i := 1; i < len(infos); i++ {
		if infos[i].offset < infos[i-1].offset+infos[i-1].size {
			return fmt.Errorf("tensor %s: overlaps tensor %s", infos[i].Name, infos[i-1].Name)
		}
	}
	return nil
}
