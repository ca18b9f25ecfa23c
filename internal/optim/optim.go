// Package optim is what happens between gradients and weights: norm, clipping, the update and its learning rate.
//
//	Optimizer  an update rule over a store's flat buffers, with what it remembers from step to step
//	Schedule   the learning rate of a step, as a share of the one configured
//
// One file a rule: adamw, lion, adafactor, muon. All keep their state in float32, whatever the model computes in.
package optim

import (
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// Config is a rule and its constants; a rule reads those that its file names.
type Config struct {
	Kind         string // adamw, adafactor, lion, muon
	Beta1, Beta2 float64
	Epsilon      float64
	WeightDecay  float64 // decoupled, times the learning rate; vectors (norms and biases) have none, as in transformers' Trainer
	Momentum     float64
}

// Optimizer is a rule at work on a store.
type Optimizer struct {
	Step  int64           // updates made
	State []tensor.Tensor // flat float32: what the rule remembers

	store   *nn.Store
	rule    func()                   // makes update number Step
	age     func(step int64) float64 // what it wants of that number
	control tensor.Tensor            // what it reads: see tensor.Controls
	advance tensor.Recording         // on a device: one serves every step
}

// span is elements From … To of flat buffers that learn at Rate times the learning rate and decay alike.
type span struct {
	From, To    int64
	Rate, Decay float64
}

// New makes an optimiser of a trained store, with nothing remembered.
func New(c Config, s *nn.Store) (*Optimizer, error) {
	o := &Optimizer{store: s, age: func(step int64) float64 { return float64(step) }, control: tensor.NewControl().Forget()}
	switch c.Kind {
	case "adamw":
		o.rule = o.adamW(c, spans(s, c.WeightDecay, nil))
	case "lion":
		o.rule = o.lion(c, spans(s, c.WeightDecay, nil))
	case "adafactor":
		o.rule = o.adafactor(c)
	case "muon":
		o.rule = o.muon(c)
	default:
		o.Free()
		return nil, fmt.Errorf("optimizer %q is not known", c.Kind)
	}
	return o, nil
}

// remember makes a buffer that lasts from step to step.
func (o *Optimizer) remember(size int64) tensor.Tensor {
	t := tensor.Zeros(tensor.Float32, size).Forget()
	o.State = append(o.State, t)
	return t
}

// Norm is the global norm of the gradients.
func (o *Optimizer) Norm() float64 { return math.Sqrt(tensor.SumSquares(o.store.Grads)) }

// ClipScale is what gradients of this norm are multiplied with so that it stays at or below clip (0 is no bound), as
// torch.nn.utils.clip_grad_norm_ does it.
func ClipScale(norm, clip float64) float64 {
	if clip <= 0 {
		return 1
	}
	return math.Min(1, clip/(norm+1e-6))
}

// Update makes one step with gradients scaled by scale, and leaves the gradients zero.
func (o *Optimizer) Update(learningRate, scale float64) {
	o.begin(learningRate, scale)
	defer tensor.Open().Close()
	o.rule()
	o.store.Refresh()
}

// Advance is Update on a device, where nothing is read back: gradients are clipped to a norm of clip. stats is tensor.StepStats, the
// loss filled in.
func (o *Optimizer) Advance(learningRate, clip float64, stats tensor.Tensor) {
	o.begin(learningRate, 1)
	o.advance.Run(func() {
		tensor.Clip(o.store.Grads, o.control, stats, clip)
		o.rule()
		o.store.Refresh()
	})
}

// begin counts a step and fills in its control.
func (o *Optimizer) begin(learningRate, scale float64) {
	defer tensor.Open().Close()
	o.Step++
	o.control.CopyFrom(tensor.Of([]float64{learningRate, scale, o.age(o.Step), 0}, tensor.Controls))
}

// Free releases the state.
func (o *Optimizer) Free() {
	o.advance.Free()
	o.control.Free()
	for _, t := range o.State {
		t.Free()
	}
}

// spans is the trained elements of a store, but for weights that skip names, in as few spans as can be.
func spans(s *nn.Store, decay float64, skip func(*nn.Weight) bool) []span {
	var all []span
	for i, w := range s.Weights {
		end := s.Size
		if i+1 < len(s.Weights) {
			end = s.Weights[i+1].PartAt(0)
		}
		for k := range w.Parts {
			if w.Frozen(k) || skip != nil && skip(w) {
				continue
			}
			next := span{From: w.PartAt(k), To: end, Decay: decayOf(w, decay), Rate: rateOf(w)}
			if k+1 < len(w.Parts) {
				next.To = w.PartAt(k + 1)
			}
			if n := len(all); n > 0 && all[n-1].To == next.From && all[n-1].Decay == next.Decay && all[n-1].Rate == next.Rate {
				all[n-1].To = next.To
				continue
			}
			all = append(all, next)
		}
	}
	return all
}

// each calls f with every span, its number of elements and where they are in buffers of spans alone.
func each(all []span, f func(r span, at, n int64)) {
	var at int64
	for _, r := range all {
		n := r.To - r.From
		f(r, at, n)
		at += n
	}
}

func size(all []span) (n int64) {
	for _, r := range all {
		n += r.To - r.From
	}
	return n
}

func decayOf(w *nn.Weight, decay float64) float64 {
	if vector(w) && !w.Decays {
		return 0
	}
	return decay
}

func rateOf(w *nn.Weight) float64 {
	if w.Rate == 0 {
		return 1
	}
	return w.Rate
}

// places calls f with the place of every trained matrix and vector of a store, but for weights that skip names.
func places(s *nn.Store, skip func(*nn.Weight) bool, f func(*nn.Weight, tensor.Place)) {
	for _, w := range s.Weights {
		if skip != nil && skip(w) {
			continue
		}
		for i, p := range w.Places() {
			if !w.Frozen(i) {
				f(w, p)
			}
		}
	}
}

func vector(w *nn.Weight) bool { return len(w.Shape) == 1 }
