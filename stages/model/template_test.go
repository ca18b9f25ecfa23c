package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/stages/stagetest"
)

// chatModel is a fresh model with the tokenizer smollm, as an artifact.
func chatModel(t *testing.T) string {
	t.Helper()
	r := stagetest.Run(t.Context(), t, freshJob(t, freshConfig, 7, "smollm"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	return r.Out("model")
}

func templateJob(t *testing.T, in, config string) *job.Job {
	t.Helper()
	j := stagetest.New(t, "template.set", `{"model": {"kind": "model", "from": "base", "port": "model"}`+config+`}`, map[string]string{"model": "model"})
	j.Inputs["model"] = job.Input{Kind: "model", Path: in}
	return j
}

// A template replaces every other place that a template can be in; the weights are the same file.
func TestTemplateSet(t *testing.T) {
	in := chatModel(t)
	write(t, in, "chat_template.json", `{"chat_template": "old"}`)
	write(t, in, "additional_chat_templates/tool_use.jinja", "old")
	const source = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}"
	file := filepath.Join(t.TempDir(), "x.jinja")
	write(t, filepath.Dir(file), "x.jinja", source)
	for name, test := range map[string]struct{ config, want string }{
		"inline": {`, "template": "{{ messages }}"`, "{{ messages }}"},
		"file":   {`, "file": "x.jinja"`, source},
		"family": {`, "family": "chatml"`, ""},
	} {
		j := templateJob(t, in, test.config)
		j.Files["file"] = file
		r := stagetest.Run(t.Context(), t, j, TemplateSet)
		if r.Code != 0 {
			t.Errorf("%s: %+v", name, r.Last())
			continue
		}
		out := r.Out("model")
		if got := read(t, out, "chat_template.jinja"); test.want != "" && got != test.want || got == "" {
			t.Errorf("%s: template is %q", name, got)
		}
		want := []string{"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
		if d := cmp.Diff(want, list(t, out)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		a, _ := os.Stat(filepath.Join(in, "model.safetensors"))
		b, _ := os.Stat(filepath.Join(out, "model.safetensors"))
		if !os.SameFile(a, b) {
			t.Errorf("%s: the weights were copied", name)
		}
	}
	if read(t, in, "chat_template.json") == "" || strings.Contains(read(t, in, "tokenizer_config.json"), "chat_template") {
		t.Error("the input was changed")
	}
}

// Special tokens change in every file that names them, generation still ends where it ended, and given fields win.
func TestSpecialTokens(t *testing.T) {
	in := chatModel(t)
	write(t, in, "special_tokens_map.json", `{"eos_token": "<|im_end|>"}`)
	write(t, in, "generation_config.json", `{"_from_model_config": true, "eos_token_id": 2, "temperature": 0.5, "top_k": 20}`)
	r := stagetest.Run(t.Context(), t, templateJob(t, in,
		`, "specialTokens": {"eos": "<|endoftext|>", "pad": "<|im_start|>", "unk": "<|im_end|>"}, "generation": {"temperature": 0.7, "top_k": null, "do_sample": true}`), TemplateSet)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	out := r.Out("model")
	k, err := tokenizer.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if k.EOS.ID != 0 || k.PAD.ID != 1 || k.UNK.ID != 2 || cmp.Diff([]int32{0, 2}, k.StopIDs) != "" {
		t.Errorf("eos %v, pad %v, unk %v, stops %v", k.EOS, k.PAD, k.UNK, k.StopIDs)
	}
	if got := object(t, out, "special_tokens_map.json")["eos_token"]; got != "<|endoftext|>" {
		t.Errorf("special_tokens_map.json: %v", got)
	}
	config := object(t, out, "config.json")
	if config["eos_token_id"] != 0. || config["pad_token_id"] != 1. {
		t.Errorf("config.json: eos %v, pad %v", config["eos_token_id"], config["pad_token_id"])
	}
	want := map[string]any{"eos_token_id": []any{0., 2.}, "pad_token_id": 1., "temperature": 0.7, "do_sample": true}
	if d := cmp.Diff(want, object(t, out, "generation_config.json")); d != "" {
		t.Error(d)
	}
}

func TestTemplateRefuses(t *testing.T) {
	in := chatModel(t)
	for config, want := range map[string]struct{ path, message string }{
		`, "template": "{% for %}"`:             {"template", ""},
		`, "family": "nonsense"`:                {"family", `no template family "nonsense"`},
		`, "specialTokens": {"pad": "<|pad|>"}`: {"specialTokens.pad", `"<|pad|>" is not a token of this model`},
	} {
		r := stagetest.Run(t.Context(), t, templateJob(t, in, config), TemplateSet)
		if r.Code != 1 || r.Last().Path != want.path || !strings.Contains(r.Last().Message, want.message) {
			t.Errorf("%s: %+v, want %+v", config, r.Last(), want)
		}
	}
	r := stagetest.Run(t.Context(), t, templateJob(t, in, `, "template": "<|eot|>{{ messages }}<|im_end|>"`), TemplateSet)
	var warned string
	for _, e := range r.Events {
		if e.Level == "warn" {
			warned += e.Message
		}
	}
	if want := "template writes what this model has no token for, and will see as several: <|eot|>"; warned != want {
		t.Errorf("warned %q, want %q", warned, want)
	}
}
