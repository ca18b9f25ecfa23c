package optim

import "github.com/hone-ml/hone/internal/tensor"

// lion is Chen et al. 2023, algorithm 2: every element moves by the learning rate, in the direction of the sign of a momentum.
// So the rate is to be 3 to 10 times lower than AdamW's, and weightDecay as many times higher (section 5). It reads Beta1 and Beta2.
func (o *Optimizer) lion(c Config, all []span) func() {
	m := o.remember(size(all))
	return func() {
		each(all, func(r span, at, n int64) {
			u := tensor.Lion{Rate: r.Rate, Beta1: c.Beta1, Beta2: c.Beta2, Decay: r.Decay}
			u.Update(o.store.Values.Slice(r.From, n), o.store.Grads.Slice(r.From, n), m.Slice(at, n), o.control)
		})
	}
}
