package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	l, err := begin(j, c, m, store, f)
	if err != nil {
		return err
	}
	defer l.free()
	if err := l.restore(); err != nil {
		return err
	}
	if err := l.evaluate(ctx); err != nil { // a step after which it was broken off
		return err
	}
	for l.state.Step < l.total && !f.eval.stops(&l.state.Best) {
		if err := l.step(ctx); err != nil {
			return err
		}
		if err := l.evaluate(ctx); err != nil {
			return errors.Join(err, l.save())
		}
		if l.state.Step%int64(c.SaveEvery) == 0 || time.Since(l.savedAt) > saveAfter {
			if err := l.save(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), l.save())
		}
	}
	return l.finish()
}

// fitting is a training on its way.
type fitting struct {
	*schemas.Training
	job     *stages.Job
	method  method
	trainer *train.Trainer
	order   *train.Order
	total   int64 // steps
	state   *train.State
	best    tensor.Tensor // weights of the best step so far, where they are kept
	micro   [][]int       // items of the newest step

	saved   int64 // step of the newest checkpoint
	savedAt time.Time
	logged  time.Time
	still   bool // it was said that the gradient is zero
}

func begin(j *stages.Job, c *schemas.Training, m *model.Model, store *nn.Store, f method) (*fitting, error) {
	order := &train.Order{Examples: f.items, Rows: c.Batch.Rows, Accumulate: c.Batch.Accumulate, Repeat: f.repeat, Shuffle: c.Shuffle, Lengths: f.lengths, Seed: uint64(c.Seed)}
	total := order.Steps(c.Epochs)
	if c.MaxSteps != nil {
		total = *c.MaxSteps
	}
	if w := c.Schedule.Warmup; w >= 1 && w >= float64(total) && j.Rows == 0 { // a smoke is shorter than what it tries
		j.Warn("schedule.warmup: %g steps, and the training has %d: learningRate is never reached", w, total)
	}
	numerics, err := Numerics(j.Job)
	if err != nil {
		return nil, err
	}
	optimizer, err := optim.New(optim.Config(c.Optimizer), store)
	if err != nil {
		return nil, err
	}
	t := &train.Trainer{Model: m, Store: store, Clip: c.Clip, Checkpointing: c.GradientCheckpointing, Seed: uint64(c.Seed), Optimizer: optimizer}
	l := &fitting{Training: c, job: j, method: f, trainer: t, order: order, total: total, logged: time.Now()}
	l.state = &train.State{Numerics: numerics, Sums: map[string]float64{}, Buffers: append([]tensor.Tensor{store.Values}, optimizer.State...)}
	if f.eval != nil && f.eval.KeepBest {
		l.best = store.Values.Clone().Forget()
		l.state.Buffers = append(l.state.Buffers, l.best)
	}
	return l, nil
}

func (l *fitting) free() {
	l.best.Free()
	l.trainer.Free()
}

// restore goes on from the newest checkpoint, where there is one.
func (l *fitting) restore() error {
	resumed, err := l.state.Restore(l.job.Checkpoints, l.job.Warn)
	if err != nil {
		return stages.Errorf("", "%w", err)
	}
	l.saved, l.savedAt = l.state.Step, time.Now()
	if !resumed {
		return nil
	}
	l.trainer.Store.Refresh()
	l.trainer.Optimizer.Step = l.state.Step
	if carried := l.method.carried; carried != nil {
		if err := json.Unmarshal(l.state.Method, carried); err != nil {
			return stages.Errorf("", "checkpoint of step %d: %w", l.state.Step, err)
		}
	}
	return l.job.Resumed(l.state.Step)
}

