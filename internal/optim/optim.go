// Package optim is what happens between gradients and weights: norm, clipping, the update and its learning rate.
//
//	AdamW     the update over a store's flat buffers, with its moments
//	Schedule  the learning rate of a step, as a share of the one configured
package optim

import (
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// AdamW is Loshchilov & Hutter 2019 as torch.optim.AdamW computes it. Vectors (norms and biases) do not decay, as in
// transformers' Trainer.
type AdamW struct {
	Beta1, Beta2, Epsilon, Decay float64

	Step int64         // updates made
	M, V tensor.Tensor // moments, flat float32

	store   *nn.Store
	spans   []tensor.Span
	control tensor.Tensor // of Advance
	advance tensor.Recording
}

// NewAdamW makes the moments for a trained store.
func NewAdamW(s *nn.Store, beta1, beta2, epsilon, decay float64) *AdamW {
	o := &AdamW{Beta1: beta1, Beta2: beta2, Epsilon: epsilon, Decay: decay, store: s}
	o.M = tensor.Zeros(tensor.Float32, s.Size).Forget()
	o.V = tensor.Zeros(tensor.Float32, s.Size).Forget()
	for i, w := range s.Weights {
		from, to := w.PartAt(0), s.Size
		if i+1 < len(s.Weights) {
			to = s.Weights[i+1].PartAt(0)
		}
		next := tensor.Span{From: from, To: to, Rate: w.Rate}
		if len(w.Shape) > 1 {
			next.Decay = decay
		}
		if w.Rate == 0 {
			next.Rate = 1
		}
		if n := len(o.spans); n > 0 && o.spans[n-1].Decay == next.Decay && o.spans[n-1].Rate == next.Rate {
			o.spans[n-1].To = to
			continue
		}
		o.spans = append(o.spans, next)
	}
	if tensor.OnDevice() {
		o.control = tensor.Zeros(tensor.Float32, 2).Forget()
	}
	return o
}

// Norm is the global norm of the gradients.
func (o *AdamW) Norm() float64 { return math.Sqrt(tensor.SumSquares(o.store.Grads)) }

// ClipScale is what gradients of this norm are multiplied with so that it stays at or below clip (0 is no bound), as
// torch.nn.utils.clip_grad_norm_ does it.
func ClipScale(norm, clip float64) float64 {
	if clip <= 0 {
		return 1
	}
	return math.Min(1, clip/(norm+1e-6))
}

// Update makes one step with gradients scaled by scale, and leaves the gradients zero.
func (o *AdamW) Update(learningRate, scale float64) {
	o.Step++
	for _, r := range o.spans {
		u := tensor.AdamW{LearningRate: r.Rate * learningRate, Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, Scale: scale, Decay: r.Decay, Step: o.Step}
		u.Update(o.store.Values, o.store.Grads, o.M, o.V, r.From, r.To)
	}
	o.store.Refresh()
}

// Advance makes one step on a device, where nothing is read back: gradients are clipped to a norm of clip, and left zero. stats is
// tensor.StepStats, the loss filled in.
func (o *AdamW) Advance(learningRate, clip float64, stats tensor.Tensor) {
	o.Step++
	o.control.PutFloats([]float32{float32(learningRate), float32(o.Step)})
	o.advance.Run(func() {
		u := tensor.AdamW{Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon}
		u.Advance(o.store.Values, o.store.Grads, o.M, o.V, o.spans, o.control, stats, clip)
		o.store.Refresh()
	})
}

// Free releases the moments.
func (o *AdamW) Free() {
	o.advance.Free()
	o.control.Free()
	o.M.Free()
	o.V.Free()
}

// Schedule is the learning rate over steps.
type Schedule struct {
	Kind    string  // linear, cosine, constant, wsd
	Warmup  float64 // steps, or a share of all steps below one
	Minimum float64 // share of the learning rate that the decay ends at; wsd begins there too
	Decay   float64 // wsd: steps at the end, or a share of all steps below one
}

// At is the share of the learning rate for the update number step, from zero, of total: transformers' get_*_schedule.
func (s Schedule) At(step, total int64) (float64, error) {
	warmup := s.Warmup
	if warmup < 1 {
		warmup = math.Ceil(float64(total) * warmup)
	}
	if float64(step) < warmup {
		share := float64(step) / math.Max(1, warmup)
		if s.Kind == "wsd" {
			share = s.Minimum + (1-s.Minimum)*share
		}
		return share, nil
	}
	progress := (float64(step) - warmup) / math.Max(1, float64(total)-warmup)
	var share float64
	switch s.Kind {
	case "constant":
		return 1, nil
	case "linear":
		share = math.Max(0, 1-progress)
	case "cosine":
		share = math.Max(0, 0.5*(1+math.Cos(math.Pi*progress)))
	case "wsd":
		decay := s.Decay
		if decay < 1 {
			decay = math.Ceil(float64(total) * decay)
		}
		decay = math.Min(decay, float64(total)-warmup) // a decay longer than what is left begins after the warm-up
		done := math.Max(0, float64(step)-(float64(total)-decay))
		share = 0.5 * (1 + math.Cos(math.Pi*done/math.Max(1, decay)))
	default:
		return 0, fmt.Errorf("schedule %q is not known", s.Kind)
	}
	return s.Minimum + (1-s.Minimum)*share, nil
}
