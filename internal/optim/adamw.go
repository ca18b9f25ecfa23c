package optim

import "github.com/hone-ml/hone/internal/tensor"

// adamW is Loshchilov & Hutter 2019 as torch.optim.AdamW computes it. It reads Beta1, Beta2, Epsilon.
func (o *Optimizer) adamW(c Config, all []tensor.Span) func(learningRate, scale float64) {
	if tensor.OnDevice() { // where moments lie at their weights' places
		o.remember(o.store.Size)
		o.remember(o.store.Size)
		o.device = &recorded{config: c, spans: all, control: tensor.Zeros(tensor.Float32, 2).Forget()}
		return nil
	}
	m, v := o.remember(size(all)), o.remember(size(all))
	return func(learningRate, scale float64) {
		defer tensor.Open().Close()
		var at int64
		for _, r := range all {
			n := r.To - r.From
			u := tensor.AdamW{LearningRate: r.Rate * learningRate, Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: c.Epsilon, Decay: r.Decay, Scale: scale, Step: o.Step}
			u.Update(o.store.Values.Slice(r.From, n), o.store.Grads.Slice(r.From, n), m.Slice(at, n), v.Slice(at, n), 0, n)
			at += n
		}
	}
}

// recorded is AdamW on a device: one recording serves every step.
type recorded struct {
	config  Config
	spans   []tensor.Span
	control tensor.Tensor // learning rate and step
	advance tensor.Recording
}

// Advance makes one step on a device, where nothing is read back: gradients are clipped to a norm of clip, and left zero. stats is
// tensor.StepStats, the loss filled in.
func (o *Optimizer) Advance(learningRate, clip float64, stats tensor.Tensor) {
	o.Step++
	d := o.device
	d.control.PutFloats([]float32{float32(learningRate), float32(o.Step)})
	d.advance.Run(func() {
		u := tensor.AdamW{Beta1: d.config.Beta1, Beta2: d.config.Beta2, Epsilon: d.config.Epsilon}
		u.Advance(o.store.Values, o.store.Grads, o.State[0], o.State[1], d.spans, d.control, stats, clip)
		o.store.Refresh()
	})
}

func (d *recorded) free() {
	if d != nil {
		d.advance.Free()
		d.control.Free()
	}
}
