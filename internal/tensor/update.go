package tensor

// #include "ops.h"
import "C"

// Updates of flat float32 memory: weights w from gradients g, which are multiplied by Scale first (clipping) and are zero
// afterwards.

// Lion is the parameters of one update of Chen et al. 2023, algorithm 2.
type Lion struct {
	LearningRate, Beta1, Beta2, Decay float64
	Scale                             float64
}

// Update applies Lion to weights, gradients and momentum.
func (u Lion) Update(w, g, m Tensor) {
	var e *C.char
	check("lion", C.hone_lion(w.h(), g.h(), m.h(), C.double(u.Scale), C.double(u.LearningRate),
		C.double(u.Beta1), C.double(u.Beta2), C.double(u.Decay), &e), e)
}

// Place is a matrix in a flat buffer: Rows of Width elements from Offset on, the first Columns of which count.
type Place struct {
	Offset, Rows, Width, Columns int64
}

func (p Place) ptr() *C.int64_t { return shapePtr([]int64{p.Offset, p.Rows, p.Width, p.Columns}) }

// Adafactor is the parameters of one update of Shazeer & Stern 2018, with a learning rate that does not follow the weights.
type Adafactor struct {
	LearningRate, Beta2, Decay float64
	Scale                      float64
}

func (u Adafactor) keep() C.double { return C.double(1 - u.LearningRate*u.Decay) }

// Matrix applies Adafactor to a matrix, with the means of its squared gradients by row [Rows] and by column [Columns].
func (u Adafactor) Matrix(w, g, row, column Tensor, p Place) {
	var e *C.char
	check("adafactor", C.hone_adafactor(w.h(), g.h(), row.h(), column.h(), p.ptr(), C.double(u.Scale), C.double(u.LearningRate),
		C.double(u.Beta2), u.keep(), &e), e)
}

// Vector applies Adafactor to as many elements from offset from on as v, the means of their squared gradients, has.
func (u Adafactor) Vector(w, g, v Tensor, from int64) {
	var e *C.char
	check("adafactor", C.hone_adafactor_vector(w.h(), g.h(), v.h(), C.int64_t(from), C.double(u.Scale), C.double(u.LearningRate),
		C.double(u.Beta2), u.keep(), &e), e)
}

// Muon is the parameters of one update of Jordan et al. 2024.
type Muon struct {
	LearningRate float64 // of the orthogonal matrix that is subtracted
	Momentum     float64
	Keep         float64 // what the weights are multiplied with first
	Scale        float64
}

// Update applies Muon to a matrix of weights and gradients, with its momentum [Rows, Columns].
func (u Muon) Update(w, g, m Tensor, p Place) {
	var e *C.char
	check("muon", C.hone_muon(w.h(), g.h(), m.h(), p.ptr(), C.double(u.Scale), C.double(u.LearningRate), C.double(u.Momentum), C.double(u.Keep), &e), e)
}
