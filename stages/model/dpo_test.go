package model

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// dpoConfig is train.dpo on the toy, every field as a schema would fill it.
func dpoConfig(change func(*schemas.TrainDPO)) schemas.TrainDPO {
	var sft schemas.TrainSFT
	if err := json.Unmarshal([]byte(sftConfig(nil)), &sft); err != nil {
		panic(err)
	}
	c := schemas.TrainDPO{Training: sft.Training, Loss: "sigmoid", Beta: 0.1, Gamma: 0.5, DesirableWeight: 1, UndesirableWeight: 1}
	c.LearningRate = 1e-3
	if change != nil {
		change(&c)
	}
	return c
}

// Pairs that maxLength makes the same are counted.
func TestPairsCutAlike(t *testing.T) {
	data := lines(t, `{"prompt": "a", "chosen": "the same beginning, and then b", "rejected": "the same beginning, and then c"}`, `{"prompt": "a", "chosen": "b", "rejected": "c"}`)
	j := prefer(t, data, nil, func(c *schemas.TrainDPO) { c.MaxLength = 6 })
	said := ""
	for _, e := range do(t, j).Events {
		if e.Level == "warn" {
			said += e.Message + "\n"
		}
	}
	if !strings.Contains(said, "chosen and rejected of 1 rows are the same up to maxLength 6: nothing is learnt of those") {
		t.Errorf("warned %q", said)
	}
}

