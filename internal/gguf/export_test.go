package gguf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/safetensors"
)

const tokenizers = "../tokenizer/testdata"

func exported(t *testing.T, dir, kind string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := Write(t.Context(), path, dir, kind, t.Logf, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameFiles compares two folders file by file.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	entries, err := os.ReadDir(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		a, _ := os.ReadFile(filepath.Join(want, e.Name()))
		b, err := os.ReadFile(filepath.Join(got, e.Name()))
		if err != nil || string(a) != string(b) {
			t.Errorf("%s differs: %v", e.Name(), err)
		}
	}
}

// A model goes to GGUF and back without a change of any byte: weights, q and k permuted twice, config, stretched positions,
// tokenizer, template and special tokens.
func TestWriteReadsBack(t *testing.T) {
	for name := range models {
		t.Run(name, func(t *testing.T) {
			dir, back := convertToy(t, name, "float32"), t.TempDir()
			if err := Convert(t.Context(), exported(t, dir, "f32"), back, "float32", nil); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, dir, back)
		})
	}
}

// The same folder gives the same bytes, and a bfloat16 one is written as it is.
func TestWriteAgain(t *testing.T) {
	dir := convertToy(t, "qwen3", "auto")
	a, _ := os.ReadFile(exported(t, dir, "bf16"))
	b, _ := os.ReadFile(exported(t, dir, "bf16"))
	if string(a) != string(b) || len(a) == 0 {
		t.Error("two files differ")
	}
	back := t.TempDir()
	if err := Convert(t.Context(), exported(t, dir, "bf16"), back, "auto", nil); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, dir, back)
}

