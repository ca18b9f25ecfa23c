package gguf

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// alignment is that of tensors in files that are written: llama.cpp's default.
const alignment = 32

// pair is an entry of the metadata. Its value is a string, bool, uint32, float32, []string, []int32 or []float32.
type pair struct {
	key   string
	value any
}

// output is a tensor to be written: values writes exactly the bytes that shape and type imply.
type output struct {
	name   string
	kind   Type
	shape  []int64 // row-major
	values func(io.Writer) error
}

func (o output) size() int64 {
	k, n := kinds[o.kind], int64(1)
	for _, d := range o.shape {
		n *= d
	}
	return n / int64(k.values) * int64(k.bytes)
}

// writeFile writes version 3, tensors in the order given, and holds no tensor's values. It does not sync: the folder that
// the file is in becomes durable as a whole. progress, if any, is told the bytes of tensors written of all.
func writeFile(ctx context.Context, path string, meta []pair, tensors []output, progress func(done, total int64)) (err error) {
	head, err := header(meta, tensors)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(head); err != nil {
		return err
	}
	c := &counter{ctx: ctx, w: w, progress: progress}
	for _, t := range tensors {
		c.total += t.size()
	}
	for _, t := range tensors {
		before := c.done
		if err := t.values(c); err != nil {
			return fmt.Errorf("tensor %s: %w", t.name, err)
		}
		if n := c.done - before; n != t.size() {
			return fmt.Errorf("tensor %s: %d bytes, %s of shape %v has %d", t.name, n, t.kind, t.shape, t.size())
		}
		if _, err := w.Write(padding(t.size())); err != nil {
			return err
		}
	}
	return w.Flush()
}

// padding is the zeros after n bytes.
func padding(n int64) []byte { return make([]byte, -n&(alignment-1)) }

// counter stops at the end of its context.
type counter struct {
	ctx         context.Context
	w           io.Writer
	progress    func(done, total int64)
	done, total int64
}

func (c *counter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
	return n, err
}

// header returns everything before the tensors' bytes.
func header(meta []pair, tensors []output) ([]byte, error) {
	b := []byte("GGUF")
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(meta)))
	for _, p := range meta {
		b = appendText(b, p.key)
		var err error
		if b, err = appendValue(b, p.value); err != nil {
			return nil, fmt.Errorf("metadata key %s: %w", p.key, err)
		}
	}
	offset := int64(0)
	for _, t := range tensors {
		b = appendText(b, t.name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.shape)))
		for _, d := range slices.Backward(t.shape) {
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.kind))
		b = binary.LittleEndian.AppendUint64(b, uint64(offset))
		offset += t.size() + int64(len(padding(t.size())))
	}
	return append(b, padding(int64(len(b)))...), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendValue(b []byte, value any) ([]byte, error) {
	u32 := binary.LittleEndian.AppendUint32
	list := func(kind uint32, n int) {
		b = u32(u32(b, kindArray), kind)
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	switch v := value.(type) {
	case uint32:
		return u32(u32(b, kindU32), v), nil
	case float32:
		return u32(u32(b, kindF32), math.Float32bits(v)), nil
	case string:
		return appendText(u32(b, kindString), v), nil
	case bool:
		one := byte(0)
		if v {
			one = 1
		}
		return append(u32(b, kindBool), one), nil
	case []string:
		list(kindString, len(v))
		for _, s := range v {
			b = appendText(b, s)
		}
	case []int32:
		list(kindI32, len(v))
		for _, n := range v {
			b = u32(b, uint32(n))
		}
	case []float32:
		list(kindF32, len(v))
		for _, x := range v {
			b = u32(b, math.Float32bits(x))
		}
	default:
		return nil, fmt.Errorf("%T is no value of GGUF that is written", value)
	}
	return b, nil
}
