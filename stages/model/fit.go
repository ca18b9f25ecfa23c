package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// computeDtype is what operators compute in: auto is float32 on the CPU and bfloat16 on a device.
func computeDtype(name string) (tensor.Dtype, error) {
	if name == "auto" || name == "" {
		return deviceDtype(), nil
	}
	return model.ParseDtype(name)
}

func deviceDtype() tensor.Dtype {
	if tensor.OnDevice() {
		return tensor.BFloat16
	}
	return tensor.Float32
}

// saveAfter is the time after which a step is saved whatever saveEvery says: a worker that is killed loses no more.
const saveAfter = 2 * time.Minute

// fit trains store (the base's weights, or an adapter's) by a method, from the newest checkpoint on.
func fit(ctx context.Context, j *stages.Job, c *schemas.Training, m *model.Model, store *nn.Store, f method) error {
	order := &train.Order{Examples: f.items, Rows: c.Batch.Rows, Accumulate: c.Batch.Accumulate, Repeat: f.repeat, Shuffle: c.Shuffle, Lengths: f.lengths, Seed: uint64(c.Seed)}
	total := order.Steps(c.Epochs)
	if c.MaxSteps != nil {
		total = *c.MaxSteps
	}
	schedule := optim.Schedule(c.Schedule)
	optimizer, err := optim.New(optim.Config(c.Optimizer), store)
	if err != nil {
		return err
	}
	t := &train.Trainer{Model: m, Store: store, Clip: c.Clip, Checkpointing: c.GradientCheckpointing, Seed: uint64(c.Seed), Optimizer: optimizer}
	defer t.Free()

	numerics, err := Numerics(j.Job)
	if err != nil {
		return err
	}
	state := &train.State{Numerics: numerics, Sums: map[string]float64{}, Buffers: append([]tensor.Tensor{store.Values}, optimizer.State...)}
	if f.eval != nil && f.eval.KeepBest {
		best := store.Values.Clone().Forget() // of the best step so far
		defer best.Free()
		state.Buffers = append(state.Buffers, best)
	}
	resumed, err := state.Restore(j.Checkpoints, j.Warn)
	if err != nil {
		return stages.Errorf("", "%w", err)
	}
	if resumed {
		store.Refresh()
		t.Optimizer.Step = state.Step
		if f.carried != nil {
			if err := json.Unmarshal(state.Method, f.carried); err != nil {
				return stages.Errorf("", "checkpoint of step %d: %w", state.Step, err)
			}
		}
		if err := j.Resumed(state.Step); err != nil {
			return err
		}
	}
	var micro [][]int // of the newest step
	hopeless := func(step int64, what string) error {
		return stages.Errorf("data", "step %d: %w; the checkpoint before it is kept; a lower learningRate or a clip may help; the rows of the step: %s",
			step, &train.NotFinite{What: what}, named(j, f.rowsOf(micro)))
	}
	saved, savedAt := state.Step, time.Now()
	save := func() error {
		if saved == state.Step {
			return nil
		}
		pending, _, err := t.Pending()
		if bad := (*train.NotFinite)(nil); errors.As(err, &bad) {
			return hopeless(state.Step, bad.What)
		} else if err != nil {
			return err
		}
		state.Sums["loss"] += pending
		if !t.Finite() {
			return hopeless(state.Step, "a weight")
		}
		if f.carried != nil {
			if state.Method, err = json.Marshal(f.carried); err != nil {
				return err
			}
		}
		if err := state.Save(j.Checkpoints, c.SaveTotalLimit); err != nil {
			return err
		}
		saved, savedAt = state.Step, time.Now()
		j.Checkpoint(state.Step)
		return nil
	}

	last := time.Now()
	evaluate := func() error {
		if state.Best.Evaluated == state.Step || !f.eval.due(state.Step, total) {
			return nil
		}
		began := time.Now()
		err := f.eval.evaluate(ctx, j, t, state, order.Epoch(state.Step))
		last = last.Add(time.Since(began)) // no part of tokens_per_second
		return err
	}
	if err := evaluate(); err != nil { // of a step after which it was broken off
		return err
	}
	for state.Step < total && !f.eval.stops(&state.Best) {
		step := state.Step
		share, err := schedule.At(step, total)
		if err != nil {
			return err
		}
		micro = order.Step(step)
		logged := (step+1)%int64(c.LogEvery) == 0 || step+1 == total
		t.Unread = !logged
		r, err := f.step(ctx, t, micro, share*c.LearningRate)
		if err != nil {
			var bad *train.NotFinite
			if errors.As(err, &bad) {
				return hopeless(step+1, bad.What) // no save: it would push out a checkpoint that is better
			}
			if lost := save(); lost != nil {
				return errors.Join(err, lost)
			}
			return err // as it is, with its place
		}
		state.Step++
		state.Sums["steps"]++
		state.Sums["loss"] += r.Loss
		state.Sums["tokens"] += float64(r.tokens)
		state.Sums["total_tokens"] += float64(r.tokens)
		for name, v := range r.metrics {
			state.Sums[metricSum+name] += v
			state.Sums[metricCount+name]++ // kto's batch may lack a label
		}
		if logged {
			now := time.Now()
			loss := state.Sums["loss"] / state.Sums["steps"]
			values := map[string]float64{
				"loss": loss, "grad_norm": r.GradNorm, "learning_rate": share * c.LearningRate,
				"epoch": order.Epoch(state.Step), "tokens": state.Sums["total_tokens"], "num_tokens": state.Sums["total_tokens"],
				"tokens_per_second": state.Sums["tokens"] / math.Max(now.Sub(last).Seconds(), 1e-9),
			}
			for sum, v := range state.Sums {
				if name, ok := strings.CutPrefix(sum, metricSum); ok {
					values[name] = v / state.Sums[metricCount+name]
					delete(state.Sums, sum)
					delete(state.Sums, metricCount+name)
				}
			}
			if err := j.Metric(state.Step, values); err != nil {
				return err
			}
			state.Sums["logged_loss"] = loss
			for _, name := range summed {
				if v, ok := values[name]; ok {
					state.Sums[metricLogged+name] = v
				}
			}
			state.Sums["steps"], state.Sums["loss"], state.Sums["tokens"] = 0, 0, 0
			last = now
		}
		j.Progress(state.Step, total, "steps")
		if err := evaluate(); err != nil {
			return errors.Join(err, save())
		}
		if state.Step%int64(c.SaveEvery) == 0 || time.Since(savedAt) > saveAfter {
			if err := save(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), save())
		}
	}
	if c.CanGrow(f.settings()) { // a longer training goes on from here
		if err := save(); err != nil {
			return err
		}
	}
	if saved != state.Step {
		if !t.Finite() {
			return hopeless(state.Step, "a weight")
		}
	}
	if f.eval != nil {
		j.Summary("eval_loss", state.Best.Loss)
		j.Summary("best_step", float64(state.Best.Step))
		if f.eval.KeepBest {
			store.Values.CopyFrom(state.Buffers[len(state.Buffers)-1])
			store.Refresh()
		}
	}
	j.Summary("steps", float64(state.Step))
	j.Summary("loss", state.Sums["logged_loss"]) // of a checkpoint where that one is of the last step
	for _, name := range summed {
		if v, ok := state.Sums[metricLogged+name]; ok {
			j.Summary(name, v)
		}
	}
	return nil
}

