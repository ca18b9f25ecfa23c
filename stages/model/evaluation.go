package model

import (
	"context"
	"math"
	"slices"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// evaluation is how a training is measured on rows that it does not train on, and what follows from it.
type evaluation struct {
	*schemas.Evaluation
	by string // the figure that decides what is best: the lowest loss, or the highest reward
	// measure gives what is logged, under TRL's names without eval_.
	measure func(ctx context.Context, m *model.Model) (map[string]float64, error)
}

// loss is what a figure of by costs, and back.
func (e *evaluation) loss(v float64) float64 {
	if e.by == "reward" {
		return -v
	}
	return v
}

// due reports whether a step that has ended is to be evaluated. The last one is: it may be the best.
func (e *evaluation) due(step, total int64) bool {
	return e != nil && step > 0 && (step%int64(e.Every) == 0 || step == total)
}

// stops reports whether so many evaluations in a row have found nothing better.
func (e *evaluation) stops(b *train.Best) bool {
	return e != nil && e.EarlyStopping != nil && b.Since >= e.EarlyStopping.Patience
}

// judge takes an evaluation of a step into account, as transformers' EarlyStoppingCallback and load_best_model_at_end do, and reports
// whether it is the best so far.
func (e *evaluation) judge(b *train.Best, step int64, loss float64) bool {
	first, margin := b.Evaluated == 0, 0.0
	if e.EarlyStopping != nil {
		margin = e.EarlyStopping.MinDelta
	}
	b.Evaluated = step
	if b.Since++; first || loss < b.Loss-margin {
		b.Since = 0
	}
	if !first && !(loss < b.Loss) {
		return false
	}
	b.Step, b.Loss = step, loss
	return true
}

// evaluate measures the model after the state's step, logs it, and keeps the weights where they are the best so far.
func (e *evaluation) evaluate(ctx context.Context, j *stages.Job, t *train.Trainer, state *train.State, epoch float64) error {
	found, err := e.measure(ctx, t.Model)
	if err != nil {
		return err
	}
	if v := found[e.by]; math.IsNaN(v) || math.IsInf(v, 0) {
		return stages.Errorf("eval", "step %d: eval_%s is not finite", state.Step, e.by)
	}
	values := map[string]float64{"epoch": epoch}
	for name, v := range found {
		values["eval_"+name] = v
	}
	if e.judge(&state.Best, state.Step, e.loss(found[e.by])) && e.KeepBest {
		state.Buffers[len(state.Buffers)-1].CopyFrom(t.Store.Values)
	}
	if e.stops(&state.Best) {
		j.Log("stopped after step %d: the %s of step %d, %.4g, has not been bettered in %d evaluations", state.Step, e.by, state.Best.Step, e.loss(state.Best.Loss), state.Best.Since)
	}
	return j.Metric(state.Step, values)
}

// held is the evaluation of a method by its loss, so many items a batch.
func held[T any](c *schemas.Evaluation, items []T, measure func(m *model.Model, batch []T) (map[string]float64, error)) *evaluation {
	return &evaluation{c, "loss", func(ctx context.Context, m *model.Model) (map[string]float64, error) {
		return train.Averaged(ctx, len(items), c.Batch, func(from, to int) (map[string]float64, error) { return measure(m, items[from:to]) })
	}}
}

// likely measures the likelihood of bins.
func likely(dft bool) func(m *model.Model, bins [][]train.Example) (map[string]float64, error) {
	return func(m *model.Model, bins [][]train.Example) (map[string]float64, error) {
		return train.Measure(m, slices.Concat(bins...), dft)
	}
}
