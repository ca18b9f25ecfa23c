package tensor

// #include "ops.h"
import "C"

import (
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// Element is a Go type with a Dtype.
type Element interface {
	~int32 | ~int64 | ~float32 | ~float64
}

func dtypeOf[E Element]() Dtype {
	var e E
	switch any(e).(type) {
	case int32:
		return Int32
	case int64:
		return Int64
	case float32:
		return Float32
	}
	return Float64
}

// Empty is a tensor whose elements are not set. It lies on the device that Use named, as all tensors do that are made.
func Empty(d Dtype, shape ...int64) Tensor {
	var out C.hten
	var e *C.char
	check("empty", C.hone_empty(&out, shapePtr(shape), C.int(len(shape)), C.int(d), &e), e)
	return wrap(out)
}

// Zeros is a tensor of zeros.
func Zeros(d Dtype, shape ...int64) Tensor {
	t := Empty(d, shape...)
	t.clear()
	return t
}

// ZerosRead is Zeros for what is written once and read often: in huge pages it is read up to a quarter faster, and first
// written more slowly.
func ZerosRead(d Dtype, shape ...int64) Tensor {
	t := Empty(d, shape...)
	var e *C.char
	check("huge pages", C.hone_huge(t.h(), &e), e)
	t.clear()
	return t
}

// FitsBFloat16 reports whether bfloat16 holds every element exactly; t is contiguous and float32.
func (t Tensor) FitsBFloat16() bool {
	var fits C.int
	var e *C.char
	check("fits bfloat16", C.hone_fits_bfloat16(t.h(), &fits, &e), e)
	return fits != 0
}

// Of is a tensor with a copy of data, row-major; a scalar without a shape. It panics when the counts differ.
func Of[E Element](data []E, shape ...int64) Tensor {
	if int64(len(data)) != product(shape) {
		panic(&Error{"tensor", "data and shape differ in count"})
	}
	t := Empty(dtypeOf[E](), shape...)
	t.Put(bytesOf(data))
	return t
}

// Bytes is the memory of a contiguous tensor to be read: in place while the tensor lives, or a copy of a device's. It is
// changed by Put and Edit alone.
func (t Tensor) Bytes() []byte {
	b, place := t.host()
	if place {
		return b
	}
	return t.read(make([]byte, t.size()))
}

// PutInts overwrites a contiguous int64 tensor with x, and zeros where x is shorter.
func (t Tensor) PutInts(x []int64) {
	if n := t.Count(); int64(len(x)) < n {
		x = append(append(make([]int64, 0, n), x...), make([]int64, n-int64(len(x)))...)
	}
	t.Put(bytesOf(x))
}

// PutFloats overwrites a contiguous float32 tensor with x, and zeros where x is shorter.
func (t Tensor) PutFloats(x []float32) {
	if n := t.Count(); int64(len(x)) < n {
		x = append(append(make([]float32, 0, n), x...), make([]float32, n-int64(len(x)))...)
	}
	t.Put(bytesOf(x))
}

// Put overwrites a contiguous tensor with bytes, as many as it has.
func (t Tensor) Put(b []byte) {
	own, place := t.host()
	if int64(len(b)) != t.size() {
		panic(&Error{"put", "data and tensor differ in size"})
	}
	if place {
		copy(own, b)
		return
	}
	var e *C.char
	check("put", C.hone_write(t.h(), unsafe.Pointer(&b[0]), &e), e)
}

// Edit has f change the memory of a contiguous tensor: in place, or in a copy of a device's that then goes back.
func (t Tensor) Edit(f func(b []byte) error) error {
	if b, place := t.host(); place {
		return f(b)
	}
	b := t.Bytes()
	if err := f(b); err != nil {
		return err
	}
	t.Put(b)
	return nil
}

// EditFloats is Edit for the elements of a float32 tensor.
func (t Tensor) EditFloats(f func(x []float32) error) error {
	return t.Edit(func(b []byte) error {
		return f(unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4))
	})
}

// host is a contiguous tensor's memory where the processor reaches it, and whether it does.
func (t Tensor) host() (b []byte, place bool) {
	i := t.info()
	if !i.contiguous {
		panic(&Error{"bytes", "tensor is not contiguous"})
	}
	n := product(i.shape) * int64(i.dtype.Size())
	if n == 0 {
		return nil, true
	}
	if i.data == nil {
		return nil, false
	}
	return unsafe.Slice((*byte)(i.data), n), true
}

