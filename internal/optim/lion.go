package optim

import "github.com/hone-ml/hone/internal/tensor"

// lion is Chen et al. 2023, algorithm 2: every element moves by the learning rate, in the direction of the sign of a momentum.
// So the rate is to be 3 to 10 times lower than AdamW's, and weightDecay as many times higher (section 5). It reads Beta1 and Beta2.
func (o *Optimizer) lion(c Config, all []tensor.Span) func(learningRate, scale float64) {
	m := o.remember(size(all))
	return func(learningRate, scale float64) {
		defer tensor.Open().Close()
		var at int64
		for _, r := range all {
			n := r.To - r.From
			u := tensor.Lion{LearningRate: r.Rate * learningRate, Beta1: c.Beta1, Beta2: c.Beta2, Decay: r.Decay, Scale: scale}
			u.Update(o.store.Values.Slice(r.From, n), o.store.Grads.Slice(r.From, n), m.Slice(at, n))
			at += n
		}
	}
}