func encoded(t *testing.T, config any) string {
	t.Helper()
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// referred does the stage NAME/reference of a train.dpo; nil where its loss has none.
func referred(t *testing.T, data job.Input, extra map[string]job.Input, c schemas.TrainDPO) *stagetest.Result {
	t.Helper()
	own := c.ReferenceOf()
	if own == nil {
		return nil
	}
	j := stagetest.New(t, schemas.Reference, encoded(t, own), map[string]string{"logps": "files"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), data
	for field, in := range extra {
		j.Inputs[field] = in
	}
	r := try(t, j)
	return &r
}

// prefer is train.dpo ready to be done, with its reference.
func prefer(t *testing.T, data job.Input, extra map[string]job.Input, change func(*schemas.TrainDPO)) *job.Job {
	t.Helper()
	c := dpoConfig(change)
	inputs := map[string]job.Input{"model": toy(t), "data": data}
	maps.Copy(inputs, extra)
	for field, rows := range map[string]string{"reference": "data", "eval.reference": "eval.data"} {
		in, ok := inputs[rows]
		if !ok {
			continue
		}
		if r := referred(t, in, extra, c); r != nil {
			if r.Code != 0 {
				t.Fatalf("%s: %+v", field, r.Last())
			}
			inputs[field] = job.Input{Kind: "files", Path: r.Out("logps")}
		}
	}
	if _, ok := inputs["reference"]; ok {
		c.Reference = &schemas.Edge{Kind: "files", From: "tune/reference", Port: "logps"}
	}
	j := stagetest.New(t, "train.dpo", encoded(t, c), map[string]string{"model": "model"})
	j.Inputs = inputs
	return j
}

// logged is the values of a metric, a step each.
func logged(r stagetest.Result, name string) (values []float64) {
	for _, e := range r.Events {
		if v, ok := e.Values[name]; ok && e.Event == "metric" {
			values = append(values, v)
		}
	}
	return values
}

func pairs(t *testing.T) job.Input    { return rows(t, filepath.Join(trainData, "pairs.jsonl")) }
func labelled(t *testing.T) job.Input { return rows(t, filepath.Join(trainData, "labelled.jsonl")) }

// unseen is rows to evaluate on, as an input of their own.
func unseen(t *testing.T, name string) map[string]job.Input {
	return map[string]job.Input{"eval.data": rows(t, filepath.Join(trainData, name))}
}

// Every loss that the schema names learns, whole or as an adapter: the margin between the rewards grows.
func TestPreferencesLearn(t *testing.T) {
	for name, change := range map[string]func(*schemas.TrainDPO){
		"sigmoid": nil,
		"simpo":   func(c *schemas.TrainDPO) { c.Loss, c.Beta = "simpo", 2 },
		"orpo":    func(c *schemas.TrainDPO) { c.Loss, c.LearningRate = "orpo", 4e-3 },
		"lora": func(c *schemas.TrainDPO) {
			c.LearningRate, c.LoRA = 1e-2, &schemas.LoRA{Rank: 8, Alpha: 16, Dropout: 0.5, Targets: schemas.Targets{AllLinear: true}}
		},
		"recomputed": func(c *schemas.TrainDPO) { c.Loss, c.GradientCheckpointing = "ipo", true },
		"kto":        func(c *schemas.TrainDPO) { c.Loss, c.LearningRate, c.Beta, c.Batch.Rows = "kto", 4e-3, 0.3, 10 },
	} {
		t.Run(name, func(t *testing.T) {
			data := pairs(t)
			if name == "kto" {
				data = labelled(t)
			}
			r := do(t, prefer(t, data, nil, change))
			margins := logged(r, "rewards/margins")
			if n := len(margins); n != 12 || !(margins[n-1] > margins[0]+0.1) {
				t.Errorf("margins %.3f", margins)
			}
			for _, name := range []string{"rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected", "entropy"} {
				if len(logged(r, name)) != 12 {
					t.Errorf("%s is logged %d times", name, len(logged(r, name)))
				}
			}
			if name == "lora" != exists(r.Out("model"), "adapter_config.json") {
				t.Errorf("made %v", list(t, r.Out("model")))
			}
		})
	}
}

// The model is its own reference as training starts, and so is an adapter that it goes on from: no margin yet. Another model is not.
func TestReferenceIsTheStart(t *testing.T) {
	data := pairs(t)
	lora := func(c *schemas.TrainDPO) {
		c.Dtype, c.LearningRate, c.LoRA = "float32", 1e-2, &schemas.LoRA{Rank: 4, Alpha: 8, Targets: schemas.Targets{AllLinear: true}}
	}
	plain := do(t, prefer(t, data, nil, func(c *schemas.TrainDPO) { c.Dtype = "float32" }))
	first := do(t, prefer(t, data, nil, lora))
	quantised := do(t, prefer(t, data, nil, func(c *schemas.TrainDPO) { lora(c); c.LoRA.Quantize, c.LoRA.DoubleQuantize = "nf4", true }))
	base := toy(t)
	adapter := job.Input{Kind: "adapter", Path: first.Out("model"), Base: &base}
	again := do(t, prefer(t, data, map[string]job.Input{"lora.init": adapter}, func(c *schemas.TrainDPO) {
		lora(c)
		c.LoRA.Init = &schemas.Ref{Edge: &schemas.Edge{Kind: "adapter", From: "a", Port: "model"}}
	}))
	for name, r := range map[string]stagetest.Result{"plain": plain, "lora": first, "in four bits": quantised, "from the adapter": again} {
		if m := logged(r, "rewards/margins"); math.Abs(m[0]) > 1e-4 {
			t.Errorf("%s: the first margin is %g", name, m[0])
		}
		if l := logged(r, "loss"); math.Abs(l[0]-math.Ln2) > 1e-4 || !(l[11] < l[0]*2/3) {
			t.Errorf("%s: losses %.3f", name, l)
		}
	}
	held := do(t, prefer(t, data, map[string]job.Input{"reference": adapter}, func(c *schemas.TrainDPO) {
		c.Reference = &schemas.Edge{Kind: "adapter", From: "a", Port: "model"}
	}))
	if m := logged(held, "rewards/margins"); !(m[0] < -0.1) {
		t.Errorf("held to what was trained already the first margin is %g", m[0])
	}
}

// An evaluation measures the rows' own loss under TRL's names, moves nothing, and keeps the best step where it is asked to.
func TestPreferencesEvaluated(t *testing.T) {
	for name, change := range map[string]func(*schemas.TrainDPO){
		"sigmoid": func(c *schemas.TrainDPO) { c.LearningRate = 4e-3 },
		"simpo":   func(c *schemas.TrainDPO) { c.Loss, c.Beta = "simpo", 2 },
		"kto":     func(c *schemas.TrainDPO) { c.Loss, c.LearningRate = "kto", 4e-3 },
	} {
		t.Run(name, func(t *testing.T) {
			data, others := pairs(t), unseen(t, "unseen-pairs.jsonl")
			if name == "kto" {
				data, others = labelled(t), unseen(t, "unseen-labelled.jsonl")
			}
			plain := do(t, prefer(t, data, nil, change))
			run := func(keep bool) stagetest.Result {
				return do(t, prefer(t, data, others, func(c *schemas.TrainDPO) {
					change(c)
					c.Eval = &schemas.Evaluation{Data: evaluated, Every: 1, Batch: 4, KeepBest: keep}
				}))
			}
			r := run(false)
			if digest(t, plain.Out("model")) != digest(t, r.Out("model")) {
				t.Error("measured on the way, the model is another one")
			}
			losses, margins := logged(r, "eval_loss"), logged(r, "eval_rewards/margins")
			if len(losses) != 12 || len(margins) != 12 || len(logged(r, "eval_logps/chosen")) != 12 {
				t.Fatalf("losses %.3f, margins %.3f", losses, margins)
			}
			best := slices.Index(losses, slices.Min(losses))
			kept := run(true)
			if s := kept.Last().Values; s["eval_loss"] != losses[best] || s["best_step"] != float64(best+1) {
				t.Errorf("summary %v, losses %.4f", s, losses)
			}
			short := do(t, prefer(t, data, nil, func(c *schemas.TrainDPO) {
				change(c)
				steps := int64(best + 1)
				c.MaxSteps = &steps
			}))
			if digest(t, short.Out("model")) != digest(t, kept.Out("model")) {
				t.Error("the weights kept are not those of the best step")
			}
		})
	}
}

// What is resumed from any checkpoint is what was never stopped.
func TestPreferencesResume(t *testing.T) {
	for name, change := range map[string]func(*schemas.TrainDPO){
		"sigmoid": func(c *schemas.TrainDPO) { c.LogEvery = 5 },
		"kto":     func(c *schemas.TrainDPO) { c.Loss, c.LogEvery = "kto", 5 },
		"evaluated": func(c *schemas.TrainDPO) {
			c.LogEvery, c.LearningRate = 5, 4e-3
			c.Eval = &schemas.Evaluation{Data: evaluated, Every: 3, Batch: 4, KeepBest: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := pairs(t)
			if name == "kto" {
				data = labelled(t)
			}
			others := map[string]job.Input{}
			if name == "evaluated" {
				others = unseen(t, "unseen-pairs.jsonl")
			}
			j := prefer(t, data, others, func(c *schemas.TrainDPO) { change(c); c.SaveEvery, c.SaveTotalLimit = 4, 9 })
			want := do(t, j)
			for _, path := range []string{"step-000000000008.json", "step-000000000012.json"} {
				if err := os.Remove(filepath.Join(j.Checkpoints, path)); err != nil {
					t.Fatal(err)
				}
			}
			again := *j
			again.Out = map[string]job.Output{"model": {Kind: "model", Path: t.TempDir()}}
			got := do(t, &again)
			if digest(t, want.Out("model")) != digest(t, got.Out("model")) {
				t.Error("the model is another one")
			}
			a, b := logged(want, "rewards/margins"), logged(got, "rewards/margins")
			if len(a) != 3 || len(b) != 3 || a[1] != b[1] || a[2] != b[2] { // steps 5, 10, 12; from step 4 on
				t.Errorf("margins %v, resumed %v", a, b)
			}
			if a, b := logged(want, "eval_loss"), logged(got, "eval_loss"); name == "evaluated" && (len(a) != 4 || !slices.Equal(a[1:], b)) {
				t.Errorf("evaluated to %v, resumed %v", a, b)
			}
			if a, b := want.Last().Values, got.Last().Values; a["best_step"] != b["best_step"] {
				t.Errorf("summary %v, resumed %v", a, b)
			}
		})
	}
}

// Rows become what TRL's trainers make of them.
func TestPreferenceTokens(t *testing.T) {
	var want struct {
		Rows []struct {
			Prompt, Chosen, Rejected, Completion, Other []int32
			Label                                       int
		}
	}
	read := func(name string) {
		b, err := os.ReadFile(filepath.Join(trainData, "dpo", name))
		if err != nil {
			t.Fatal(err)
		}
		want.Rows = nil
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
	}
	got := func(data job.Input, mismatched int) *preferences {
		var p *preferences
		j := stagetest.New(t, "train.dpo", encoded(t, dpoConfig(nil)), nil)
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		r := stagetest.Run(t.Context(), t, j, func(ctx context.Context, j *stages.Job) (err error) {
			p, err = readPreferences(ctx, j, "data", j.In("model").Path, 512, "2024-07-26", mismatched)
			return err
		})
		if r.Code != 0 {
			t.Fatalf("%+v", r.Last())
		}
		return p
	}
	same := func(what string, i int, a []int32, prompt, completion []int32, trained []bool) {
		t.Helper()
		ok := len(a) == len(prompt)+len(completion)
		for k := range a {
			in := k >= len(prompt)
			if ok = ok && trained[k] == in; in && ok {
				ok = a[k] == completion[k-len(prompt)]
			} else if ok {
				ok = a[k] == prompt[k]
			}
		}
		if !ok {
			t.Errorf("row %d: %s is %v, TRL's %v and %v", i+1, what, a, prompt, completion)
		}
	}
	read("pairs.json")
	p := got(pairs(t), 0)
	if p == nil || len(p.Pairs) != len(want.Rows) {
		t.Fatalf("%+v", p)
	}
	for i, w := range want.Rows {
		same("chosen", i, p.Pairs[i].Chosen.IDs, w.Prompt, w.Chosen, p.Pairs[i].Chosen.Trained)
		same("rejected", i, p.Pairs[i].Rejected.IDs, w.Prompt, w.Rejected, p.Pairs[i].Rejected.Trained)
	}
	for file, n := range map[string]int{"labelled-4.json": 4, "labelled-3.json": 3} {
		read(file)
		p := got(labelled(t), n)
		if p == nil || len(p.Judged) != len(want.Rows) {
			t.Fatalf("%+v", p)
		}
		for i, w := range want.Rows {
			same("completion", i, p.Judged[i].IDs, w.Prompt, w.Completion, p.Judged[i].Trained)
			same("the other completion", i, p.Judged[i].Other.IDs, w.Prompt, w.Other, p.Judged[i].Other.Trained)
			if p.Judged[i].Desirable != (w.Label == 1) {
				t.Errorf("row %d: label %v", i+1, w.Label)
			}
		}
	}
}

func TestBadPreferences(t *testing.T) {
	good := `{"prompt": "2 + 2 is", "chosen": " 4", "rejected": " 5"}`
	talk := func(prompt, chosen string) string {
		return `{"prompt": [{"role": "user", "content": "` + prompt + `"}], "chosen": [{"role": "assistant", "content": "` + chosen +
			`"}], "rejected": [{"role": "assistant", "content": "five"}]}`
	}
	kto := func(c *schemas.TrainDPO) { c.Loss = "kto" }
	for name, c := range map[string]struct {
		data   job.Input
		change func(*schemas.TrainDPO)
		want   []string
	}{
		"texts": {lines(t, good, `{"prompt": "2 + 2 is", "chosen": " 4", "rejected": " 4"}`, `{"prompt": "", "chosen": " 4", "rejected": " 5"}`,
			`{"prompt": "2 + 2 is", "chosen": "", "rejected": " 5"}`), nil,
			[]string{"row 2: chosen and rejected are the same", "row 3: prompt: empty", "row 4: chosen: empty"}},
		"conversations": {lines(t, talk("q", "four"), talk("", "four"), talk("q", ""), talk("q", "five")), nil,
			[]string{"row 2: prompt: empty", "row 3: chosen: empty", "row 4: chosen and rejected are the same"}},
		"no turns":       {lines(t, strings.Replace(talk("q", "four"), `[{"role": "user", "content": "q"}]`, "[]", 1)), nil, []string{"row 1: prompt: empty"}},
		"labelled":       {lines(t, `{"prompt": "q", "completion": "", "label": true}`, `{"prompt": "", "completion": "a", "label": true}`), kto, []string{"row 1: completion: empty", "row 2: prompt: empty"}},
		"pairs for kto":  {lines(t, good), kto, []string{"data: these are preference rows (prompt, chosen, rejected): train.dpo takes them; loss \"kto\" takes labelled rows (prompt, completion, label)"}},
		"kto for pairs":  {lines(t, `{"prompt": "q", "completion": "a", "label": true}`), nil, []string{"data: these are labelled rows (prompt, completion, label): train.dpo with loss: \"kto\" takes them; this loss takes preference rows (prompt, chosen, rejected)"}},
		"cut to nothing": {lines(t, good), func(c *schemas.TrainDPO) { c.MaxLength = 3 }, []string{"no row is left: the prompts of all 1 fill maxLength 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := referred(t, c.data, nil, dpoConfig(c.change))
			for _, want := range c.want {
				if e := r.Last(); r.Code != 1 || !strings.Contains(e.Path+": "+e.Message, want) {
					t.Errorf("exit %d: %s: %s, want %s", r.Code, e.Path, e.Message, want)
				}
			}
		})
	}
	j := prefer(t, lines(t, good), nil, nil)
	j.Inputs["data"] = lines(t, good, good)
	if r := try(t, j); r.Code != 1 || !strings.Contains(r.Last().Message, "2 numbers are wanted, [1] are there") {
		t.Errorf("a reference of other rows: exit %d, %+v", r.Code, r.Last())
	}
}