func (t Tensor) size() int64 { return t.Count() * int64(t.Dtype().Size()) }

func (t Tensor) read(b []byte) []byte {
	var e *C.char
	check("read", C.hone_read(t.h(), unsafe.Pointer(&b[0]), &e), e)
	return b
}

func (t Tensor) clear() {
	if b, place := t.host(); place {
		clear(b)
		return
	}
	var e *C.char
	check("zeros", C.hone_zero(t.h(), &e), e)
}

func bytesOf[E Element](x []E) []byte {
	var e E
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(e)))
}

// view is the elements of a contiguous tensor: in place, or a copy of a device's.
func view[E Element](t Tensor) []E {
	n := t.Count()
	if n == 0 {
		return nil
	}
	if t.Dtype() != dtypeOf[E]() {
		panic(&Error{"view", "tensor is " + t.Dtype().String()})
	}
	if b, place := t.host(); place {
		return unsafe.Slice((*E)(unsafe.Pointer(&b[0])), n)
	}
	x := make([]E, n)
	t.read(bytesOf(x))
	return x
}

// Floats is the elements of a contiguous float32 tensor to be read, as Bytes.
func (t Tensor) Floats() []float32 { return view[float32](t) }

// Ints is the elements of a contiguous int64 tensor to be read, as Bytes.
func (t Tensor) Ints() []int64 { return view[int64](t) }

// Doubles is the elements of a contiguous float64 tensor to be read, as Bytes.
func (t Tensor) Doubles() []float64 { return view[float64](t) }

// Scalar is the value of a float32 tensor with one element.
func (t Tensor) Scalar() float64 {
	if t.Dtype() == Float64 {
		return t.Doubles()[0]
	}
	return float64(t.Floats()[0])
}

// Leaf is a parameter over a flat buffer: count elements of storage from offset on, in the given shape. Where gradient is
// given (a buffer of the same length) the leaf is trained and its gradient is the same slice of it.
func Leaf(storage Tensor, offset int64, gradient Tensor, shape ...int64) Tensor {
	var out C.hten
	var e *C.char
	trainable := C.int(0)
	if gradient.Defined() {
		trainable = 1
	}
	check("leaf", C.hone_leaf(&out, storage.h(), C.int64_t(offset), shapePtr(shape), C.int(len(shape)), trainable, gradient.h(), &e), e)
	return wrap(out)
}

// Slice is elements of a contiguous tensor from offset on, in the given shape: a view without gradient.
func (t Tensor) Slice(offset int64, shape ...int64) Tensor {
	var out C.hten
	var e *C.char
	check("slice", C.hone_view(&out, t.h(), C.int64_t(offset), shapePtr(shape), C.int(len(shape)), &e), e)
	return wrap(out)
}

// Clone is a copy without gradient.
func (t Tensor) Clone() Tensor {
	var out C.hten
	var e *C.char
	check("clone", C.hone_clone(&out, t.h(), &e), e)
	return wrap(out)
}

// RequireGrad marks t as a leaf whose gradient is wanted, for tests of operators; parameters are made by Leaf.
func (t Tensor) RequireGrad() Tensor {
	var out lib.Ctensor
	lib.AtgSetRequiresGrad(&out, t.c, 1)
	checkLast("requires_grad")
	own(out)
	return t
}

// Gradient is the gradient of a leaf.
func (t Tensor) Gradient() Tensor {
	var out C.hten
	var e *C.char
	check("gradient", C.hone_gradient(&out, t.h(), &e), e)
	return wrap(out)
}

// Backward computes the gradients of a scalar's leaves.
func (t Tensor) Backward() { BackwardFrom([]Tensor{t}, []Tensor{{}}) }

// BackwardFrom computes the gradients of the leaves of outs, given the gradients at outs; absent is one, for a scalar.
func BackwardFrom(outs, gradients []Tensor) {
	o, g := make([]C.hten, len(outs)), make([]C.hten, len(outs))
	for i := range outs {
		o[i], g[i] = outs[i].h(), gradients[i].h()
	}
	var e *C.char
	check("backward", C.hone_backward(&o[0], &g[0], C.int(len(outs)), &e), e)
}
