package model

import (
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
)

// stopped says after which of the steps, each evaluated, EarlyStoppingCallback ends a training: worth is higher where a step is better.
func stopped(worth []float64, patience int, margin float64) int {
	best, since := worth[0], 0
	for i, w := range worth[1:] {
		if since++; w > best+margin {
			since = 0
		}
		best = max(best, w)
		if since == patience {
			return i + 2
		}
	}
	return len(worth)
}

// A training of preferences or of rewards ends once it gets no better, at the step that its own figures say, also where it is resumed
// within its patience, and keeps the best step: the lowest loss, or the highest reward.
func TestStopsEarly(t *testing.T) {
	const steps, patience, margin = 16, 4, 0.01
	settings := func(c *schemas.Training, maxSteps int) {
		all := int64(maxSteps)
		c.MaxSteps, c.SaveEvery, c.SaveTotalLimit, c.Dtype = &all, 1, 100, "float32"
	}
	dpo := func(data job.Input, unseen map[string]job.Input, change func(*schemas.TrainDPO)) func(int, *schemas.Evaluation) *job.Job {
		return func(maxSteps int, e *schemas.Evaluation) *job.Job {
			extra := unseen
			if e == nil {
				extra = nil
			}
			return prefer(t, data, extra, func(c *schemas.TrainDPO) { change(c); settings(&c.Training, maxSteps); c.Eval = e })
		}
	}
	questions, others := prompts(t), lines(t, `{"prompt": "Spell pear."}`, `{"prompt": "Which is smaller, 3 or 9?"}`, `{"prompt": "Spell fig."}`)
	for name, c := range map[string]struct {
		figure string
		sign   float64 // of what is better
		job    func(maxSteps int, e *schemas.Evaluation) *job.Job
	}{
		"sigmoid": {"eval_loss", -1, dpo(pairs(t), unseen(t, "unseen-pairs.jsonl"), func(c *schemas.TrainDPO) { c.LearningRate = 2e-2 })},
		"kto":     {"eval_loss", -1, dpo(labelled(t), unseen(t, "unseen-labelled.jsonl"), func(c *schemas.TrainDPO) { c.Loss, c.LearningRate = "kto", 2e-2 })},
		"grpo": {"eval_reward", 1, func(maxSteps int, e *schemas.Evaluation) *job.Job {
			j := grpoJob(t, questions, func(c *schemas.TrainGRPO) { c.LearningRate = 2e-2; settings(&c.Training, maxSteps); c.Eval = e })
			j.Inputs["eval.data"] = others
			return j
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := schemas.Evaluation{Data: evaluated, Every: 1, Batch: 4}
			all := logged(do(t, c.job(steps, &e)), c.figure)
			var worth []float64
			for _, v := range all {
				worth = append(worth, c.sign*v)
			}
			if len(worth) != steps {
				t.Fatalf("%d evaluations", len(worth))
			}
			end := stopped(worth, patience, margin)
			best := slices.Index(worth, slices.Max(worth[:end]))
			if end == steps || best == 0 || best == end-1 {
				t.Errorf("%v are to be best on the way, not at %d of %d", all, best+1, end)
			}
			e.KeepBest, e.EarlyStopping = true, &schemas.EarlyStopping{Patience: patience, MinDelta: margin}
			first := c.job(steps, &e)
			early := do(t, first)
			if got := logged(early, c.figure); !slices.Equal(got, all[:end]) {
				t.Errorf("evaluated to %v, want %v", got, all[:end])
			}
			want := map[string]float64{"steps": float64(end), "best_step": float64(best + 1), c.figure: all[best]}
			kept := digest(t, do(t, c.job(best+1, nil)).Out("model"))
			keepUntil(t, first.Checkpoints, end-1)
			again := c.job(steps, &e)
			again.Checkpoints, again.Log = first.Checkpoints, first.Log
			resumed := do(t, again)
			if got := logged(resumed, c.figure); !slices.Equal(got, all[end-1:end]) {
				t.Errorf("resumed it was evaluated to %v, want %v", got, all[end-1:end])
			}
			for _, r := range []struct {
				what   string
				values map[string]float64
				model  string
			}{{"whole", early.Last().Values, digest(t, early.Out("model"))}, {"resumed", resumed.Last().Values, digest(t, resumed.Out("model"))}} {
				for field, v := range want {
					if r.values[field] != v {
						t.Errorf("%s: %s is %g, want %g", r.what, field, r.values[field], v)
					}
				}
				if r.model != kept {
					t.Errorf("%s: the weights kept are not those of step %d", r.what, best+1)
				}
			}
		})
	}
}
