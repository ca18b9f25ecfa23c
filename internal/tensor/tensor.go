// Package tensor is the only importer of gotch: tensors on its libtch layer, freed by scopes, and operators of our own in C++.
//
//	Tensor   a handle on a torch::Tensor; made in the open scope and freed with it, unless kept
//	Scope    Open, work, Close: everything made in between that was not kept is freed
//	Leaf     a parameter: a slice of a flat buffer whose gradient is a slice of another
//
// The work of a process belongs to one goroutine, locked to its OS thread (Lock): libtorch's grad mode and libtch's last
// error live in the thread, and the scopes are a stack without a lock. An error inside libtorch panics with an Error, which
// Guard turns into a Go error once, at the edge.
//
// Why not gotch's ts package: each of its tensors costs a 100 kB struct, a global lock and a finaliser, 40 times libtch's price.
package tensor

// #cgo CXXFLAGS: -std=c++20 -O3 -fopenmp -DHONE_OPS -w -Wno-psabi
// #cgo LDFLAGS: -lstdc++ -ltorch_cpu -lc10 -lgomp -rdynamic
// #include <stdlib.h>
// #include "ops.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// Dtype is an element type, numbered as c10::ScalarType.
type Dtype int

// The element types in use.
const (
	Uint8    Dtype = 0
	Int32    Dtype = 3
	Int64    Dtype = 4
	Float16  Dtype = 5
	Float32  Dtype = 6
	Float64  Dtype = 7
	BFloat16 Dtype = 15
)

// Size is the bytes of an element.
func (d Dtype) Size() int {
	switch d {
	case Uint8:
		return 1
	case BFloat16, Float16:
		return 2
	case Float32, Int32:
		return 4
	}
	return 8
}

func (d Dtype) String() string {
	switch d {
	case Int32:
		return "int32"
	case Uint8:
		return "uint8"
	case Int64:
		return "int64"
	case Float16:
		return "float16"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype %d", int(d))
}

// Error is what libtorch threw. It travels, as OutOfMemory does, as a panic up to Guard.
type Error struct{ Op, Message string }

func (e *Error) Error() string { return e.Op + ": " + e.Message }

// Guard runs f and returns what libtorch threw in it as an error. Other panics pass through.
func Guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			switch e := r.(type) {
			case *Error:
				err = e
			case *OutOfMemory:
				err = e
			default:
				panic(r)
			}
		}
	}()
	return f()
}

// Lock binds the calling goroutine to its OS thread. Call it before the first tensor.
func Lock() {
	runtime.LockOSThread()
	C.hone_thread()
}

// Tensor is a handle on a torch::Tensor. The zero value is absent, which operators take for optional arguments.
type Tensor struct{ c lib.Ctensor }

// Scope frees what was made while it was the innermost one.
type Scope struct {
	outer *Scope
	owned []lib.Ctensor
}

var current *Scope

// Open begins a scope. Close it on the same goroutine, innermost first: defer Open().Close().
func Open() *Scope {
	current = &Scope{outer: current}
	return current
}

// Close frees the scope's tensors, but for those in keep, which go to the scope around it. Deferred, it goes on with a panic
// that left scopes within it open.
func (s *Scope) Close(keep ...Tensor) {
	if current != s {
		r := recover()
		if r == nil {
			panic("tensor: scopes closed out of order")
		}
		for current != s {
			current.Close()
		}
		defer panic(r)
	}
	current = s.outer
	for _, c := range s.owned {
		if kept(c, keep) {
			own(c)
		} else {
			C.hone_free(C.hten(c))
		}
	}
	s.owned = nil
}

func kept(c lib.Ctensor, keep []Tensor) bool {
	for _, k := range keep {
		if k.c == c {
			return true
		}
	}
	return false
}

// own gives c to the innermost scope. Without one it lives until Free.
func own(c lib.Ctensor) Tensor {
	if current != nil {
		current.owned = append(current.owned, c)
	}
	return Tensor{c}
}

// Forget takes t out of its scope: its owner frees it with Free.
func (t Tensor) Forget() Tensor {
	for s := current; s != nil; s = s.outer {
		for i, c := range s.owned {
			if c == t.c {
				s.owned = append(s.owned[:i], s.owned[i+1:]...)
				return t
			}
		}
	}
	return t
}

// Free frees a tensor that no scope owns.
func (t Tensor) Free() {
	if t.c != nil {
		C.hone_free(C.hten(t.c))
	}
}

// Defined reports whether t is there.
func (t Tensor) Defined() bool { return t.c != nil }

func (t Tensor) h() C.hten { return C.hten(t.c) }

func wrap(h C.hten) Tensor { return own(lib.Ctensor(h)) }

func check(op string, rc C.int, e *C.char) {
	if rc != 0 {
		message := C.GoString(e)
		C.free(unsafe.Pointer(e))
		panic(thrown(op, message))
	}
}

func shapePtr(shape []int64) *C.int64_t {
	if len(shape) == 0 {
		return nil
	}
	return (*C.int64_t)(unsafe.Pointer(&shape[0]))
}

// info reads what a handle points to.
type info struct {
	shape, stride []int64
	dtype         Dtype
	contiguous    bool
	data          unsafe.Pointer
}

func (t Tensor) info() info {
	var shape, stride [8]C.int64_t
	var dims, dtype, contiguous C.int
	var data unsafe.Pointer
	var e *C.char
	check("info", C.hone_info(t.h(), &shape[0], &stride[0], &dims, &dtype, &contiguous, &data, &e), e)
	r := info{dtype: Dtype(dtype), contiguous: contiguous != 0, data: data}
	for i := range int(dims) {
		r.shape, r.stride = append(r.shape, int64(shape[i])), append(r.stride, int64(stride[i]))
	}
	return r
}

// Shape is the sizes of t's dimensions.
func (t Tensor) Shape() []int64 { return t.info().shape }

// Dtype is t's element type.
func (t Tensor) Dtype() Dtype { return t.info().dtype }

// Count is the number of t's elements.
func (t Tensor) Count() int64 { return product(t.Shape()) }

func product(shape []int64) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return n
}

// Version is libtorch's version, the vector instructions that it uses and the minor version of its ABI (11 is 2.11).
func Version() (version, capability string, abi int) {
	var v, c, e *C.char
	var n C.int
	check("version", C.hone_version(&v, &c, &n, &e), e)
	defer C.free(unsafe.Pointer(v))
	defer C.free(unsafe.Pointer(c))
	return C.GoString(v), C.GoString(c), int(n)
}

// SetThreads sets the threads of an operator.
func SetThreads(n int) {
	var e *C.char
	check("set threads", C.hone_set_threads(C.int(n), &e), e)
}

// NoGrad runs f without recording gradients.
func NoGrad(f func()) {
	C.hone_grad_mode(0)
	defer C.hone_grad_mode(1)
	f()
}
