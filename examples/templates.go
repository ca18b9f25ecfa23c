// Package examples holds the committed experiments. Those that start well elsewhere are the templates of hone init.
package examples

import (
	"embed"
	"io/fs"
)

//go:embed quickstart/pipeline.cue quickstart/make_data.py quickstart/data
//go:embed sft/pipeline.cue sft/make_data.py sft/data
//go:embed tiny/pipeline.cue tiny/make_data.py tiny/make_tokenizer.py tiny/data tiny/tokenizer
//go:embed dpo/pipeline.cue dpo/make_data.py dpo/data dpo/tokenizer
//go:embed grpo/pipeline.cue grpo/data grpo/tokenizer
var files embed.FS

// Templates says in a line what each template is.
var Templates = map[string]string{
	"dpo":        "preferences: the tiny model learns which of two answers is liked; offline, in a minute",
	"grpo":       "rewards: the tiny model's own answers are graded and it learns from them; offline, in a minute",
	"tiny":       "a model from nothing: random weights, text, questions, an eval with a gate; offline, in half a minute",
	"quickstart": "LoRA on a small model, answers before and after, an eval with a gate, an adapter to ship; needs a model of 98 MB",
	"sft":        "a full fine-tune on conversations, an eval with a gate, a model to ship; needs the same model, or your own",
}

// Default is the template of hone init where none is named: the one that lacks nothing.
const Default = "tiny"

// Template is the files of a template; fs.ErrNotExist where there is none of that name.
func Template(name string) (fs.FS, error) {
	if _, ok := Templates[name]; !ok {
		return nil, fs.ErrNotExist
	}
	return fs.Sub(files, name)
}
