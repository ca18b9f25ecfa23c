package tensor

// #include "ops.h"
import "C"

// NF4 is a frozen matrix in four bits a weight, as bitsandbytes quantises one (Dettmers et al. 2023): blocks of 64 along the rows,
// each over its greatest magnitude, which is a float32, or with double a byte beside a float32 for each 256 of them. It takes the
// place of a weight [Σ outs, in] of Linear and LoRA, which compute with it in dtype compute and hold a few million of its elements
// at once. Its parts are tensors that are quantised apart, and zero until Pack.
func NF4(compute Dtype, double bool, in int64, outs ...int64) Tensor {
	var out C.hten
	var e *C.char
	nested := C.int(0)
	if double {
		nested = 1
	}
	check("nf4", C.hone_nf4_empty(&out, C.int(compute), nested, C.int64_t(in), shapePtr(outs), C.int(len(outs)), &e), e)
	return wrap(out)
}

// Pack quantises x [out, in], float32, to a part of an NF4.
func (t Tensor) Pack(part int, x Tensor) {
	var e *C.char
	check("nf4", C.hone_nf4_pack(t.h(), C.int64_t(part), x.h(), &e), e)
}

// Unpack is rows … of an NF4, from column on, dense in its dtype: [rows, columns].
func (t Tensor) Unpack(row, rows, column, columns int64) Tensor {
	var out C.hten
	var e *C.char
	check("nf4", C.hone_nf4_block(&out, t.h(), C.int64_t(row), C.int64_t(rows), C.int64_t(column), C.int64_t(columns), &e), e)
	return wrap(out)
}
