package optim

import "github.com/hone-ml/hone/internal/tensor"

// adamW is Loshchilov & Hutter 2019 as torch.optim.AdamW computes it. It reads Beta1, Beta2, Epsilon.
func (o *Optimizer) adamW(c Config, all []span) func() {
	m, v := o.remember(size(all)), o.remember(size(all))
	return func() {
		each(all, func(r span, at, n int64) {
			u := tensor.AdamW{Rate: r.Rate, Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: c.Epsilon, Decay: r.Decay}
			u.Update(o.store.Values.Slice(r.From, n), o.store.Grads.Slice(r.From, n), m.Slice(at, n), v.Slice(at, n), o.control)
		})
	}
}
