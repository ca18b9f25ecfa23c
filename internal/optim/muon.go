package optim

import (
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// muon is Jordan et al. 2024 as torch.optim.Muon computes it (Nesterov's momentum, five steps of Newton and Schulz's iteration in
// bfloat16), on matrices between layers; embedding, head, norms and biases are AdamW's. The learning rate is one: a matrix moves by
// 0.2·√max(rows, columns) times it (adjust_lr_fn="match_rms_adamw", Liu et al. 2025), which is as far as AdamW would move it, so that
// a rate tuned for AdamW serves. It reads Momentum, and for AdamW's part Beta1, Beta2 and Epsilon.
func (o *Optimizer) muon(c Config) func() {
	hidden, others := func(w *nn.Weight) bool { return w.Hidden }, func(w *nn.Weight) bool { return !w.Hidden }
	rest := o.adamW(c, spans(o.store, c.WeightDecay, hidden))
	var size int64
	places(o.store, others, func(_ *nn.Weight, p tensor.Place) { size += p.Rows * p.Columns })
	momentum := o.remember(size)
	return func() {
		rest()
		var at int64
		places(o.store, others, func(w *nn.Weight, p tensor.Place) {
			u := tensor.Muon{Rate: rateOf(w), Stretch: 0.2 * math.Sqrt(float64(max(p.Rows, p.Columns))), Momentum: c.Momentum, Decay: decayOf(w, c.WeightDecay)}
			u.Update(o.store.Values, o.store.Grads, momentum.Slice(at, p.Rows, p.Columns), o.control, p)
			at += p.Rows * p.Columns
		})
	}
}
