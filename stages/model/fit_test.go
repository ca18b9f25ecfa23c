package model

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// A training that is killed after its last checkpoint, before its model is kept, gives the same bytes and the same summary
// without another step.
func TestResumedAtTheEnd(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	config := sftConfig(func(c *schemas.TrainSFT) { c.SaveEvery, c.LogEvery = 4, 5 })
	start := func(state, log string) *job.Job { return fitJob(t, data, nil, config, state, log) }
	first := start("", "")
	want := do(t, first)
	again := start(first.Checkpoints, first.Log)
	got := do(t, again)
	for _, e := range got.Events {
		if e.Event == "metric" || e.Event == "checkpoint" {
			t.Errorf("%s of step %d", e.Event, e.Step)
		}
	}
	if d := cmp.Diff(want.Last().Values, got.Last().Values); d != "" {
		t.Errorf("summary: first -, again +\n%s", d)
	}
	if _, ok := want.Last().Values["loss"]; !ok {
		t.Errorf("summary %v", want.Last().Values)
	}
	if digest(t, want.Out("model")) != digest(t, got.Out("model")) {
		t.Error("the model is another one")
	}
}

func TestRemedy(t *testing.T) {
	const rate, model = "; a lower learningRate or a clip may help", "; nothing was trained before it: the model or these rows give it"
	for _, c := range []struct {
		step, saved int64
		what, want  string
	}{
		{1, 0, "loss", model},
		{1, 0, "gradient norm", model},
		{1, 0, aWeight, rate},
		{2, 0, "loss", rate},
		{5, 3, "loss", "; the checkpoint of step 3 is kept" + rate},
	} {
		if got := remedy(c.step, c.saved, c.what); got != c.want {
			t.Errorf("step %d, saved %d, %s: %s", c.step, c.saved, c.what, got)
		}
	}
}

// fitJob is train.sft on the toy; it goes on from state where there is one.
func fitJob(t *testing.T, data job.Input, extra map[string]job.Input, config, state, log string) *job.Job {
	t.Helper()
	j := stagetest.New(t, "train.sft", config, map[string]string{"model": "model"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), data
	for field, in := range extra {
		j.Inputs[field] = in
	}
	if state != "" {
		j.Checkpoints, j.Log = state, log
	}
	return j
}

// keepUntil throws away the checkpoints beyond a step, as if the worker had been killed there.
func keepUntil(t *testing.T, dir string, step int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "step-*"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	left := 0
	for _, p := range paths {
		var at int
		if _, err := fmt.Sscanf(filepath.Base(p), "step-%d", &at); err != nil {
			t.Fatal(err)
		}
		if at <= step {
			left++
		} else if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	if left == 0 {
		t.Fatalf("no checkpoint up to step %d", step)
	}
}

var evaluated = schemas.Edge{Kind: "dataset", From: "e", Port: "data"}

// What is killed and resumed ends in the bytes, and in the log, of what was not: every optimiser, and whatever else a step goes on from.
func TestResume(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	others := map[string]job.Input{"eval.data": rows(t, filepath.Join(trainData, "unseen.jsonl"))}
	optimizer := func(kind string, rate float64) func(*schemas.TrainSFT) {
		return func(c *schemas.TrainSFT) {
			c.LearningRate = rate
			c.Optimizer.Kind, c.Optimizer.Momentum, c.Optimizer.WeightDecay = kind, 0.95, 0.1
		}
	}
	lora := &schemas.LoRA{Rank: 4, Alpha: 8, Dropout: 0.1, Targets: schemas.Targets{AllLinear: true}}
	for name, change := range map[string]func(*schemas.TrainSFT){
		"adamw":          optimizer("adamw", 4e-3),
		"adafactor":      optimizer("adafactor", 4e-3),
		"lion":           optimizer("lion", 1e-3),
		"muon":           optimizer("muon", 4e-3),
		"muon, bfloat16": func(c *schemas.TrainSFT) { optimizer("muon", 4e-3)(c); c.Dtype = "bfloat16" },
		"lora, adafactor": func(c *schemas.TrainSFT) {
			optimizer("adafactor", 2e-2)(c)
			c.LoRA = lora
		},
		"noise, grouped, frozen": func(c *schemas.TrainSFT) {
			c.NEFTuneAlpha, c.GroupByLength, c.GradientCheckpointing = 5, true, true
			c.Freeze = &schemas.Freeze{Parameters: []string{"q_proj", `layers\.0\.mlp`}}
		},
		"lora, noise": func(c *schemas.TrainSFT) { c.NEFTuneAlpha, c.LoRA, c.LearningRate = 5, lora, 2e-2 },
		"dft, evaluated": func(c *schemas.TrainSFT) {
			c.Objective, c.Eval = "dft", &schemas.Evaluation{Data: evaluated, Every: 4, Batch: 2}
		},
		"best, found before and after": func(c *schemas.TrainSFT) {
			c.LearningRate = 2e-2
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 2, Batch: 8, KeepBest: true}
		},
		"stopped early": func(c *schemas.TrainSFT) {
			c.LearningRate = 5e-2
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 1, Batch: 8, EarlyStopping: &schemas.EarlyStopping{Patience: 4}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := sftConfig(func(c *schemas.TrainSFT) { c.SaveEvery, c.SaveTotalLimit = 3, 100; change(c) })
			first := fitJob(t, data, others, config, "", "")
			want := do(t, first)
			keepUntil(t, first.Checkpoints, 3)
			again := fitJob(t, data, others, config, first.Checkpoints, first.Log)
			got := do(t, again)
			if digest(t, want.Out("model")) != digest(t, got.Out("model")) {
				t.Error("the model is another one")
			}
			if d := cmp.Diff(want.Last().Values, got.Last().Values); d != "" {
				t.Errorf("summary: whole -, resumed +\n%s", d)
			}
			logged := func(r stagetest.Result, after int64) (lines []string) {
				for _, e := range r.Events {
					if e.Event == "metric" && e.Step > after {
						delete(e.Values, "time")
						delete(e.Values, "tokens_per_second")
						lines = append(lines, fmt.Sprint(e.Step, e.Values))
					}
				}
				return lines
			}
			if d := cmp.Diff(logged(want, 3), logged(got, 0)); d != "" {
				t.Errorf("log: whole -, resumed +\n%s", d)
			}
		})
	}
}

