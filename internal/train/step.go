package train

import (
	"context"
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
)

// chunk is the rows of logits held at once: 128 of a vocabulary of 150,000 in float32 are 77 MB.
const chunk = 128

// Trainer is a model being trained. Store is what moves: the model's base, or its adapter.
type Trainer struct {
	Model         *model.Model
	Store         *nn.Store
	Optimizer     *optim.AdamW
	Clip          float64
	Checkpointing bool // recompute layers in the backward pass
	Seed          uint64
}

// Result is what a step reports.
type Result struct {
	Loss     float64 // mean negative log-likelihood over the labels of the whole step
	GradNorm float64 // before clipping
	Labels   int64
	Tokens   int64
}

// NotFinite is a loss, gradient or weight that is not a number. What Step returns leaves the weights as before the step.
type NotFinite struct {
	What string
	Rows []int64
}

func (e *NotFinite) Error() string {
	const shown = 32
	if n := len(e.Rows); n > shown {
		return fmt.Sprintf("%s is not finite; rows of the step: %v and %d more", e.What, e.Rows[:shown], n-shown)
	}
	return fmt.Sprintf("%s is not finite; rows of the step: %v", e.What, e.Rows)
}

// Finite is the error of a step on micro whose update has left weights that are not finite. It reads every weight.
func (t *Trainer) Finite(micro [][]Example) error {
	const infinite = 0x7f800000 // its bits; those of a NaN are more
	var most uint32
	for _, v := range t.Store.Values.Floats() {
		most = max(most, math.Float32bits(v)&0x7fffffff)
	}
	if most >= infinite {
		return &NotFinite{"a weight", rows(micro)}
	}
	return nil
}

// Step is one update from micro-batches of examples, normalised by the labels of all of them (as TRL's SFT does). When ctx
// ends in the middle, the weights are those before the step.
func (t *Trainer) Step(ctx context.Context, micro [][]Example, learningRate float64) (Result, error) {
	var r Result
	for _, batch := range micro {
		for _, e := range batch {
			r.Labels += e.Labels()
			r.Tokens += int64(len(e.IDs))
		}
	}
	if r.Labels == 0 {
		return r, fmt.Errorf("no label in the step")
	}
	t.Model.Draws.On = true
	defer func() { t.Model.Draws.On = false }()
	t.Model.Draws.Begin(t.Seed ^ uint64(t.Optimizer.Step+1)*0xd1342543de82ef95)
	for _, batch := range micro {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		loss, err := t.backward(batch, 1/float64(r.Labels))
		if err != nil {
			return r, err
		}
		r.Loss += loss
	}
	r.GradNorm = t.Optimizer.Norm()
	switch bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }; {
	case bad(r.Loss):
		return r, &NotFinite{"loss", rows(micro)}
	case bad(r.GradNorm):
		return r, &NotFinite{"gradient norm", rows(micro)}
	}
	t.Optimizer.Update(learningRate, optim.ClipScale(r.GradNorm, t.Clip))
	return r, nil
}

func rows(micro [][]Example) []int64 {
	var out []int64
	for _, batch := range micro {
		for _, e := range batch {
			out = append(out, e.Row)
		}
	}
	return out
}

// backward adds the gradients of one micro-batch and returns its share of the loss.
func (t *Trainer) backward(batch []Example, weight float64) (float64, error) {
	defer tensor.Open().Close()
	in, at, labels := inputs(batch)
	if len(labels) == 0 {
		return 0, nil
	}
	var loss float64
	err := t.Model.WithHidden(in, t.Checkpointing, func(h tensor.Tensor) {
		n := int64(len(labels))
		weights := make([]float32, n)
		for i := range weights {
			weights[i] = float32(weight)
		}
		l, logp := tensor.CrossEntropy(h.Rows(tensor.Of(at, n)), t.Model.Head(), tensor.Of(labels, n), tensor.Of(weights, n), chunk)
		l.Backward()
		loss = -weight * sum(logp.Floats()) // in double: the sum of a large batch is exact to the last digit that is shown
	})
	return loss, err
}

// inputs is a batch as the model reads it, with the places whose prediction is trained and the labels there.
func inputs(batch []Example) (in model.Input, at, labels []int64) {
	ids := make([][]int32, len(batch))
	var base int64
	for i, e := range batch {
		ids[i] = e.IDs
		for j := 1; j < len(e.IDs); j++ {
			if e.Trained[j] {
				at, labels = append(at, base+int64(j)-1), append(labels, int64(e.IDs[j]))
			}
		}
		base += int64(len(e.IDs))
	}
	in, _ = model.Packed(ids)
	return in, at, labels
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// LogLikelihood is the summed log-likelihood of a batch's labels and their number, without gradients.
func LogLikelihood(m *model.Model, batch []Example) (total float64, count int64, err error) {
	defer tensor.Open().Close()
	in, at, labels := inputs(batch)
	if len(labels) == 0 {
		return 0, 0, nil
	}
	tensor.NoGrad(func() {
		var h tensor.Tensor
		if h, err = m.Hidden(in); err != nil {
			return
		}
		n := int64(len(labels))
		_, logp := tensor.CrossEntropy(h.Rows(tensor.Of(at, n)), m.Head(), tensor.Of(labels, n), tensor.Of(make([]float32, n), n), chunk)
		total, count = sum(logp.Floats()), n
	})
	return total, count, err
}