// Keys and their values are what the file that the toy came from says, and nothing is lost of it but what the writer of that
// file added.
func TestWriteMetadata(t *testing.T) {
	for name := range models {
		f, err := Open(filepath.Join("testdata", "models", name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := Open(exported(t, convertToy(t, name, "float32"), "q8_0"))
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range f.Meta {
			got := g.Meta[key]
			if key == "tokenizer.ggml.token_type" { // the toys' writer has 32 bits without a sign
				want, got = cmp.Diff(want, got, cmp.Transformer("", func(n uint64) int64 { return int64(n) })), ""
			}
			if key == "tokenizer.ggml.scores" { // only their order says anything, and reading back shows it
				continue
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: %s: %s", name, key, d)
			}
		}
		var names, want []string
		for _, x := range f.Tensors {
			want = append(want, x.Name)
		}
		for _, x := range g.Tensors {
			names = append(names, x.Name)
		}
		slices.Sort(want)
		slices.Sort(names)
		if d := cmp.Diff(want, names); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		f.Close()
		g.Close()
	}
}

// Matrices have the type that was asked for, within its error; the output matrix of q4_0 has more bits, and so has one
// whose rows are no whole blocks.
func TestWriteTypes(t *testing.T) {
	dir := convertToy(t, "llama", "float32")
	original, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer original.Close()
	for name, test := range map[string]struct {
		matrix, embedding Type
		fileType          uint64
		step              float32 // of the largest value
	}{"f32": {F32, F32, 0, 0}, "f16": {F16, F16, 1, 1. / 2048}, "bf16": {BF16, BF16, 32, 1. / 256}, "q8_0": {Q8_0, Q8_0, 7, 1. / 127}, "q4_0": {Q4_0, Q8_0, 2, 1. / 7}} {
		path := exported(t, dir, name)
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range f.Tensors {
			want := test.matrix
			if x.Name == "token_embd.weight" {
				want = test.embedding
			}
			if len(x.Shape) == 1 {
				want = F32
			}
			if x.Type != want {
				t.Errorf("%s: %s is %s", name, x.Name, x.Type)
			}
		}
		if n := f.Meta["general.file_type"]; n != test.fileType {
			t.Errorf("%s: general.file_type %v", name, n)
		}
		f.Close()
		back := t.TempDir()
		if err := Convert(t.Context(), path, back, "float32", nil); err != nil {
			t.Fatal(err)
		}
		c, err := safetensors.OpenDir(back)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Tensors() {
			y, _ := original.Tensor(x.Name)
			a, b := make([]float32, x.Elements()), make([]float32, x.Elements())
			safetensors.Floats(a, x.Dtype, x.Data)
			safetensors.Floats(b, y.Dtype, y.Data)
			var most, wrong float32
			for i := range a {
				most, wrong = max(most, b[i], -b[i]), max(wrong, a[i]-b[i], b[i]-a[i])
			}
			if wrong > most*test.step {
				t.Errorf("%s: %s: off by %v of %v", name, x.Name, wrong, most)
			}
		}
		c.Close()
	}
}

// What cannot be written, one at a time: each says which file and what of it, and leaves no file.
func TestWriteRefuses(t *testing.T) {
	replace := func(name, old, new string) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			changed := strings.Replace(string(b), old, new, 1)
			if err != nil || changed == string(b) {
				t.Fatalf("%s has no %s", name, old)
			}
			os.WriteFile(path, []byte(changed), 0o644)
		}
	}
	tokenizer := func(from string) func(string) {
		return func(dir string) {
			for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
				b, err := os.ReadFile(filepath.Join(tokenizers, from, name))
				if err != nil {
					t.Fatal(err)
				}
				os.WriteFile(filepath.Join(dir, name), b, 0o644)
			}
		}
	}
	for _, test := range []struct {
		kind   string
		change func(dir string)
		want   string
	}{
		{"q5_0", nil, `type "q5_0": not one of bf16, f16, f32, q4_0, q8_0`},
		{"f32", func(d string) { os.Remove(filepath.Join(d, "tokenizer.json")) }, "no tokenizer.json"},
		{"f32", func(d string) { os.Remove(filepath.Join(d, "config.json")) }, "config.json: no such file"},
		{"f32", replace("config.json", `"model_type": "llama"`, `"model_type": "bloom"`), `config.json: model_type: "bloom" is not supported: only llama, qwen2, qwen3, gemma2`},
		{"f32", replace("config.json", `"model_type": "llama"`, `"sliding_window": 64, "model_type": "mistral"`), "sliding_window: 64: llama.cpp has no window in Mistral's layers"},
		{"f32", replace("config.json", `"hidden_act": "silu"`, `"hidden_act": "gelu"`), `config.json: hidden_act: "gelu" is not supported`},
		{"f32", replace("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`), "missing tensor model.layers.2.input_layernorm.weight"},
		{"f32", replace("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 1`), "tensor model.layers.1.input_layernorm.weight: no place for it"},
		{"f32", replace("config.json", `"rope_scaling": null`, `"rope_scaling": {"rope_type": "dynamic", "factor": 2}`), `rope_type: "dynamic" is not supported`},
		{"f32", replace("config.json", `"vocab_size": 404`, `"vocab_size": 300`), "tokenizer.json: 400 ids, the embedding of config.json has 300 rows"},
		{"f32", replace("tokenizer.json", `"Digits"`, `"Whitespace"`), "tokenizer.json: pre_tokenizer: llama.cpp has no name for one with Whitespace"},
		{"f32", replace("tokenizer.json", `"normalizer": null`, `"normalizer": {"type": "Lowercase"}`), "tokenizer.json: normalizer: llama.cpp has no Lowercase"},
		{"f32", replace("tokenizer.json", `"ignore_merges": false`, `"ignore_merges": true`), "llama.cpp has no name for this way to cut text"},
		{"f32", replace("tokenizer.json", `"add_prefix_space": false`, `"add_prefix_space": true`), "llama.cpp has no name for one with ByteLevel"},
		{"f32", replace("generation_config.json", `"eos_token_id": 2`, `"eos_token_id": [2, 3, 4, 5]`), "4 tokens end an answer"},
		{"f32", tokenizer("wordpiece"), "tokenizer.json: model: WordPiece is not supported in GGUF"},
		{"f32", tokenizer("unigram"), "tokenizer.json: model: Unigram is not supported in GGUF"},
	} {
		dir := convertToy(t, "llama", "float32")
		if test.change != nil {
			test.change(dir)
		}
		path := filepath.Join(t.TempDir(), "model.gguf")
		if err := Write(t.Context(), path, dir, test.kind, t.Logf, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file is left: %v", test.want, err)
		}
	}
}

// A cancelled write, a full disk and a value that does not fit leave no file, and say why.
func TestWriteStops(t *testing.T) {
	dir := convertToy(t, "llama", "float32")
	path := filepath.Join(t.TempDir(), "model.gguf")
	ctx, cancel := context.WithCancel(t.Context())
	err := Write(ctx, path, dir, "f32", t.Logf, func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	})
	if _, stat := os.Stat(path); !errors.Is(err, context.Canceled) || !errors.Is(stat, os.ErrNotExist) {
		t.Errorf("%v, %v", err, stat)
	}
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Clone(f.Tensors())
	i := slices.IndexFunc(all, func(x safetensors.Tensor) bool { return len(x.Shape) == 2 })
	all[i].Data = slices.Clone(all[i].Data)
	safetensors.PutFloats(all[i].Data, safetensors.F32, []float32{1e6})
	changed := t.TempDir()
	if err := os.CopyFS(changed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.WriteDir(changed, all, safetensors.MaxShard); err != nil {
		t.Fatal(err)
	}
	f.Close()
	err = Write(t.Context(), path, changed, "f16", t.Logf, nil)
	if _, stat := os.Stat(path); err == nil || !strings.Contains(err.Error(), "1e+06 does not fit F16") || !errors.Is(stat, os.ErrNotExist) {
		t.Errorf("%v, %v", err, stat)
	}
}

// What llama.cpp takes an architecture to be, and config.json says otherwise, is refused; what it has by default is not.
func TestWriteRefusesKinds(t *testing.T) {
	for _, test := range []struct{ toy, old, new, want string }{
		{"gemma2", `"query_pre_attn_scalar": 16`, `"query_pre_attn_scalar": 24`, "query_pre_attn_scalar: 24: llama.cpp takes it to be 16"},
		{"gemma2", `"use_cache"`, `"layer_types": ["full_attention"], "use_cache"`, "layer_types: layer 0 is full_attention"},
		{"gemma2", `"hidden_activation": "gelu_pytorch_tanh"`, `"hidden_activation": "relu"`, `hidden_activation: "relu" is not supported`},
		{"gemma3", `"sliding_window_pattern": 6`, `"sliding_window_pattern": 3`, "sliding_window_pattern: 3"},
		{"gemma3", `"rope_local_base_freq": 10000.0`, `"rope_local_base_freq": 5000.0`, "rope_local_base_freq: 5000"},
		{"smollm3", `"no_rope_layer_interval": 4`, `"no_rope_layer_interval": 3`, "no_rope_layer_interval: 3"},
		{"phi3-longrope", `"partial_rotary_factor": 0.75`, `"partial_rotary_factor": 0.5`, "3 short and 3 long factors, 2 are wanted"},
		{"gpt2", `"use_cache"`, `"scale_attn_by_inverse_layer_idx": true, "use_cache"`, "scale_attn_by_inverse_layer_idx"},
		{"gemma2", `"tie_word_embeddings": true`, `"x": 1`, ""},
		{"gpt2", `"tie_word_embeddings": true`, `"x": 1`, ""},
		{"olmo2", `"rms_norm_eps": 1e-05`, `"x": 1`, ""},
	} {
		dir := convertToy(t, test.toy, "float32")
		path := filepath.Join(dir, "config.json")
		b, err := os.ReadFile(path)
		changed := strings.Replace(string(b), test.old, test.new, 1)
		if err != nil || changed == string(b) {
			t.Fatalf("%s has no %s", test.toy, test.old)
		}
		os.WriteFile(path, []byte(changed), 0o644)
		err = Write(t.Context(), filepath.Join(t.TempDir(), "x.gguf"), dir, "f32", t.Logf, nil)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, %s: got %v, want %q", test.toy, test.new, err, test.want)
		}
	}
}
