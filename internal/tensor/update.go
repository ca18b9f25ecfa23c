package tensor

// #include "ops.h"
import "C"

// Updates of flat float32 memory: weights w from gradients g, which are zero afterwards. Every rule reads a control, Controls numbers,
// and learns at Rate times the control's rate.

// What a rule reads of a step.
const (
	ControlRate  = iota // the learning rate
	ControlScale        // what gradients are multiplied with first (clipping)
	ControlAge          // what the rule wants of the step's number
	ControlBad          // on a device, other than zero: no weight moves
	Controls
)

// NewControl is memory for a control: on a device float32, where recorded work reads it anew, else float64.
func NewControl() Tensor {
	if OnDevice() {
		return Zeros(Float32, Controls)
	}
	return Zeros(Float64, Controls)
}

// What a step on a device tells: the second and third are Clip's.
const (
	StepLoss = iota // sum since it was read
	StepNorm        // of the gradients, before they were clipped
	StepBad         // other than zero where a step had one of them not finite: that one and those after it moved no weight
	StepStats
)

// Clip begins an update where nothing is read back: control's rate and age are given, its scale is made such that the norm of g is
// at most clip (0 is no bound), and stats [StepStats] is read and written.
func Clip(g, control, stats Tensor, clip float64) {
	var e *C.char
	check("clip", C.hone_clip(g.h(), control.h(), stats.h(), C.double(clip), &e), e)
}

// AdamW is the parameters of an update of Loshchilov & Hutter 2019; the control's age is the number of the step, from one.
type AdamW struct{ Rate, Beta1, Beta2, Epsilon, Decay float64 }

// Update applies AdamW to weights, gradients and moments.
func (u AdamW) Update(w, g, m, v, control Tensor) {
	var e *C.char
	check("adamw", C.hone_adamw(w.h(), g.h(), m.h(), v.h(), control.h(), C.double(u.Rate),
		C.double(u.Beta1), C.double(u.Beta2), C.double(u.Epsilon), C.double(u.Decay), &e), e)
}

// Lion is the parameters of an update of Chen et al. 2023, algorithm 2.
type Lion struct{ Rate, Beta1, Beta2, Decay float64 }

// Update applies Lion to weights, gradients and momentum.
func (u Lion) Update(w, g, m, control Tensor) {
	var e *C.char
	check("lion", C.hone_lion(w.h(), g.h(), m.h(), control.h(), C.double(u.Rate), C.double(u.Beta1), C.double(u.Beta2), C.double(u.Decay), &e), e)
}

// Place is a matrix in a flat buffer: Rows of Width elements from Offset on, the first Columns of which count.
type Place struct {
	Offset, Rows, Width, Columns int64
}

func (p Place) ptr() *C.int64_t { return shapePtr([]int64{p.Offset, p.Rows, p.Width, p.Columns}) }

// Adafactor is the parameters of an update of Shazeer & Stern 2018, with a learning rate that does not follow the weights; the
// control's age is the step's beta2.
type Adafactor struct{ Rate, Decay float64 }

// Matrix applies Adafactor to a matrix, with the means of its squared gradients by row [Rows] and by column [Columns].
func (u Adafactor) Matrix(w, g, row, column, control Tensor, p Place) {
	var e *C.char
	check("adafactor", C.hone_adafactor(w.h(), g.h(), row.h(), column.h(), control.h(), p.ptr(), C.double(u.Rate), C.double(u.Decay), &e), e)
}

// Vector applies Adafactor to as many elements from offset from on as v, the means of their squared gradients, has.
func (u Adafactor) Vector(w, g, v, control Tensor, from int64) {
	var e *C.char
	check("adafactor", C.hone_adafactor_vector(w.h(), g.h(), v.h(), control.h(), C.int64_t(from), C.double(u.Rate), C.double(u.Decay), &e), e)
}

// Muon is the parameters of an update of Jordan et al. 2024. The orthogonal matrix that is subtracted is Stretch times the rate.
type Muon struct{ Rate, Stretch, Momentum, Decay float64 }

// Update applies Muon to a matrix of weights and gradients, with its momentum [Rows, Columns].
func (u Muon) Update(w, g, m, control Tensor, p Place) {
	var e *C.char
	check("muon", C.hone_muon(w.h(), g.h(), m.h(), control.h(), p.ptr(), C.double(u.Stretch), C.double(u.Rate), C.double(u.Momentum), C.double(u.Decay), &e), e)
}
