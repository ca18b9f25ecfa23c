package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

const (
	asked1 = `{"messages": [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]}`
	asked2 = `{"messages": [{"role": "user", "content": "What is 2 + 1?"}, {"role": "assistant", "content": "3"}, {"role": "user", "content": "And 3 + 1?"}, {"role": "assistant", "content": "4"}]}`
	plain  = "none" // in the place of a template
	unsaid = `{"messages": [{"role": "user", "content": "Is there a turn?"}]}`
	chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

// bare is the toy's tokenizer without weights, with another template where one is given.
func bare(t *testing.T, template string) job.Input {
	t.Helper()
	dir := t.TempDir()
	if err := modeldir.CopyCompanions(dir, toy(t).Path); err != nil {
		t.Fatal(err)
	}
	if template == plain {
		if err := os.Remove(filepath.Join(dir, "chat_template.jinja")); err != nil {
			t.Fatal(err)
		}
	} else if template != "" {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return job.Input{Kind: "model", Path: dir}
}

// prove looks at rows as a training would read them.
func prove(t *testing.T, model, data job.Input, against []job.Input, change func(*schemas.VetData)) *job.Proofs {
	t.Helper()
	edge := func(kind string) schemas.Edge { return schemas.Edge{Kind: kind, From: "x", Port: "x"} }
	c := schemas.VetData{VetRows: schemas.VetRows{Kind: "train.sft", Data: edge("dataset"), Loss: "assistant"}, Model: edge("model"), MaxLength: 64, Date: "2024-07-26"}
	inputs := map[string]job.Input{"model": model, "data": data}
	for i, in := range against {
		c.Against = append(c.Against, edge("dataset"))
		inputs["against["+string(rune('0'+i))+"]"] = in
	}
	if change != nil {
		change(&c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	j := stagetest.New(t, schemas.Proof, string(b), map[string]string{"report": "report"})
	j.Inputs = inputs
	do(t, j)
	p, err := job.ReadProofs(j.Out["report"].Path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lined is the proofs as lines: name state: message.
func lined(p *job.Proofs) string {
	var b strings.Builder
	for _, x := range p.Proofs {
		b.WriteString(x.Name + " " + string(x.State) + ": " + x.Message + "\n")
		for _, f := range x.Found {
			b.WriteString("  " + strings.TrimSpace(string(rune('0'+f.Row))+" "+f.Message) + "\n")
		}
	}
	return b.String()
}

// Rows that are as they should be are proven.
func TestProve(t *testing.T) {
	p := prove(t, bare(t, chatml), lines(t, asked1, asked2), nil, nil)
	const want = `form proven: conversations
turns proven: none is empty, and their order is what templates print
renders proven: the model's template prints them
prefix proven: a turn is printed alike when the conversation goes on
mask proven: 6 of 77 tokens train (8%)
end proven: <|im_end|> ends what is answered, and trains
length proven: the longest has 51 tokens of maxLength 64
special proven: <|im_end|> <|im_start|> <|endoftext|> are one token each
`
	if got := lined(p); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	few := bare(t, chatml)
	if err := modeldir.Edit(few.Path, "config.json", func(o *ordjson.Object) { o.Set("max_position_embeddings", ordjson.Number("40")) }); err != nil {
		t.Fatal(err)
	}
	if got := lined(prove(t, few, lines(t, asked1, asked2), nil, nil)); !strings.Contains(got, "length advice: 1 of 2 rows (50%) have more tokens than the model has positions, 40 (max_position_embeddings)\n") {
		t.Error(got)
	}
	e := p.Examples[0]
	if n := len(e.Parts); n != 3 || e.Parts[1].Text != "2<|im_end|>" || !e.Parts[1].Trained || e.Parts[0].Trained || e.Parts[2].Trained {
		t.Errorf("the example is %+v", e.Parts)
	}
}

// Each proof fails on what it is there for, and says which row.
func TestProofsFail(t *testing.T) {
	row := func(messages string) string { return `{"messages": [` + messages + `]}` }
	long := row(`{"role": "user", "content": "` + strings.Repeat("word ", 80) + `"}, {"role": "assistant", "content": "2"}`)
	prompted := `{"prompt": "What is 1 + 1?", "completion": "2"}`
	pair := func(chosen, rejected string) string {
		return `{"prompt": [{"role": "user", "content": "What is 1 + 1?"}], "chosen": [{"role": "assistant", "content": "` + chosen +
			`"}], "rejected": [{"role": "assistant", "content": "` + rejected + `"}]}`
	}
	kind := func(kind string) func(*schemas.VetData) {
		return func(c *schemas.VetData) { c.Kind, c.Loss = kind, "" }
	}
	for _, test := range []struct {
		name     string
		template string
		rows     []string
		change   func(*schemas.VetData)
		want     []string // lines
		never    string
	}{
		{"no turn of the assistant", "", []string{asked1, unsaid}, nil,
			[]string{"mask fails: 1 of 2 rows (50%) refused\n  2 no assistant turn: nothing in this row trains"}, "form fails"},
		{"loss all trains it", "", []string{asked1, unsaid}, func(c *schemas.VetData) { c.Loss = "all" }, []string{"mask proven: "}, "fails"},
		{"a template that raises", "{{ raise_exception('no') }}", []string{asked1}, nil,
			[]string{"renders fails: 1 of 1 rows (100%) refused\n  1 template:1: no", "mask unproven: no row came so far"}, ""},
		{"a template that prints a beginning otherwise", "{% for m in messages %}{% if loop.last %}!{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
			[]string{asked2}, nil, []string{"prefix fails: 1 of 1 rows (100%) refused\n  1 messages[1]: the template prints this turn in another way"}, ""},
		{"the same where all trains", "{% for m in messages %}{% if loop.last %}!{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
			[]string{asked2}, func(c *schemas.VetData) { c.Loss = "all" }, []string{"prefix advice: 1 of 1 rows (100%) begin otherwise"}, "fails"},
		{"marks that leave the end out", "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}",
			[]string{asked1}, nil, []string{"end fails: 1 of 1 rows (100%) refused\n  1 turn 1 of the assistant: its end-of-turn token <|im_end|> is outside"}, ""},
		{"no end of a turn", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
			[]string{asked1}, nil, []string{"end fails: 1 of 1 rows (100%) refused", "special advice: the template prints nothing after an answer at which a model could stop"}, ""},
		{"an end in pieces", strings.ReplaceAll(chatml, "<|im_end|>", "<|fin|>"), []string{asked1}, nil, []string{"special fails: <|fin|> is "}, ""},
		{"another marker in pieces", strings.ReplaceAll(chatml, "<|im_start|>", "<|begin|>"), []string{asked1}, nil, []string{"special advice: <|begin|> is "}, "fails"},
		{"an end at which generation goes on", strings.ReplaceAll(chatml, "<|im_end|>", "<|endoftext|>"), []string{asked1}, nil,
			[]string{"special advice: <|endoftext|> ends a turn, and generation does not stop there"}, "fails"},
		{"no template", plain, []string{asked1}, nil, []string{"renders advice: the model has no chat template: plain prints them"}, "fails"},
		{"rows that are cut", "", []string{asked1, long}, nil, []string{"length advice: 1 of 2 rows (50%) are dropped: nothing that trains is left of them"}, "fails"},
		{"nothing left of any", "", []string{long}, nil, []string{"length fails: 1 of 1 rows (100%) are dropped"}, ""},
		{"rows of another form", "", []string{asked1}, kind("train.dpo"), []string{"form fails: these are conversations (messages)"}, ""},
		{"text ends in eos", "", []string{prompted}, func(c *schemas.VetData) { c.Loss = "" }, []string{"mask proven: ", "end proven: "}, "prefix"},
		{"pairs", "", []string{pair("2", "3")}, kind("train.dpo"), []string{"form proven: preference rows", "end proven: "}, "fails"},
		{"a pair that is none", "", []string{pair("2", "3"), pair("2", "2")}, kind("train.dpo"),
			[]string{"form fails: 1 of 2 rows (50%) refused\n  2 chosen and rejected are the same"}, ""},
		{"prompts", "", []string{`{"prompt": "What is 1 + 1?"}`}, kind("train.grpo"), []string{"form proven: prompt rows", "length proven: "}, "mask"},
		{"a prompt without what rewards compare with", "", []string{`{"prompt": "What is 1 + 1?", "answer": "2"}`, `{"prompt": "What is 2 + 1?", "anser": "3"}`},
			func(c *schemas.VetData) { c.Kind, c.Loss, c.Reads = "train.grpo", "", []string{""} },
			[]string{"form fails: 1 of 2 rows (50%) refused\n  2 column answer is null: nothing to compare with"}, "advice"},
		{"prompts too long", "", []string{`{"prompt": "` + strings.Repeat("word ", 80) + `"}`}, kind("train.grpo"),
			[]string{"length fails: 1 of 1 rows (100%) are dropped: a prompt is not cut"}, ""},
		{"texts", "", []string{`{"text": "The fat hen."}`}, kind("model.pretrain"), []string{"form proven: plain text", "mask proven: "}, "length"},
		{"conversations to pretrain on", "", []string{asked1}, kind("model.pretrain"), []string{"form fails: these are conversations"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := test.template
			if template == "" {
				template = chatml
			}
			got := lined(prove(t, bare(t, template), lines(t, test.rows...), nil, test.change))
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%swant %q", got, want)
				}
			}
			if test.never != "" && strings.Contains(got, test.never) {
				t.Errorf("got\n%swithout %q", got, test.never)
			}
		})
	}
}

// What is there to measure by is looked for in all rows that are trained on, whatever their form, case and spaces.
func TestOverlap(t *testing.T) {
	data := lines(t, asked1, asked2)
	other := lines(t, `{"prompt": "what is  1 + 1?", "answer": "2"}`, `{"prompt": "What is 5 + 1?", "answer": "6"}`)
	unanswered := lines(t, `{"prompt": "What is 1 + 1?"}`)
	none := lines(t, `{"prompt": "What is 6 + 1?"}`)
	p := prove(t, bare(t, chatml), data, []job.Input{other, unanswered, none, data}, func(c *schemas.VetData) { c.Rows = 1 })
	const want = `overlap advice: 1 of 2 rows (50%) ask what is trained on, 1 of them with the answer
  1 with the answer
near proven: besides those, none of 1 rows nearly asks what is trained on
overlap advice: 1 of 1 rows (100%) ask what is trained on, 0 of them with the answer
  1 with another answer or none
near unproven: no row is left besides those
overlap proven: none of 1 rows is trained on
near proven: none of 1 rows nearly asks what is trained on
overlap fails: all 2 rows are trained on: this measures memory
  1 with the answer
  2 with the answer
near unproven: no row is left besides those
`
	if got := lined(p); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if f := p.Proofs[len(p.Proofs)-2].Found[1]; f.Row != 2 || f.Same != 2 {
		t.Errorf("row %d is found at %d", f.Row, f.Same)
	}
	if s := p.Sets[0]; s.Looked != 1 || s.Rows != 2 {
		t.Errorf("looked at %d of %d rows", s.Looked, s.Rows)
	}
}

// Rows of a suite are to have what it reads, and the template is to print them.
func TestProveSuites(t *testing.T) {
	asked := lines(t, asked1, unsaid, `{"messages": [{"role": "humn", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]}`)
	prompts := lines(t, `{"prompt": "What is 1 + 1?"}`)
	suites := []schemas.VetSuite{{Asked: true, Reads: []string{""}}, {Taught: true}, {Asked: true, Reads: []string{""}}, {Taught: true}, {}}
	p := prove(t, bare(t, chatml), lines(t, asked2), []job.Input{asked, asked, prompts, prompts, prompts}, func(c *schemas.VetData) { c.Suites = suites })
	of := map[string]*job.Proofs{}
	for _, x := range p.Proofs {
		if x.Name != job.ProofOverlap && x.Name != job.ProofNear && strings.HasPrefix(x.Data, "against") {
			if of[x.Data] == nil {
				of[x.Data] = &job.Proofs{}
			}
			of[x.Data].Proofs = append(of[x.Data].Proofs, x)
		}
	}
	const role = `
  3 messages[0]: role "humn" is not one of system, developer, user, assistant, tool, and the template names no other of that name
turns proven: none is empty, and their order is what templates print
renders proven: the model's template prints them
`
	for field, want := range map[string]string{
		"against[0]": "form fails: 2 of 3 rows (67%) refused\n  2 neither a column answer nor a last assistant turn to compare with" + role,
		"against[1]": "form fails: 2 of 3 rows (67%) refused\n  2 no assistant turn: nothing in this row trains" + role,
		"against[2]": "form fails: no column answer to compare with; there is prompt: the grader's column: NAME takes another\n",
		"against[3]": "form fails: these are prompt rows (prompt): train.grpo or curate.distill take them; perplexity takes conversations (messages), " +
			"or prompts with completions (prompt, completion), or plain text (text)\n",
	} {
		if got := lined(of[field]); got != want {
			t.Errorf("%s: got\n%swant\n%s", field, got, want)
		}
	}
	if of["against[4]"] != nil {
		t.Errorf("eval.data alone: %s", lined(of["against[4]"]))
	}
}

// What is proven is what training does: as many tokens train, as many rows are cut and dropped.
func TestProveAsTrained(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	for _, loss := range []string{"assistant", "all"} {
		p := prove(t, toy(t), data, nil, func(c *schemas.VetData) { c.Loss, c.MaxLength = loss, 512 })
		j := stagetest.New(t, "train.sft", sftConfig(func(c *schemas.TrainSFT) { c.Loss = loss; one := int64(1); c.MaxSteps = &one }), map[string]string{"model": "model"})
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		done := do(t, j).Last().Values
		if s := p.Sets[0]; float64(s.Tokens) != done["tokens"] || float64(s.Rows) != done["rows"] {
			t.Errorf("loss %s: proven %d tokens of %d rows, trained %v", loss, s.Tokens, s.Rows, done)
		}
	}
}
