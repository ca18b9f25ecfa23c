package pipelines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/schemas"
)

// TestKeysStay pins what the training kinds put into their keys where a stage leaves all to the defaults: a field that is added
// later must leave it as it is, or every model that was ever trained is trained again.
func TestKeysStay(t *testing.T) {
	path, err := filepath.Abs("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	enter(t, "-- p/p.cue --\n"+minimal+`
stages: text: {kind: "data.load", source: "rows.jsonl"}
stages: pretrain: {kind: "model.pretrain", model: stages.base.out.model, data: stages.text.out.data}
stages: sft: {kind: "train.sft", model: stages.base.out.model, data: stages.text.out.data}
stages: lora: {kind: "train.sft", model: stages.base.out.model, data: stages.text.out.data, lora: {}}
stages: dpo: {kind: "train.dpo", model: stages.base.out.model, data: stages.text.out.data}
stages: grpo: {kind: "train.grpo", model: stages.base.out.model, data: stages.text.out.data, rewards: right: exact: {}}
-- p/rows.jsonl --
`)
	p, err := Load("p", Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, name := range []string{"pretrain", "sft", "lora", "dpo", "grpo"} {
		s := g.Stage(name)
		config, err := schemas.KeyConfig(s.Kind, s.Config)
		if err != nil {
			t.Fatal(err)
		}
		b = append(append(append(b, name+" "...), config...), '\n')
	}
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", b, want)
	}
}
