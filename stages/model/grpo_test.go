package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// grpoJob is train.grpo on the toy, with every field as a schema would fill it.
func grpoJob(t *testing.T, data job.Input, change func(*schemas.TrainGRPO)) *job.Job {
	t.Helper()
	var c schemas.TrainGRPO
	if err := json.Unmarshal([]byte(sftConfig(nil)), &c.Training); err != nil {
		t.Fatal(err)
	}
	c.Dtype = "float32" // in bfloat16 this little a model does not learn at this rate, on the processor either
	steps := int64(16)
	c.MaxSteps, c.Batch.Rows, c.LearningRate = &steps, 2, 2e-3
	c.Rewards = map[string]schemas.WeightedGrader{"e": {Grader: schemas.Grader{CEL: &schemas.CEL{Expression: `completion.contains("e")`}}, Weight: 1}}
	c.Generations, c.MaxNewTokens, c.Temperature, c.TopP, c.Loss, c.Ratio = 6, 8, 1, 1, "dapo", "token"
	c.Epsilon, c.Iterations, c.ScaleRewards = 0.2, 1, "group"
	if change != nil {
		change(&c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, "train.grpo", string(b), map[string]string{"model": "model"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), data
	return j
}

func prompts(t *testing.T) job.Input {
	return lines(t, `{"prompt": "Which is larger, 3 or 9?"}`, `{"prompt": "Spell maple."}`, `{"prompt": "Spell plum."}`, `{"prompt": "How many?"}`)
}

// The reward rises: of the whole model, of an adapter, off policy, held near a reference that stands still.
func TestGRPOLearns(t *testing.T) {
	for name, change := range map[string]func(*schemas.TrainGRPO){
		"full": func(c *schemas.TrainGRPO) {},
		"off policy": func(c *schemas.TrainGRPO) {
			c.LearningRate = 4e-3
			c.Iterations, c.Loss, c.Beta, c.ScaleRewards = 2, "grpo", 0.01, "batch"
		},
		"lora": func(c *schemas.TrainGRPO) {
			c.LearningRate, c.Beta = 1e-2, 0.01
			c.LoRA = &schemas.LoRA{Rank: 8, Alpha: 16, Dropout: 0.1, Targets: schemas.Targets{AllLinear: true}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := do(t, grpoJob(t, prompts(t), func(c *schemas.TrainGRPO) {
				change(c)
				steps := int64(32 * c.Iterations)
				c.MaxSteps = &steps
			}))
			reward := logged(r, "reward")
			first, last := mean(reward[:8]), mean(reward[len(reward)-8:])
			if !(last > first+0.1) {
				t.Errorf("rewards %.3f: %.3f at first, %.3f at last", reward, first, last)
			}
			if kl := logged(r, "kl"); name != "full" && (kl[0] > 1e-6 || !(kl[len(kl)-1] > 1e-3)) {
				t.Errorf("divergence %.4f from where it starts", kl)
			}
		})
	}
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// Taken up again after any step, within a round of answers or between two, a training makes the same bytes and logs the same.
func TestGRPOResumed(t *testing.T) {
	data := prompts(t)
	others := lines(t, `{"prompt": "Spell pear."}`, `{"prompt": "Which is smaller, 3 or 9?"}`, `{"prompt": "Spell fig."}`)
	job := func() *job.Job {
		j := grpoJob(t, data, func(c *schemas.TrainGRPO) {
			steps := int64(7)
			c.MaxSteps, c.Iterations, c.Beta, c.SaveEvery, c.SaveTotalLimit, c.Batch.Accumulate = &steps, 3, 0.1, 1, 100, 2
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 2, Batch: 2, KeepBest: true}
		})
		j.Inputs["eval.data"] = others
		return j
	}
	first := job()
	want := do(t, first)
	for step := 1; step < 7; step++ {
		again := job()
		for k := 1; k <= step; k++ {
			for _, suffix := range []string{".json", ".bin"} {
				name := fmt.Sprintf("step-%012d%s", k, suffix)
				b, err := os.ReadFile(filepath.Join(first.Checkpoints, name))
				if err != nil {
					t.Fatal(err)
				}
				write(t, again.Checkpoints, name, string(b))
			}
		}
		got := do(t, again)
		if digest(t, want.Out("model")) != digest(t, got.Out("model")) {
			t.Errorf("from step %d: another model", step)
		}
		for _, name := range []string{"reward", "loss", "kl"} {
			if a, b := logged(want, name)[step:], logged(got, name); fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("from step %d: %s %v, want %v", step, name, b, a)
			}
		}
		if a, b := logged(want, "eval_reward")[step/2:], logged(got, "eval_reward"); len(b) == 0 || fmt.Sprint(a[len(a)-len(b):]) != fmt.Sprint(b) {
			t.Errorf("from step %d: evaluated to %v, want %v", step, b, a)
		}
		if a, b := want.Last().Values, got.Last().Values; a["best_step"] != b["best_step"] || a["eval_reward"] != b["eval_reward"] {
			t.Errorf("from step %d: summary %v, want %v", step, b, a)
		}
	}
}

// An evaluation rewards answers to other prompts, and moves nothing. The weights kept are those whose answers were worth most.
func TestGRPOEvaluated(t *testing.T) {
	plain := do(t, grpoJob(t, prompts(t), nil))
	run := func(keep bool) stagetest.Result {
		j := grpoJob(t, prompts(t), func(c *schemas.TrainGRPO) {
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 2, Batch: 2, KeepBest: keep}
		})
		j.Inputs["eval.data"] = lines(t, `{"prompt": "Spell pear."}`, `{"prompt": "Which is smaller, 3 or 9?"}`, `{"prompt": "Spell fig."}`)
		return do(t, j)
	}
	r := run(false)
	if digest(t, plain.Out("model")) != digest(t, r.Out("model")) {
		t.Error("measured on the way, the model is another one")
	}
	rewards := logged(r, "eval_reward")
	if len(rewards) != 8 || !(slices.Max(rewards) > rewards[0]+0.1) {
		t.Fatalf("evaluated to %.3f", rewards)
	}
	for _, name := range []string{"eval_reward_std", "eval_rewards/e/mean", "eval_frac_reward_zero_std", "eval_completions/mean_length"} {
		if len(logged(r, name)) != 8 {
			t.Errorf("%s is logged %d times", name, len(logged(r, name)))
		}
	}
	best := slices.Index(rewards, slices.Max(rewards))
	kept := run(true)
	if s := kept.Last().Values; s["eval_reward"] != rewards[best] || s["best_step"] != float64(2*best+2) {
		t.Errorf("summary %v, rewards %.4f", s, rewards)
	}
	short := do(t, grpoJob(t, prompts(t), func(c *schemas.TrainGRPO) {
		steps := int64(2*best + 2)
		c.MaxSteps = &steps
	}))
	if digest(t, short.Out("model")) != digest(t, kept.Out("model")) {
		t.Error("the weights kept are not those of the best step")
	}
}

