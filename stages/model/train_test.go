package model

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

const trainData = "../../internal/train/testdata"

func TestMain(m *testing.M) {
	tensor.Lock()
	if _, err := tensor.Use(os.Getenv("HONE_TEST_DEVICE"), true); err != nil {
		panic(err)
	}
	tensor.SetThreads(1) // as their jobs say: what a stage gives before one that trains is of as many threads as what it gives behind
	os.Exit(m.Run())
}

// rows loads a file of rows as data.load does.
func rows(t *testing.T, path string) job.Input {
	t.Helper()
	j := stagetest.New(t, "data.load", `{"source": "x"}`, map[string]string{"data": "dataset"})
	j.Files["source"] = absolute(t, path)
	do(t, j)
	return job.Input{Kind: "dataset", Path: j.Out["data"].Path}
}

// lines writes rows to a file and loads them.
func lines(t *testing.T, text ...string) job.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(text, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return rows(t, path)
}

// try does a job on this goroutine, which libtorch's state belongs to.
func try(t *testing.T, j *job.Job) stagetest.Result {
	t.Helper()
	tensor.Lock()
	return stagetest.Run(context.Background(), t, j, Stages()[j.Kind])
}

func do(t *testing.T, j *job.Job) stagetest.Result {
	t.Helper()
	r := try(t, j)
	if r.Code != 0 {
		t.Fatalf("%s: exit %d, %+v", j.Kind, r.Code, r.Last())
	}
	return r
}

func toy(t *testing.T) job.Input {
	return job.Input{Kind: "model", Path: absolute(t, trainData, "toy")}
}