// A checkpoint of other threads or another library is refused, with both and what makes it run; it stays as it is.
func TestResumeElsewhere(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	config := sftConfig(func(c *schemas.TrainSFT) { c.SaveEvery = 3 })
	first := fitJob(t, data, nil, config, "", "")
	want := do(t, first)
	keepUntil(t, first.Checkpoints, 9)
	refused := func(threads int, was, is string) {
		t.Helper()
		j := fitJob(t, data, nil, config, first.Checkpoints, first.Log)
		j.Threads = threads
		r := try(t, j)
		if e := r.Last(); r.Code != 1 || !strings.Contains(e.Message, "checkpoint of step 9: made with ") || !strings.Contains(e.Message, was+"; here it is ") ||
			!strings.Contains(e.Message, is+", and the bits would differ: run it there, or begin anew with --force") {
			t.Errorf("exit %d: %s", r.Code, e.Message)
		}
	}
	refused(first.Threads+1, ", 1 thread", ", 2 threads")
	path := filepath.Join(first.Checkpoints, "step-000000000009.json")
	state, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, first.Checkpoints, filepath.Base(path), strings.Replace(string(state), `"libtorch":"2.11.0`, `"libtorch":"2.10.0`, 1))
	behind := ", 1 thread"
	if kernels := tensor.Kernels(); kernels != "" {
		behind = ", " + kernels + behind
	}
	refused(first.Threads, "libtorch 2.10.0"+behind, "libtorch 2.11.0"+behind)
	write(t, first.Checkpoints, filepath.Base(path), string(state))
	if got := do(t, fitJob(t, data, nil, config, first.Checkpoints, first.Log)); digest(t, got.Out("model")) != digest(t, want.Out("model")) {
		t.Error("the model is another one")
	}
}

