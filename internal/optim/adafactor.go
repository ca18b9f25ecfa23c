package optim

import (
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// adafactor is Shazeer & Stern 2018 as transformers' Trainer sets it up for optim="adafactor": the learning rate comes from outside
// (relative_step and scale_parameter are off), there is no first moment, β2 of step t is 1 - t^-0.8, and the update of each tensor is
// held to a root mean square of one. A matrix is remembered by the means of its squared gradients by row and by column. It reads
// WeightDecay alone.
func (o *Optimizer) adafactor(c Config) func() {
	var size int64
	places(o.store, nil, func(w *nn.Weight, p tensor.Place) { size += remembered(w, p) })
	state := o.remember(size)
	o.age = func(step int64) float64 { return 1 - math.Pow(float64(step), -0.8) }
	return func() {
		var at int64
		places(o.store, nil, func(w *nn.Weight, p tensor.Place) {
			u := tensor.Adafactor{Rate: rateOf(w), Decay: decayOf(w, c.WeightDecay)}
			if vector(w) {
				u.Vector(o.store.Values, o.store.Grads, state.Slice(at, p.Columns), o.control, p.Offset)
			} else {
				u.Matrix(o.store.Values, o.store.Grads, state.Slice(at, p.Rows), state.Slice(at+p.Rows, p.Columns), o.control, p)
			}
			at += remembered(w, p)
		})
	}
}

func remembered(w *nn.Weight, p tensor.Place) int64 {
	if vector(w) {
		return p.Columns
	}
	return p.Rows + p.Columns
}
