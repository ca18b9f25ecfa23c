package model

import "github.com/hone-ml/hone/internal/tensor"

// WithHidden computes the hidden states for f, which must end in a backward pass from them, and with it the gradients of the
// weights. Recomputing (gradient checkpointing, Chen et al. 2016) keeps each layer's input alone and computes the layer
// again when its gradients are wanted.
func (m *Model) WithHidden(in Input, recompute bool, f func(h tensor.Tensor)) error {
	if !recompute {
		h, err := m.Hidden(in)
		if err != nil {
			return err
		}
		f(h)
		return nil
	}
	if err := m.begin(&in); err != nil {
		return err
	}
	type state struct {
		x, r tensor.Tensor
		draw uint64
	}
	states := make([]state, len(m.layers)+1)
	var h tensor.Tensor
	tensor.NoGrad(func() {
		x, r := m.embed(in), tensor.Tensor{}
		for i, l := range m.layers {
			states[i] = state{x, r, m.Draws.At()}
			scope := tensor.Open()
			x, r = l.forward(x, r, in)
			scope.Close(x, r)
		}
		states[len(m.layers)] = state{x, r, m.Draws.At()}
		_, h = m.norm.Apply(x, r)
	})
	h = h.RequireGrad()
	f(h)

	end := m.Draws.At()
	last := states[len(m.layers)]
	x, r := last.x.RequireGrad(), last.r.RequireGrad()
	_, again := m.norm.Apply(x, r)
	tensor.BackwardFrom([]tensor.Tensor{again}, []tensor.Tensor{h.Gradient()})
	dx, dr := x.Gradient(), r.Gradient()
	for i := len(m.layers) - 1; i >= 0; i-- {
		s := states[i]
		scope := tensor.Open()
		x := s.x.RequireGrad()
		r := s.r
		if r.Defined() {
			r = r.RequireGrad()
		}
		m.Draws.Rewind(s.draw)
		x2, r2 := m.layers[i].forward(x, r, in)
		tensor.BackwardFrom([]tensor.Tensor{x2, r2}, []tensor.Tensor{dx, dr})
		dx, dr = x.Gradient(), tensor.Tensor{}
		if r.Defined() {
			dr = r.Gradient()
		}
		scope.Close(dx, dr)
	}
	if m.Base.Grads.Defined() && !m.embedsFrozen() {
		tensor.BackwardFrom([]tensor.Tensor{m.embed(in)}, []tensor.Tensor{dx})
	}
	m.Draws.Rewind(end) // noise of the embedding was drawn once more, and has no part in its gradient
	return nil
}