// save writes a checkpoint of the newest step.
func (l *fitting) save() error {
	if l.saved == l.state.Step {
		return nil
	}
	pending, _, err := l.trainer.Pending()
	if bad := (*train.NotFinite)(nil); errors.As(err, &bad) {
		return l.hopeless(l.state.Step, bad.What)
	} else if err != nil {
		return err
	}
	l.state.Sums["loss"] += pending
	if !l.trainer.Finite() {
		return l.hopeless(l.state.Step, aWeight)
	}
	if carried := l.method.carried; carried != nil {
		if l.state.Method, err = json.Marshal(carried); err != nil {
			return err
		}
	}
	if err := l.state.Save(l.job.Checkpoints, l.SaveTotalLimit); err != nil {
		return err
	}
	l.saved, l.savedAt = l.state.Step, time.Now()
	l.job.Checkpoint(l.state.Step, "steps")
	return nil
}

// aWeight is what is not finite where the loss did not show it.
const aWeight = "a weight"

// hopeless is the error of a step with a number that is not finite.
func (l *fitting) hopeless(step int64, what string) error {
	return stages.Errorf("data", "step %d: %w%s; the rows of the step: %s",
		step, &train.NotFinite{What: what}, remedy(step, l.saved, what), named(l.job, l.method.rowsOf(l.micro)))
}

// remedy says what is left, and what may help. The loss and the gradient of the first step are of the model as it came: no rate
// helps there.
func remedy(step, saved int64, what string) string {
	said := ""
	if saved > 0 {
		said = fmt.Sprintf("; the checkpoint of step %d is kept", saved)
	}
	if step > 1 || what == aWeight {
		return said + "; a lower learningRate or a clip may help"
	}
	return said + "; nothing was trained before it: the model or these rows give it"
}

// step makes the next update, and logs it where its turn has come.
func (l *fitting) step(ctx context.Context) error {
	step := l.state.Step
	schedule := optim.Schedule(l.Schedule)
	share, err := schedule.At(step, l.total)
	if err != nil {
		return err
	}
	rate := share * l.LearningRate
	l.micro = l.order.Step(step)
	logged := (step+1)%int64(l.LogEvery) == 0 || step+1 == l.total
	l.trainer.Unread = !logged
	o, err := l.method.step(ctx, l.trainer, l.micro, rate)
	if bad := (*train.NotFinite)(nil); errors.As(err, &bad) {
		return l.hopeless(step+1, bad.What) // no save: it would push out a checkpoint that is better
	} else if err != nil {
		if lost := l.save(); lost != nil {
			return errors.Join(err, lost)
		}
		return err // as it is, with its place
	}
	l.state.Step++
	l.add(o)
	if logged {
		if err := l.log(o.GradNorm, rate); err != nil {
			return err
		}
	}
	l.job.Progress(l.state.Step, l.total, "steps")
	return nil
}

// evaluate measures the newest step, where it is due and was not measured.
func (l *fitting) evaluate(ctx context.Context) error {
	e := l.method.eval
	if l.state.Best.Evaluated == l.state.Step || !e.due(l.state.Step, l.total) {
		return nil
	}
	began := time.Now()
	err := e.evaluate(ctx, l.job, l.trainer, l.state, l.order.Epoch(l.state.Step))
	l.logged = l.logged.Add(time.Since(began)) // no part of tokens_per_second
	return err
}

// finish ends a training that has made its steps: the model is left as it is to be kept.
func (l *fitting) finish() error {
	if l.CanGrow(l.method.settings()) { // a longer training goes on from here
		if err := l.save(); err != nil {
			return err
		}
	}
	if l.saved != l.state.Step && !l.trainer.Finite() {
		return l.hopeless(l.state.Step, aWeight)
	}
	if e := l.method.eval; e != nil {
		l.job.Summary("eval_"+e.by, e.loss(l.state.Best.Loss))
		l.job.Summary("best_step", float64(l.state.Best.Step))
		if e.KeepBest {
			l.trainer.Store.Values.CopyFrom(l.best)
			l.trainer.Store.Refresh()
		}
	}
	l.summarize()
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

// loadFrozen opens a model as an adapter is trained on it: in dtype, or its linear layers in four bits.
func loadFrozen(in job.Input, dtype tensor.Dtype, quantize string, double bool) (*model.Model, error) {
	if quantize == "" {
		return loadModel(in, dtype)
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