// A group whose answers are all worth the same moves nothing, and is counted.
func TestGRPOEqualRewards(t *testing.T) {
	r := do(t, grpoJob(t, prompts(t), func(c *schemas.TrainGRPO) {
		c.Rewards = map[string]schemas.WeightedGrader{"same": {Grader: schemas.Grader{CEL: &schemas.CEL{Expression: "0.1"}}, Weight: 1}}
	}))
	if zero := logged(r, "frac_reward_zero_std"); mean(zero) != 1 {
		t.Errorf("shares of groups without a difference: %v", zero)
	}
	if norms := logged(r, "grad_norm"); mean(norms) != 0 {
		t.Errorf("gradient norms %v", norms)
	}
}

// What goes wrong with rewards, prompts or the reference is told with its place.
func TestGRPOErrors(t *testing.T) {
	program := func(script string) func(*schemas.TrainGRPO) {
		return func(c *schemas.TrainGRPO) {
			c.Rewards = map[string]schemas.WeightedGrader{"p": {Grader: schemas.Grader{Exec: &schemas.Program{Command: []string{"sh", "-c", script}}}, Weight: 1}}
		}
	}
	defer func(d time.Duration) { grade.RowTime = d }(grade.RowTime)
	grade.RowTime = 5 * time.Second
	answered := func(n int) string {
		return fmt.Sprintf("for i in $(seq %d); do read a; echo '{\"score\": 0}'; done; ", n)
	}
	for name, c := range map[string]struct {
		change     func(*schemas.TrainGRPO)
		path, want string
	}{
		"nonsense": {program(answered(6) + "read a; echo fine"), "rewards", `row 2: completion 1 ".*"…?: p: exec: "fine" where a line`},
		"hangs":    {program(answered(7) + "echo stuck >&2; sleep 1000 & sleep 1000"), "rewards", `row 2: completion 2 ".*"…?: p: exec: sh wrote no score in 5s; does it flush its output after each line\?; its last lines:\nstuck`},
		"dies":     {program(answered(2) + "echo no luck >&2; exit 3"), "rewards", `row 1: completion 3 ".*"…?: p: exec: sh ended with exit status 3; its last lines:\nno luck`},
		"NaN":      {program(`read a; echo '{"score": NaN}'`), "rewards", `row 1: completion 1 ".*"…?: p: exec: `},
		"no column": {func(c *schemas.TrainGRPO) {
			c.Rewards["n"] = schemas.WeightedGrader{Grader: schemas.Grader{Number: &schemas.Compare{}}, Weight: 1}
		}, "rewards.n", "no column answer to compare with; there is prompt"},
		"long": {func(c *schemas.TrainGRPO) { c.MaxLength = 3 }, "maxLength", "data: no prompt has at most 3 tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			j := grpoJob(t, prompts(t), func(x *schemas.TrainGRPO) { x.Shuffle = false; c.change(x) })
			r := try(t, j)
			if e := r.Last(); r.Code != 1 || e.Path != c.path || !regexp.MustCompile(c.want).MatchString(e.Message) {
				t.Errorf("exit %d: %s: %s", r.Code, e.Path, e.Message)
			}
		})
	}
	empty := lines(t, `{"prompt": "Spell plum."}`, `{"prompt": ""}`, `{"prompt": [{"role": "user", "content": ""}]}`)
	if r := try(t, grpoJob(t, empty, nil)); r.Code != 1 || r.Last().Path != "data" || !strings.Contains(r.Last().Message, "row 2: prompt: empty") ||
		!strings.Contains(r.Last().Message, "row 3: prompt: empty") {
		t.Errorf("empty prompts: exit %d, %+v", r.Code, r.Last())
	}
	j := grpoJob(t, prompts(t), func(c *schemas.TrainGRPO) { c.Eval = &schemas.Evaluation{Data: evaluated, Every: 1, Batch: 1} })
	j.Inputs["eval.data"] = empty
	if r := try(t, j); r.Code != 1 || r.Last().Path != "eval.data" {
		t.Errorf("empty prompts to evaluate on: exit %d, %+v", r.Code, r.Last())
	}
}
