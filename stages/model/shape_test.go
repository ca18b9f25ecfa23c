package model

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/data"
	"github.com/hone-ml/hone/stages/stagetest"
)

// Every shape of rows against every kind that trains: what a kind cannot take is told before its model, which is not there here,
// is looked for; and the message names a kind that does take it.
func TestShapesOfRows(t *testing.T) {
	rows := map[dataset.Format]string{
		dataset.Messages:         `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`,
		dataset.Preference:       `{"prompt": "q", "chosen": "a", "rejected": "b"}`,
		dataset.KTO:              `{"prompt": "q", "completion": "a", "label": true}`,
		dataset.PromptCompletion: `{"prompt": "q", "completion": "a"}`,
		dataset.Prompt:           `{"prompt": "q"}`,
		dataset.Text:             `{"text": "a"}`,
	}
	takes := map[string][]dataset.Format{
		"train.sft": data.Taught, "model.pretrain": {dataset.Text}, "train.dpo": {dataset.Preference}, "train.dpo kto": {dataset.KTO}, "train.grpo": data.WithPrompt,
	}
	taken := map[dataset.Format]string{
		dataset.Messages: "conversations (messages): train.sft takes them", dataset.Preference: "preference rows (prompt, chosen, rejected): train.dpo takes them",
		dataset.KTO: `labelled rows (prompt, completion, label): train.dpo with loss: "kto" takes them`, dataset.PromptCompletion: "prompts with completions (prompt, completion): train.sft takes them",
		dataset.Prompt: "prompt rows (prompt): train.grpo or curate.distill take them", dataset.Text: "plain text (text): model.pretrain or train.sft take it",
	}
	for format, row := range rows {
		data := lines(t, row)
		for name, own := range takes {
			kind, loss, _ := strings.Cut(name, " ")
			c := dpoConfig(func(c *schemas.TrainDPO) { c.Loss = cmp.Or(loss, c.Loss) })
			config := encoded(t, c)
			switch kind {
			case "train.sft":
				config = encoded(t, schemas.TrainSFT{Training: c.Training})
			case "train.grpo":
				config = encoded(t, schemas.TrainGRPO{Training: c.Training})
			case "model.pretrain":
				config = encoded(t, schemas.ModelPretrain{Training: c.Training})
			}
			j := stagetest.New(t, kind, config, map[string]string{"model": "model"})
			j.Inputs["model"], j.Inputs["data"] = lines(t, row), data // no model at all
			r := try(t, j)
			want := "data: these are " + taken[format] + "; "
			if e := r.Last(); strings.Contains(e.Path+": "+e.Message, want) == slices.Contains(own, format) {
				t.Errorf("%s of %s: exit %d: %s: %s", name, format, r.Code, e.Path, e.Message)
			}
		}
	}
}

// What no row of a dataset can have is told once, before the model, which is not there here, is looked for.
func TestNoRowHas(t *testing.T) {
	messages := `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`
	sft := func(loss string) string { return encoded(t, schemas.TrainSFT{Loss: loss}) }
	eval := func(grader string) string { return `{"suites": {"a": {` + grader + `, "data": {}}}}` }
	for _, c := range []struct{ kind, config, row, want string }{
		{"train.sft", sft("completion"), messages, `loss: "completion" trains the completions of rows with prompt and completion; these are conversations (messages): ` +
			`"assistant" trains the assistant's turns, "all" the whole of them`},
		{"train.sft", sft("assistant"), `{"text": "a"}`, `loss: "assistant" trains a part of a row; these are plain text (text): "all" trains it`},
		{"train.sft", sft("completion"), `{"text": "a"}`, `loss: "completion" trains a part of a row; these are plain text (text): "all" trains it`},
		{"eval", eval(`"exact": {}`), `{"prompt": "q", "sum": "2"}`, "suites.a: no column answer to compare with; there is prompt, sum: the grader's column: NAME takes another"},
		{"eval", eval(`"number": {"column": "total"}`), messages, "suites.a: no column total to compare with; there is messages"},
		{"train.grpo", `{"rewards": {"a": {"contains": {}}}}`, `{"prompt": "q"}`, "rewards.a: no column answer to compare with; there is prompt: the grader's column: NAME takes another"},
	} {
		field := "data"
		if c.kind == "eval" {
			field = "suites.a.data"
		}
		j := stagetest.New(t, c.kind, c.config, map[string]string{"model": "model"})
		j.Inputs["model"], j.Inputs[field] = lines(t, c.row), lines(t, c.row, c.row, c.row, c.row, c.row) // no model at all
		if e := try(t, j).Last(); e.Path+": "+e.Message != c.want {
			t.Errorf("%s of %s: %s: %s", c.config, c.row, e.Path, e.Message)
		}
	}
}
