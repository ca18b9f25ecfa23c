package tensor

// #include <stdlib.h>
import "C"

import (
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// Operators of libtorch itself, through libtch. What is missing here is missing because nothing needs it yet.

func checkLast(op string) {
	if e := lib.GetAndResetLastErr(); e != nil {
		message := C.GoString((*C.char)(unsafe.Pointer(e)))
		C.free(unsafe.Pointer(e))
		panic(thrown(op, message))
	}
}

func stock(op string, f func(out *lib.Ctensor)) Tensor {
	var out lib.Ctensor
	f(&out)
	checkLast(op)
	return own(out)
}

// Add is t + u, broadcast.
func (t Tensor) Add(u Tensor) Tensor {
	return stock("add", func(out *lib.Ctensor) { lib.AtgAdd(out, t.c, u.c) })
}

// Accumulate adds u to t in place.
func (t Tensor) Accumulate(u Tensor) {
	stock("add", func(out *lib.Ctensor) { lib.AtgAdd_(out, t.c, u.c) })
}

// Mul is t · u elementwise, broadcast.
func (t Tensor) Mul(u Tensor) Tensor {
	return stock("mul", func(out *lib.Ctensor) { lib.AtgMul(out, t.c, u.c) })
}

// Scaled is by · t.
func (t Tensor) Scaled(by float64) Tensor {
	scalar := lib.AtsFloat(by)
	defer lib.AtsFree(scalar)
	return stock("mul", func(out *lib.Ctensor) { lib.AtgMulScalar(out, t.c, scalar) })
}

// Tanh is the hyperbolic tangent of each element.
func (t Tensor) Tanh() Tensor {
	return stock("tanh", func(out *lib.Ctensor) { lib.AtgTanh(out, t.c) })
}

// Transpose is the matrix t with rows and columns exchanged: a view.
func (t Tensor) Transpose() Tensor {
	return stock("transpose", func(out *lib.Ctensor) { lib.AtgT(out, t.c) })
}

// Sum is the sum of all elements.
func (t Tensor) Sum() Tensor {
	return stock("sum", func(out *lib.Ctensor) { lib.AtgSum(out, t.c, int32(t.Dtype())) })
}

// To is t in another element type.
func (t Tensor) To(d Dtype) Tensor {
	return stock("to", func(out *lib.Ctensor) { lib.AtgToDtype(out, t.c, int32(d), 0, 0) })
}

// Rows is the rows of t that index names: [len(index), …].
func (t Tensor) Rows(index Tensor) Tensor {
	return stock("index_select", func(out *lib.Ctensor) { lib.AtgIndexSelect(out, t.c, 0, index.c) })
}

// Reshape is t in another shape of the same count.
func (t Tensor) Reshape(shape ...int64) Tensor {
	return stock("reshape", func(out *lib.Ctensor) { lib.AtgReshape(out, t.c, shape, len(shape)) })
}

// Narrow is length of dimension dim from start on: a view.
func (t Tensor) Narrow(dim, start, length int64) Tensor {
	return stock("narrow", func(out *lib.Ctensor) { lib.AtgNarrow(out, t.c, dim, start, length) })
}

// Contiguous is t with its elements row-major in memory.
func (t Tensor) Contiguous() Tensor {
	return stock("contiguous", func(out *lib.Ctensor) { lib.AtgContiguous(out, t.c) })
}

// MatMul is t·u.
func (t Tensor) MatMul(u Tensor) Tensor {
	return stock("matmul", func(out *lib.Ctensor) { lib.AtgMatmul(out, t.c, u.c) })
}

// CopyFrom overwrites t with u, converting the element type.
func (t Tensor) CopyFrom(u Tensor) {
	lib.AtCopy_(t.c, u.c)
	checkLast("copy")
}

// ArgMax is the index of the largest element of each row of t [rows, n]: [rows] int64.
func (t Tensor) ArgMax() Tensor {
	return stock("argmax", func(out *lib.Ctensor) { lib.AtgArgmax(out, t.c, 1, 0, 0) })
}