// named names rows of the data by the lines of the user's file, the first of many.
func named(j *stages.Job, rows []int64) string {
	const most = 16
	var said []string
	for _, n := range rows[:min(len(rows), most)] {
		said = append(said, j.Row("data", n))
	}
	if more := len(rows) - most; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, ", ")
}

// The names of the sums of a method's metrics, of how many steps had them, and of what was logged last begin so.
const metricSum, metricCount, metricLogged = "metric/", "count/", "logged/"

// summed is the metrics of methods, under TRL's names, that stand beside the loss in a stage's record, as they were logged last.
var summed = []string{
	"rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "log_odds_ratio",
	"reward", "reward_std", "frac_reward_zero_std", "completions/mean_length", "kl",
}

// loadFrozen opens a model as an adapter is trained on it: in dtype, or its linear layers in four bits.
func loadFrozen(in job.Input, dtype tensor.Dtype, quantize string, double bool) (*model.Model, error) {
	if quantize == "" {
		return loadModel(in, dtype)
	}
	if tensor.OnDevice() {
		return nil, errors.New("lora.quantize: nf4 is computed on the CPU alone; leave it out, or run with --device cpu")
	}
	return model.LoadNF4(in.Path, dtype, double)
}

// loadModel opens a model, or an adapter on its base, for reading.
func loadModel(in job.Input, dtype tensor.Dtype) (*model.Model, error) {
	base := in
	if in.Base != nil {
		base = *in.Base
	}
	m, err := model.Load(base.Path, dtype, false)
	if err != nil {
		return nil, err
	}
	if in.Base != nil {
		if err := m.LoadAdapter(in.Path, false); err != nil {
			m.Free()
			return nil, err
		}
	}
	return m, nil
}
