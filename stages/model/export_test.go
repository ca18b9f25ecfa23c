package model

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/stages/stagetest"
)

// exportJob exports as a format, or "gguf TYPE".
func exportJob(t *testing.T, in job.Input, format string) *job.Job {
	t.Helper()
	format, kind, typed := strings.Cut(format, " ")
	if typed {
		kind = `, "type": "` + kind + `"`
	}
	j := stagetest.New(t, "export", `{"model": {"kind": "`+in.Kind+`", "from": "tune", "port": "model"}, "format": "`+format+`"`+kind+`}`, map[string]string{"files": "files"})
	j.Inputs["model"] = in
	return j
}

func TestExportModel(t *testing.T) {
	in := chatModel(t)
	write(t, in, "README.md", "not a file of the model")
	r := stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: in}, "hf"), Export)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	want := []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
	if d := cmp.Diff(want, list(t, r.Out("files"))); d != "" {
		t.Error(d)
	}
	for _, name := range want {
		if read(t, in, name) != read(t, r.Out("files"), name) {
			t.Errorf("%s differs", name)
		}
	}
}

// A model goes to GGUF and comes back by model.load: weights and the ids of texts are the same, and a tokenizer that a file
// cannot hold is an error of the stage.
func TestExportGGUF(t *testing.T) {
	for _, toy := range []string{"llama3", "qwen2"} {
		r := stagetest.Run(t.Context(), t, loadJob(t, absolute(t, ggufs, toy+".gguf"), "float32"), Load)
		in := r.Out("model")
		r = stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: in}, "gguf f32"), Export)
		if r.Code != 0 {
			t.Fatal(r.Last())
		}
		if d := cmp.Diff([]string{"model.gguf"}, list(t, r.Out("files"))); d != "" {
			t.Error(d)
		}
		back := stagetest.Run(t.Context(), t, loadJob(t, filepath.Join(r.Out("files"), "model.gguf"), "float32"), Load)
		if back.Code != 0 {
			t.Fatal(back.Last())
		}
		for _, name := range list(t, in) {
			if read(t, in, name) != read(t, back.Out("model"), name) {
				t.Errorf("%s: %s differs", toy, name)
			}
		}
	}
	in := chatModel(t)
	write(t, in, "tokenizer.json", read(t, filepath.Join(tokenizers, "wordpiece"), "tokenizer.json"))
	r := stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: in}, "gguf f32"), Export)
	if r.Code != 1 || !strings.Contains(r.Last().Message, "tokenizer.json: model: WordPiece is not supported in GGUF") {
		t.Errorf("%+v", r.Last())
	}
}

// Where llama.cpp computes otherwise, a warning says when.
func TestExportWarns(t *testing.T) {
	for toy, want := range map[string][]string{
		"phi3":          {"sliding_window: llama.cpp applies none to Phi-3: beyond 64 tokens "},
		"phi3-longrope": {"rope_scaling: llama.cpp rotates by the long factors where its context (--ctx-size) is above 128 tokens"},
		"gemma2":        nil,
	} {
		r := stagetest.Run(t.Context(), t, loadJob(t, absolute(t, ggufs, toy+".gguf"), "float32"), Load)
		r = stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "model", Path: r.Out("model")}, "gguf f32"), Export)
		if r.Code != 0 {
			t.Fatal(r.Last())
		}
		var said []string
		for _, e := range r.Events {
			if e.Level == "warn" {
				said = append(said, e.Message)
			}
		}
		if !slices.EqualFunc(said, want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", toy, said, want)
		}
	}
}

// An adapter's folder names its base by a name that means the same everywhere, or not at all, and brings the tokenizer.
func TestExportAdapter(t *testing.T) {
	adapter := copyToy(t, filepath.Join(toys, "llama-tied", "adapter-all"))
	base := chatModel(t)
	for name, test := range map[string]struct {
		written any // in adapter_config.json
		origin  string
		want    any
	}{
		"a path":           {"/data/models/base", "", nil},
		"nothing":          {nil, "", nil},
		"a name":           {"org/base", "", "org/base"},
		"the base's name":  {"/data/models/base", "org/loaded", "org/loaded"},
		"the base's path":  {"", "/tmp/base", nil},
		"a relative path":  {"./base", "", nil},
		"a path of parts":  {"a/b/c", "", nil},
		"the name is kept": {"org/base", "org/loaded", "org/base"},
	} {
		config := object(t, adapter, "adapter_config.json")
		config["base_model_name_or_path"] = test.written
		writeJSON(t, adapter, "adapter_config.json", config)
		origin := object(t, base, "config.json")
		origin["_name_or_path"] = test.origin
		writeJSON(t, base, "config.json", origin)
		r := stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: "adapter", Path: adapter, Base: &job.Input{Kind: "model", Path: base}}, "peft"), Export)
		if r.Code != 0 {
			t.Errorf("%s: %+v", name, r.Last())
			continue
		}
		out := r.Out("files")
		if d := cmp.Diff([]string{"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"}, list(t, out)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if got := object(t, out, "adapter_config.json")["base_model_name_or_path"]; got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if read(t, adapter, "adapter_model.safetensors") != read(t, out, "adapter_model.safetensors") {
			t.Errorf("%s: the weights differ", name)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	in := chatModel(t)
	for _, test := range []struct{ kind, format, want string }{
		{"adapter", "hf", "merge it with model.merge first"},
		{"adapter", "gguf q8_0", "gguf is a whole model, and this is an adapter: export it as peft, or merge it with model.merge first"},
		{"model", "peft", "export it as hf or gguf"},
		{"model", "hf f16", "type: f16 is for gguf, not hf"},
	} {
		r := stagetest.Run(t.Context(), t, exportJob(t, job.Input{Kind: test.kind, Path: in}, test.format), Export)
		if r.Code != 1 || !strings.Contains(r.Last().Message, test.want) {
			t.Errorf("%s as %s: %+v", test.kind, test.format, r.Last())
		}
	}
}