// sftConfig is train.sft on the toy: steps that show, and every field as a schema would fill it.
func sftConfig(change func(*schemas.TrainSFT)) string {
	steps := int64(12)
	c := schemas.TrainSFT{Training: schemas.Training{
		Model: schemas.Edge{Kind: "model", From: "m", Port: "model"}, Data: schemas.Edge{Kind: "dataset", From: "d", Port: "data"},
		LearningRate: 4e-3, Epochs: 1, MaxSteps: &steps, Batch: schemas.Batch{Rows: 4, Accumulate: 1}, MaxLength: 512,
		Schedule:  schemas.Schedule{Kind: "constant"},
		Optimizer: schemas.Optimizer{Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, Clip: 1, Seed: 1, Shuffle: true,
		Dtype: "auto", LogEvery: 1, SaveEvery: 100, SaveTotalLimit: 2, Date: "2024-07-26"}}
	if change != nil {
		change(&c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// tune does train.sft and returns what it made with the loss of each step.
func tune(t *testing.T, data job.Input, extra map[string]job.Input, change func(*schemas.TrainSFT)) (job.Input, []float64) {
	t.Helper()
	j := stagetest.New(t, "train.sft", sftConfig(change), map[string]string{"model": "model"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), data
	for field, in := range extra {
		j.Inputs[field] = in
	}
	base := j.Inputs["model"]
	r := do(t, j)
	var losses []float64
	for _, e := range r.Events {
		if e.Event == "metric" {
			losses = append(losses, e.Values["loss"])
		}
	}
	out := job.Input{Kind: "model", Path: j.Out["model"].Path}
	if exists(out.Path, "adapter_config.json") {
		out.Kind, out.Base = "adapter", &base
	}
	return out, losses
}

func falls(t *testing.T, what string, losses []float64) {
	t.Helper()
	if len(losses) != 12 || !(losses[11] < losses[0]*2/3) {
		t.Errorf("%s: losses %.3f", what, losses)
	}
}

// measure is an eval's report.
func measure(t *testing.T, model, data job.Input, suite string) (Score, string) {
	t.Helper()
	config := fmt.Sprintf(`{"model": {"kind": %q, "from": "m", "port": "model"}, "batch": 4, "date": "2024-07-26",
		"suites": {"s": {"data": {"kind": "dataset", "from": "d", "port": "data"}, %s}}}`, model.Kind, suite)
	j := stagetest.New(t, "eval", config, map[string]string{"report": "report"})
	j.Inputs["model"], j.Inputs["suites.s.data"] = model, data
	do(t, j)
	var r Report
	b, err := os.ReadFile(filepath.Join(j.Out["report"].Path, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r.Suites["s"], filepath.Join(j.Out["report"].Path, "samples", "s.jsonl")
}

const perplexed = `"perplexity": {}`

func TestFullFineTune(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "turns.jsonl"))
	tuned, losses := tune(t, data, nil, func(c *schemas.TrainSFT) { c.Loss = "assistant" })
	falls(t, "full", losses)
	before, _ := measure(t, toy(t), data, perplexed)
	after, _ := measure(t, tuned, data, perplexed)
	if !(after.Value < before.Value/2) || after.Tokens != before.Tokens || after.Tokens == 0 {
		t.Errorf("perplexity %+v before, %+v after", before, after)
	}
	for _, name := range []string{"tokenizer.json", "chat_template.jinja", "config.json"} {
		if !exists(tuned.Path, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestVariantsLearn(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	_, plain := tune(t, data, nil, nil)
	_, recomputed := tune(t, data, nil, func(c *schemas.TrainSFT) { c.GradientCheckpointing = true })
	for i := range plain {
		if math.Abs(plain[i]-recomputed[i]) > 1e-5*plain[i] {
			t.Fatalf("step %d: loss %g, recomputed %g", i+1, plain[i], recomputed[i])
		}
	}
	_, packed := tune(t, data, nil, func(c *schemas.TrainSFT) { c.Packing, c.MaxLength, c.Batch.Rows = true, 256, 1 })
	falls(t, "packed", packed)
	_, half := tune(t, data, nil, func(c *schemas.TrainSFT) { c.Dtype = "bfloat16" })
	falls(t, "bfloat16", half)
}

// An adapter, merged or not, is one model; training goes on from it.
func TestAdapters(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	lora := func(c *schemas.TrainSFT) {
		c.LearningRate, c.Dtype = 2e-2, "float32"
		c.LoRA = &schemas.LoRA{Rank: 8, Alpha: 16, Dropout: 0.1, Targets: schemas.Targets{AllLinear: true}}
	}
	near := 1e-3
	if tensor.OnDevice() { // which evaluates in bfloat16
		near = 5e-3
	}
	adapter, losses := tune(t, data, nil, lora)
	falls(t, "lora", losses)
	_, half := tune(t, data, nil, func(c *schemas.TrainSFT) { lora(c); c.Dtype = "bfloat16" })
	falls(t, "lora, bfloat16", half)
	_, plus := tune(t, data, nil, func(c *schemas.TrainSFT) {
		ratio := 8.0
		lora(c)
		c.LearningRate, c.LoRA.LearningRateRatio = 4e-3, &ratio
	})
	falls(t, "lora, B learns faster", plus)
	dora, lengthened := tune(t, data, nil, func(c *schemas.TrainSFT) { lora(c); c.LoRA.DoRA = true })
	falls(t, "dora", lengthened)
	if math.Abs(lengthened[0]/losses[0]-1) > 1e-6 {
		t.Errorf("the first loss is %g with DoRA, %g without", lengthened[0], losses[0])
	}
	_, quantised := tune(t, data, nil, func(c *schemas.TrainSFT) { lora(c); c.LoRA.Quantize = "nf4" })
	falls(t, "qlora", quantised)
	if quantised[0] == losses[0] {
		t.Errorf("the first loss is %g in four bits too", losses[0])
	}
	for what, a := range map[string]job.Input{"lora": adapter, "dora": dora} {
		j := stagetest.New(t, "model.merge", `{"model": {"kind": "adapter", "from": "a", "port": "model"}}`, map[string]string{"model": "model"})
		j.Inputs["model"] = a
		do(t, j)
		one, _ := measure(t, a, data, perplexed)
		merged, _ := measure(t, job.Input{Kind: "model", Path: j.Out["model"].Path}, data, perplexed)
		if math.Abs(one.Value-merged.Value) > near*one.Value {
			t.Errorf("%s: perplexity %g with the adapter, %g merged", what, one.Value, merged.Value)
		}
		_, again := tune(t, data, map[string]job.Input{"lora.init": a}, func(c *schemas.TrainSFT) {
			lora(c)
			c.LoRA.Init = &schemas.Ref{Edge: &schemas.Edge{Kind: "adapter", From: "a", Port: "model"}}
		})
		if !(again[0] < losses[0]*2/3) {
			t.Errorf("%s: from the adapter the first loss is %g, from nothing %g", what, again[0], losses[0])
		}
	}
}

func TestPretrain(t *testing.T) {
	data := lines(t, `{"text": "a rose is a rose is a rose"}`, `{"text": "Which is larger, 3 or 9? 9 is larger than 3."}`)
	var c schemas.TrainSFT
	if err := json.Unmarshal([]byte(sftConfig(func(c *schemas.TrainSFT) { c.MaxLength = 16; c.Batch.Rows = 2 })), &c); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(schemas.ModelPretrain{Training: c.Training})
	if err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, "model.pretrain", string(b), map[string]string{"model": "model"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), data
	do(t, j)
	before, _ := measure(t, toy(t), data, perplexed)
	after, _ := measure(t, job.Input{Kind: "model", Path: j.Out["model"].Path}, data, perplexed)
	if !(after.Value < before.Value/2) {
		t.Errorf("perplexity %g before, %g after", before.Value, after.Value)
	}
}

func TestGenerateColumns(t *testing.T) {
	data := lines(t, `{"prompt": "Which is larger, 3 or 9?", "id": 7}`, `{"prompt": "Spell maple.", "id": 8}`, `{"prompt": "Spell plum.", "id": 9}`)
	for n, column := range map[int]string{1: "completion", 3: "completions"} {
		config := fmt.Sprintf(`{"model": {"kind": "model", "from": "m", "port": "model"}, "data": {"kind": "dataset", "from": "d", "port": "data"},
			"maxNewTokens": 5, "batch": 2, "n": %d, "seed": 3, "temperature": 1, "date": "2024-07-26"}`, n)
		j := stagetest.New(t, "generate", config, map[string]string{"data": "dataset"})
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		do(t, j)
		d, err := dataset.Open(j.Out["data"].Path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		seen := 0
		for row, err := range d.All() {
			if err != nil {
				t.Fatal(err)
			}
			seen++
			v, _ := row.Get(column)
			if list, ok := v.([]ordjson.Value); n > 1 && (!ok || len(list) != n) {
				t.Errorf("%s: %v", column, v)
			}
			if _, ok := v.(string); n == 1 && !ok {
				t.Errorf("%s: %v", column, v)
			}
			if id, _ := row.Get("id"); fmt.Sprint(id) != fmt.Sprint(6+seen) {
				t.Errorf("row %d has id %v", seen, id)
			}
		}
		if seen != 3 || (d.Format == dataset.PromptCompletion) != (n == 1) {
			t.Errorf("%d rows of %s", seen, d.Format)
		}
	}
}

// A report's value is the mean of the scores beside it, and its samples show the prompt without the answer.
func TestEvalGrades(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	tuned, _ := tune(t, data, nil, func(c *schemas.TrainSFT) { steps := int64(80); c.MaxSteps = &steps; c.LogEvery = 80 })
	score, path := measure(t, tuned, data, `"exact": {}, "maxNewTokens": 40`)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var n, sum float64
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var row struct {
			Prompt             []struct{ Role string }
			Completion, Answer string
			Score              float64
		}
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		if want := row.Completion == row.Answer; want != (row.Score == 1) {
			t.Errorf("%q against %q scored %g", row.Completion, row.Answer, row.Score)
		}
		if len(row.Prompt) == 0 || row.Prompt[len(row.Prompt)-1].Role != "user" {
			t.Errorf("prompt %+v", row.Prompt)
		}
		sum += row.Score
	}
	if score.Rows != int64(n) || math.Abs(score.Value-sum/n) > 1e-9 || score.Value == 0 {
		t.Errorf("report %+v, %g of %g right", score, sum, n)
	}
}

// Every grader serves as a suite; a score that is none, or a program that goes wrong, names the row.
func TestEvalGraders(t *testing.T) {
	data := lines(t, `{"prompt": "Spell maple.", "answer": "SELECT 1", "n": 1}`, `{"prompt": "Spell plum.", "answer": "SELECT 1", "n": 2}`)
	dir := t.TempDir()
	program := filepath.Join(dir, "half.sh")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nread -r a; echo '{\"score\": 0.5}'; read -r b; echo '{\"score\": 1}'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for grader, want := range map[string]any{
		`"cel": {"expression": "double(row.n) / 4.0"}`:                                  0.375,
		`"jsonSchema": {"schema": {"type": "integer"}}`:                                 0.0,
		`"exec": {"command": ["./half.sh"], "files": ["half.sh"]}`:                      0.75,
		`"cel": {"expression": "row.n"}`:                                                `row 2: completion ".*"…?: the score 2 is not between 0 and 1`,
		`"cel": {"expression": "row.m == 1"}`:                                           `row 1: completion ".*"…?: cel: no such key: m`,
		`"exec": {"command": ["sh", "-c", "echo '{\"score\": 1}'; read a; echo oops"]}`: `row 2: completion ".*"…?: exec: "oops" where a line`,
		`"exec": {"command": ["no-such-program"]}`:                                      "exec.command: no program no-such-program on PATH",
	} {
		j := stagetest.New(t, "eval", fmt.Sprintf(`{"model": {"kind": "model", "from": "m", "port": "model"}, "batch": 4, "date": "2024-07-26",
			"suites": {"s": {"data": {"kind": "dataset", "from": "d", "port": "data"}, "maxNewTokens": 3, %s}}}`, grader), map[string]string{"report": "report"})
		j.Inputs["model"], j.Inputs["suites.s.data"], j.Files["suites.s.exec.files[0]"] = toy(t), data, program
		r := try(t, j)
		if text, bad := want.(string); bad {
			if e := r.Last(); r.Code == 0 || e.Path != "suites.s" || !regexp.MustCompile(text).MatchString(e.Message) || strings.Contains(text, "no-such") != (r.Code == 6) {
				t.Errorf("%s: exit %d: %s: %s", grader, r.Code, e.Path, e.Message)
			}
			continue
		}
		if r.Code != 0 || r.Last().Values["s"] != want {
			t.Errorf("%s: exit %d: %+v, want %v", grader, r.Code, r.Last(), want)
		}
	}
}

// Suites that ask the same of the same rows share the answers.
func TestEvalAsksOnce(t *testing.T) {
	const suite = `{"data": {"kind": "dataset", "from": "d", "port": "data"}, "maxNewTokens": %d, %s}`
	suites := fmt.Sprintf(`{"a": `+suite+`, "b": `+suite+`, "c": `+suite+`}`, 3, `"exact": {}`, 3, `"regex": {"pattern": ""}`, 4, `"exact": {}`)
	j := stagetest.New(t, "eval", `{"model": {"kind": "model", "from": "m", "port": "model"}, "batch": 4, "date": "2024-07-26", "suites": `+suites+`}`,
		map[string]string{"report": "report"})
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	j.Inputs["model"] = toy(t)
	for _, name := range []string{"a", "b", "c"} {
		j.Inputs["suites."+name+".data"] = data
	}
	r := do(t, j)
	answered := map[string]bool{}
	for _, e := range r.Events {
		if e.Event == "progress" {
			answered[e.Unit] = true
		}
	}
	if !answered["a rows"] || answered["b rows"] || !answered["c rows"] || r.Last().Values["b"] != 1 {
		t.Errorf("answered %v; %v", answered, r.Last().Values)
	}
}

func TestBadRows(t *testing.T) {
	good := `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`
	for name, c := range map[string]struct {
		data   job.Input
		change func(*schemas.TrainSFT)
		want   string
	}{
		"no assistant":   {lines(t, good, `{"messages": [{"role": "user", "content": "a"}]}`), func(c *schemas.TrainSFT) { c.Loss = "assistant" }, "row 2: "},
		"too much text":  {lines(t, good, `{"messages": [{"role": "user", "content": "`+strings.Repeat("a ", 25<<20)+`"}, {"role": "assistant", "content": "b"}]}`), func(*schemas.TrainSFT) {}, "row 2: 50 MiB of text, of which 8 MiB at most are tokenized at once: "},
		"cut to nothing": {lines(t, good), func(c *schemas.TrainSFT) { c.Loss, c.MaxLength = "assistant", 3 }, "no row with a trained token"},
		"target": {lines(t, good), func(c *schemas.TrainSFT) {
			c.LoRA = &schemas.LoRA{Rank: 2, Alpha: 4, Targets: schemas.Targets{Suffixes: []string{"query"}}}
		}, `target "query" names no linear layer; q_proj`},
		"expression": {lines(t, good), func(c *schemas.TrainSFT) {
			c.LoRA = &schemas.LoRA{Rank: 2, Alpha: 4, Targets: schemas.Targets{Pattern: ".*query"}}
		}, `lora: ".*query" matches no linear layer's whole name; there are model.layers.0.self_attn.q_proj, `},
		"another's adapter": {lines(t, good), func(c *schemas.TrainSFT) {
			c.LoRA = &schemas.LoRA{Rank: 2, Alpha: 4, Init: &schemas.Ref{Edge: &schemas.Edge{Kind: "adapter", From: "a", Port: "model"}}}
		}, "tensor base_model.model.transformer.h.0.attn.c_attn.lora_A.weight of shape [4 32]: no linear layer of this base takes it; there are model.layers.0.self_attn.q_proj, "},
		"diverges": {lines(t, good), func(c *schemas.TrainSFT) { c.LearningRate, c.Clip = 1e30, 0 }, "step 2: gradient norm is not finite; a lower learningRate or a clip may help; the rows of the step: row "},
	} {
		t.Run(name, func(t *testing.T) {
			j := stagetest.New(t, "train.sft", sftConfig(c.change), map[string]string{"model": "model"})
			j.Inputs["model"], j.Inputs["data"] = toy(t), c.data
			j.Inputs["lora.init"] = job.Input{Kind: "adapter", Path: absolute(t, toys, "gpt2", "adapter-attention")}
			r := try(t, j)
			if e := r.Last(); r.Code != 1 || !strings.Contains(e.Path+": "+e.Message, c.want) {
				t.Errorf("exit %d: %s: %s", r.Code, e.Path, e.Message)
			}
		})
	}
}

// What a training does all the same, and was probably not meant, is said before it begins.
func TestQuietSettings(t *testing.T) {
	sentence := `{"prompt": "Which is larger, 3 or 9?", "completion": "9 is larger than 3."}`
	small := func(kind string) job.Input { // of so many positions
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(toy(t).Path)); err != nil {
			t.Fatal(err)
		}
		if err := modeldir.Edit(dir, "config.json", func(o *ordjson.Object) { o.Set("max_position_embeddings", ordjson.Number("8")) }); err != nil {
			t.Fatal(err)
		}
		return job.Input{Kind: kind, Path: dir}
	}
	for what, x := range map[string]struct {
		model  job.Input
		row    string
		change func(c *schemas.TrainSFT)
		want   string
	}{
		"warm-up":       {toy(t), sentence, func(c *schemas.TrainSFT) { c.MaxSteps, c.Epochs, c.Schedule.Warmup = nil, 2, 2 }, "schedule.warmup: 2 steps, and the training has 2: learningRate is never reached"},
		"short warm-up": {toy(t), sentence, func(c *schemas.TrainSFT) { c.MaxSteps, c.Epochs, c.Schedule.Warmup = nil, 2, 1 }, ""},
		"positions":     {small("model"), sentence, func(*schemas.TrainSFT) {}, "data: the longest row has 15 tokens, the model 8 positions (max_position_embeddings): it has learnt nothing of what is beyond; a lower maxLength cuts it"},
		"cut":           {small("model"), `{"text": "Which is larger, 3 or 9?"}`, func(c *schemas.TrainSFT) { c.MaxLength = 8 }, "1 rows are cut at maxLength 8; 0 of them have no trained token left and are dropped"},
	} {
		j := stagetest.New(t, "train.sft", sftConfig(x.change), map[string]string{"model": "model"})
		j.Inputs["model"], j.Inputs["data"] = x.model, lines(t, x.row)
		said := ""
		for _, e := range do(t, j).Events {
			if e.Level == "warn" {
				said += e.Message
			}
		}
		if said != x.want {
			t.Errorf("%s: warned %q, want %q", what, said, x.want)
		}
	}
}

// An adapter that fits and names another base is gone on from, with a warning.
func TestAdapterOfAnotherBase(t *testing.T) {
	data := lines(t, `{"prompt": "a", "completion": "b"}`)
	one := int64(1)
	lora := func(c *schemas.TrainSFT) {
		c.MaxSteps, c.LoRA = &one, &schemas.LoRA{Rank: 2, Alpha: 4, Targets: schemas.Targets{AllLinear: true}}
	}
	named := func(name string) job.Input {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(toy(t).Path)); err != nil {
			t.Fatal(err)
		}
		if err := modeldir.Edit(dir, "config.json", func(o *ordjson.Object) { o.Set("_name_or_path", name) }); err != nil {
			t.Fatal(err)
		}
		return job.Input{Kind: "model", Path: dir}
	}
	first := stagetest.New(t, "train.sft", sftConfig(lora), map[string]string{"model": "model"})
	first.Inputs["model"], first.Inputs["data"] = named("a/one"), data
	do(t, first)
	for name, want := range map[string]string{"a/one": "", "a/two": "lora.init: its adapter_config.json names the base a/one, and the model is a/two"} {
		j := stagetest.New(t, "train.sft", sftConfig(func(c *schemas.TrainSFT) {
			lora(c)
			c.LoRA.Init = &schemas.Ref{Path: "adapter"}
		}), map[string]string{"model": "model"})
		j.Inputs["model"], j.Inputs["data"] = named(name), data
		j.Files = map[string]string{"lora.init": first.Out["model"].Path}
		said := ""
		for _, e := range do(t, j).Events {
			if e.Level == "warn" && strings.HasPrefix(e.Message, "lora.init") {
				said += e.Message
			}
		}
		if said != want {
			t.Errorf("over %s: warned %q, want %q", name, said, want)
		}
	}
}

// A model whose weights are no numbers answers nothing.
func TestGenerateRefusesNaN(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(toy(t).Path)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, x := range f.Tensors() {
		x.Data = bytes.Repeat([]byte{0xff}, len(x.Data))
		tensors = append(tensors, x)
	}
	if err := os.Remove(path); err != nil { // the file that is open stays as it is
		t.Fatal(err)
	}
	if err := errors.Join(safetensors.Write(path, tensors, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, "generate", `{"model": {"kind": "model", "from": "m", "port": "model"}, "data": {"kind": "dataset", "from": "d", "port": "data"},
		"maxNewTokens": 5, "batch": 2, "n": 1, "date": "2024-07-26"}`, map[string]string{"data": "dataset"})
	j.Inputs["model"], j.Inputs["data"] = job.Input{Kind: "model", Path: dir}, lines(t, `{"prompt": "Spell maple."}`)
	if r := try(t, j); r.Code != 1 || r.Last().Path != "model" || !strings.Contains(r.Last().Message, "logits are not finite") {
		t.Errorf("exit %d, %+v", r.Code, r.Last())
	}
}