// A training whose learning rate does not depend on its length is made longer from its last state, in the bytes of a long one.
func TestLonger(t *testing.T) {
	data, chosen, questions := rows(t, filepath.Join(trainData, "messages.jsonl")), pairs(t), prompts(t)
	sft := func(change func(c *schemas.TrainSFT, length int64)) func(int64) *job.Job {
		return func(length int64) *job.Job {
			return fitJob(t, data, nil, sftConfig(func(c *schemas.TrainSFT) { c.MaxSteps = &length; change(c, length) }), "", "")
		}
	}
	for name, c := range map[string]struct {
		job         func(length int64) *job.Job
		short, long int64
		steps       string // that are left
	}{
		"lora": {sft(func(c *schemas.TrainSFT, _ int64) {
			c.Schedule.Warmup = 2
			c.LoRA = &schemas.LoRA{Rank: 4, Alpha: 8, Dropout: 0.1, Targets: schemas.Targets{AllLinear: true}}
		}), 5, 12, "6 7 8 9 10 11 12"},
		"full, by epochs": {sft(func(c *schemas.TrainSFT, epochs int64) { c.MaxSteps, c.Epochs = nil, float64(epochs) }), 1, 2, "11 12 13 14 15 16 17 18 19 20"},
		"packed": {sft(func(c *schemas.TrainSFT, epochs int64) {
			c.MaxSteps, c.Epochs, c.Packing, c.MaxLength, c.Batch.Rows = nil, float64(epochs), true, 256, 1
		}), 1, 2, "8 9 10 11 12 13 14"},
		"dpo": {func(steps int64) *job.Job {
			return prefer(t, chosen, nil, func(c *schemas.TrainDPO) { c.MaxSteps = &steps })
		}, 3, 7, "4 5 6 7"},
		"grpo, within a round of answers": {func(steps int64) *job.Job {
			return grpoJob(t, questions, func(c *schemas.TrainGRPO) {
				c.MaxSteps, c.Iterations, c.Beta, c.Batch.Accumulate = &steps, 3, 0.1, 2
			})
		}, 4, 8, "5 6 7 8"},
	} {
		t.Run(name, func(t *testing.T) {
			short, longer := c.job(c.short), c.job(c.long)
			do(t, short)
			longer.Checkpoints, longer.Log = short.Checkpoints, short.Log
			got, whole := do(t, longer), do(t, c.job(c.long))
			if digest(t, got.Out("model")) != digest(t, whole.Out("model")) {
				t.Error("the model is another one")
			}
			if got := steps(got); got != c.steps {
				t.Errorf("steps %s", got)
			}
		})
	}
}

func steps(r stagetest.Result) string {
	var all []string
	for _, e := range r.Events {
		if e.Event == "metric" {
			all = append(all, fmt.Sprint(e.Step))
		}
	}
	return strings.Join(all, " ")
}

// The best step's weights are kept, not the last's, and a training that gets no better ends.
func TestEvaluation(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	others := map[string]job.Input{"eval.data": rows(t, filepath.Join(trainData, "unseen.jsonl"))}
	run := func(change func(*schemas.Evaluation)) (map[int64]float64, stagetest.Result) {
		r := do(t, fitJob(t, data, others, sftConfig(func(c *schemas.TrainSFT) {
			steps := int64(40)
			c.MaxSteps, c.LearningRate, c.Dtype = &steps, 2e-2, "float32"
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 3, Batch: 8}
			change(c.Eval)
		}), "", ""))
		losses := map[int64]float64{}
		for _, e := range r.Events {
			if v, ok := e.Values["eval_loss"]; ok && e.Event == "metric" {
				losses[e.Step] = v
			}
		}
		return losses, r
	}
	losses, r := run(func(e *schemas.Evaluation) { e.KeepBest = true })
	best, at := math.Inf(1), int64(0)
	for step := int64(1); step <= 40; step++ {
		if v, ok := losses[step]; ok && v < best {
			best, at = v, step
		}
	}
	if _, ok := losses[40]; !ok || len(losses) != 14 || at == 40 {
		t.Errorf("evaluated at %v, the best at %d: that is to be before the end", losses, at)
	}
	if s := r.Last().Values; s["eval_loss"] != best || s["best_step"] != float64(at) || s["steps"] != 40 {
		t.Errorf("summary %v, want step %d with %g", s, at, best)
	}
	kept := digest(t, r.Out("model"))
	all, _ := run(func(*schemas.Evaluation) {})
	if len(all) != 14 || all[40] != losses[40] {
		t.Errorf("without keepBest %v", all)
	}
	stopped, r := run(func(e *schemas.Evaluation) { e.EarlyStopping = &schemas.EarlyStopping{Patience: 2, MinDelta: 1e-3} })
	last := r.Last().Values["steps"]
	if last >= 40 || float64(3*len(stopped)) != last {
		t.Errorf("stopped after %g steps: %v", last, stopped)
	}
	again := do(t, fitJob(t, data, nil, sftConfig(func(c *schemas.TrainSFT) {
		steps := at
		c.MaxSteps, c.LearningRate, c.Dtype = &steps, 2e-2, "float32"
	}), "", ""))
	if digest(t, again.Out("model")) != kept {
		t.Error("the weights kept are not those of the best step")
	}
}
