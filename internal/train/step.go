package train

import (
	"context"
	"math"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
)

// Trainer is a model being trained. Store is what moves: the model's base, or its adapter.
type Trainer struct {
	Model         *model.Model
	Store         *nn.Store
	Optimizer     *optim.Optimizer
	Clip          float64
	Checkpointing bool // recompute layers in the backward pass
	Seed          uint64
	Unread        bool // the next step's loss may wait: a later one that is read tells the sum, which spares the device a stop

	device *device
}

// Result is what a step reports.
type Result struct {
	Loss     float64
	GradNorm float64 // before clipping
}

// NotFinite is a loss, gradient or weight that is not a number. The weights are as before the step.
type NotFinite struct{ What string }

func (e *NotFinite) Error() string { return e.What + " is not finite" }

// Finite reports whether every weight is a finite number. It reads them all.
func (t *Trainer) Finite() bool {
	if tensor.OnDevice() {
		sum := tensor.SumSquares(t.Store.Values)
		return !math.IsNaN(sum) && !math.IsInf(sum, 0)
	}
	const infinite = 0x7f800000 // its bits; those of a NaN are more
	var most uint32
	for _, v := range t.Store.Values.Floats() {
		most = max(most, math.Float32bits(v)&0x7fffffff)
	}
	return most < infinite
}

// Step is one update from the gradients of so many micro-batches: backward adds those of one and returns its share of the
// step's loss; on a device it may leave it to the device (see NLL). When ctx ends in the middle, or a number is not finite (a
// NotFinite), the weights are those before the step.
func (t *Trainer) Step(ctx context.Context, micro int, backward func(i int) (float64, error), learningRate float64) (Result, error) {
	var r Result
	t.Model.Draws.On = true
	defer func() { t.Model.Draws.On = false }()
	t.Model.Draws.Begin(t.Seed ^ uint64(t.Optimizer.Step+1)*0xd1342543de82ef95)
	for i := range micro {
		if err := ctx.Err(); err != nil && (i == 0 || !tensor.OnDevice()) { // there the loss of half a step could not be told from others
			return r, err
		}
		loss, err := backward(i)
		if err != nil {
			return r, err
		}
		r.Loss += loss
	}
	t.Store.DropFrozen()
	if tensor.OnDevice() {
		return t.advance(r, learningRate)
	}
	r.GradNorm = t.Optimizer.Norm()
	switch {
	case notFinite(r.Loss):
		return r, &NotFinite{What: "loss"}
	case notFinite(r.GradNorm):
		return r, &NotFinite{What: "gradient norm"}
	}
	t.Optimizer.Update(learningRate, optim.ClipScale(r.GradNorm, t.Clip))
	return r, nil
}

func notFinite(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
