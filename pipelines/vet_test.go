package pipelines

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const vetPipeline = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "p"
stages: {
	base: {kind: "model.load", source: "hf://org/base"}
	chat: {kind: "template.set", model: stages.base.out.model, family: "chatml"}
	rows: {kind: "data.load", source: "rows.jsonl"}
	short: {kind: "curate.filter", data: stages.rows.out.data, model: stages.chat.out.model, steps: [{length: tokens: max: 64}]}
	parts: {kind: "curate.split", data: stages.short.out.data, parts: {train: 0.5, test: 0.5}}
	made: {kind: "exec", command: ["true"], inputs: x: stages.rows.out.data, out: data: kind: "dataset"}
	tune: {kind: "train.sft", model: stages.chat.out.model, data: stages.parts.out.train, lora: {}
		eval: {data: stages.parts.out.test, every: 10}
	}
	drawn: {kind: "generate", model: stages.tune.out.model, data: stages.rows.out.data}
	whole: {kind: "model.merge", model: stages.tune.out.model}
	more: {kind: "train.sft", model: stages.whole.out.model, data: stages.rows.out.data}
	last: {kind: "train.sft", model: stages.whole.out.model, data: stages.drawn.out.data}
	mine: {kind: "train.sft", model: stages.whole.out.model, data: stages.made.out.data}
	score: {kind: "eval", model: stages.more.out.model, suites: {
		a: {data: stages.parts.out.test, perplexity: {}}
		b: {data: stages.drawn.out.data, perplexity: {}}
	}}
}
`

// In the place of models stand their tokenizers, and of a filter that counts tokens one that reads such; stages without a model are
// those that a run has. What a model or a program is to make first is not proven. A suite's rows (taught) are proven by the training that
// gives the model, and only compared with by those before it.
func TestVet(t *testing.T) {
	g := compiled(t, vetPipeline, map[string]string{"rows.jsonl": "{}\n"})
	for name, test := range map[string]struct {
		o    Vetting
		want string
	}{
		"nothing is made": {Vetting{}, `
base/vet vet.tokenizer: source
chat/vet template.set: model=base/vet.model
short/vet curate.filter: data=rows.data model=chat/vet.model
parts/vet curate.split: data=short/vet.data
tune/vet vet.data: against[0]=parts/vet.test data=parts/vet.train eval.data=parts/vet.test model=chat/vet.model
more/vet vet.data: against[0]=parts/vet.test data=rows.data model=chat/vet.model taught
tune against eval.data, score.suites.a
tune score.suites.b: a model is to make the rows of drawn first
more against score.suites.a
more score.suites.b: a model is to make the rows of drawn first
last data: a model is to make the rows of drawn first
mine data: made runs a program: --allow-exec runs it
`},
		"a program may run, one training": {Vetting{AllowExec: true, Stages: []string{"mine"}}, `
base/vet vet.tokenizer: source
chat/vet template.set: model=base/vet.model
mine/vet vet.data: data=made.data model=chat/vet.model
`},
		"all is made, one training": {Vetting{Made: func(*Stage) (bool, error) { return true, nil }, Stages: []string{"last"}}, `
base/vet vet.tokenizer: source
chat/vet template.set: model=base/vet.model
last/vet vet.data: data=drawn.data model=chat/vet.model
`},
		"rows to measure by cannot be read": {Vetting{Refused: []string{"parts"}, Stages: []string{"more"}}, `
base/vet vet.tokenizer: source
chat/vet template.set: model=base/vet.model
more/vet vet.data: data=rows.data model=chat/vet.model
more score.suites.a: the rows of parts cannot be read
more score.suites.b: a model is to make the rows of drawn first
`},
		"too many bytes": {Vetting{MaxBytes: 1, Stages: []string{"more"}}, `
base/vet vet.tokenizer: source
chat/vet template.set: model=base/vet.model
more data: rows.jsonl: with it 0 MB are to be read, more than 0: --all reads them
`},
		"no tokenizer": {Vetting{Tokenizer: func(*Stage, string) (string, error) { return "", errors.New("not here") }, Stages: []string{"more"}}, `
more/vet vet.rows: data=rows.data
more model: not here
more score.suites.a: not here
more score.suites.b: a model is to make the rows of drawn first
`},
	} {
		t.Run(name, func(t *testing.T) {
			if test.o.Made == nil {
				test.o.Made = func(*Stage) (bool, error) { return false, nil }
			}
			if test.o.Tokenizer == nil {
				test.o.Tokenizer = func(*Stage, string) (string, error) { return "/tokenizer", nil }
			}
			whole, proofs, err := Vet(g, test.o)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range whole.Stages[len(g.Stages):] {
				fmt.Fprintf(&b, "%s %s:", s.Name, s.Kind)
				for _, in := range s.Inputs {
					fmt.Fprintf(&b, " %s=%s.%s", in.Field, in.Edge.From, in.Edge.Port)
				}
				for _, src := range s.Sources {
					fmt.Fprintf(&b, " %s", src.Field)
				}
				if strings.Contains(string(s.Config), `"taught":true`) {
					b.WriteString(" taught")
				}
				b.WriteString("\n")
			}
			for _, p := range proofs {
				for _, name := range p.Against {
					fmt.Fprintf(&b, "%s against %s\n", p.Stage.Name, name)
				}
				for _, what := range slices.Sorted(maps.Keys(p.Unproven)) {
					why, _, _ := strings.Cut(p.Unproven[what], "\n")
					fmt.Fprintf(&b, "%s %s: %s\n", p.Stage.Name, what, why)
				}
			}
			if d := cmp.Diff(strings.TrimPrefix(test.want, "\n"), b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

// compiled is the graph of a package of one file, beside others.
func compiled(t *testing.T, source string, files map[string]string) *Graph {
	t.Helper()
	dir := t.TempDir()
	files["p.cue"] = source
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
