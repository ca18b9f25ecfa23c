// Package safetensors reads and writes tensors in the safetensors format, in one file or in shards.
//
//	header      8 bytes, the little-endian length n of the JSON that follows
//	JSON        name → dtype, shape and data_offsets (begin and end, counted from the end of the JSON)
//	data        the tensors back to back, row-major, little-endian, no gaps
//	shard       one file of a checkpoint too large for one; model.safetensors.index.json says which tensor is where
//	Checkpoint  the tensors of one file or of all shards, mapped read-only
//
// A header is not trusted: lengths, offsets and shapes are checked against each other and against the size of the
// file before a byte of data is handed out (https://huggingface.co/docs/safetensors#format). A file that another
// process truncates while it is mapped kills the reader with SIGBUS; objects of the store are never written to again.
package safetensors

import (
	"fmt"
	"io"
	"slices"
)

// Dtype is an element type under the format's name for it.
type Dtype string

// Element types that the format defines with whole bytes a value.
const (
	Bool    Dtype = "BOOL"
	U8      Dtype = "U8"
	I8      Dtype = "I8"
	F8E5M2  Dtype = "F8_E5M2"
	F8E4M3  Dtype = "F8_E4M3"
	F8E8M0  Dtype = "F8_E8M0"
	I16     Dtype = "I16"
	U16     Dtype = "U16"
	F16     Dtype = "F16"
	BF16    Dtype = "BF16"
	I32     Dtype = "I32"
	U32     Dtype = "U32"
	F32     Dtype = "F32"
	Complex Dtype = "C64"
	F64     Dtype = "F64"
	I64     Dtype = "I64"
	U64     Dtype = "U64"
)

// dtypes in the order of the reference implementation, which writes wider ones first.
var dtypes = []struct {
	name Dtype
	size int64
}{
	{Bool, 1}, {U8, 1}, {I8, 1}, {F8E5M2, 1}, {F8E4M3, 1}, {F8E8M0, 1}, {I16, 2}, {U16, 2}, {F16, 2}, {BF16, 2},
	{I32, 4}, {U32, 4}, {F32, 4}, {Complex, 8}, {F64, 8}, {I64, 8}, {U64, 8},
}

func (d Dtype) rank() int {
	return slices.IndexFunc(dtypes, func(e struct {
		name Dtype
		size int64
	}) bool {
		return e.name == d
	})
}

// Size returns the bytes of an element, 0 for a type that is not known.
func (d Dtype) Size() int64 {
	if i := d.rank(); i >= 0 {
		return dtypes[i].size
	}
	return 0
}

// Tensor is a named array. Data holds its bytes, row-major and little-endian. A tensor that is too large to hold
// before it is written has nil Data and a Stream that writes exactly Bytes() bytes.
type Tensor struct {
	Name   string
	Dtype  Dtype
	Shape  []int64
	Data   []byte
	Stream func(w io.Writer) error
}

// Bytes returns the length of the data that dtype and shape imply.
func (t *Tensor) Bytes() (int64, error) {
	size := t.Dtype.Size()
	if size == 0 {
		return 0, fmt.Errorf("unknown dtype %q", t.Dtype)
	}
	n := size
	for _, d := range t.Shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v: negative dimension", t.Shape)
		}
		if d != 0 && n > maxBytes/d {
			return 0, fmt.Errorf("shape %v: too large", t.Shape)
		}
		n *= d
	}
	return n, nil
}

// maxBytes bounds a tensor, so that sums of sizes cannot overflow.
const maxBytes = 1 << 56

// Elements returns the number of elements of a tensor whose shape was checked.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}
