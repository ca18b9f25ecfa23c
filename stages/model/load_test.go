package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/hub/hubtest"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/stages/stagetest"
)

const (
	toys       = "../../internal/model/testdata"
	ggufs      = "../../internal/gguf/testdata/models"
	tokenizers = "../../internal/tokenizer/testdata"
)

// loadJob is a model.load job with a source, which is as the runner gives it: absolute, or with a commit.
func loadJob(t *testing.T, source, dtype string) *job.Job {
	t.Helper()
	j := stagetest.New(t, "model.load", fmt.Sprintf(`{"source": "x", "seed": 42, "dtype": %q}`, dtype), map[string]string{"model": "model"})
	j.Files["source"] = source
	return j
}

func absolute(t *testing.T, path ...string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// copyToy copies a toy model to a folder that the test may damage.
func copyToy(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"expected.json", "expected.safetensors"} {
		os.Remove(filepath.Join(dir, name))
	}
	return dir
}

// loadable copies a toy model with a tokenizer, which toys lack.
func loadable(t *testing.T, toy string) string {
	t.Helper()
	dir := copyToy(t, filepath.Join(toys, toy))
	write(t, dir, "tokenizer.json", `{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}`)
	return dir
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func object(t *testing.T, dir, name string) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dir, name)), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(names)
	return names
}

// A folder comes as the files of a model alone: no pickles, no code, no path of the machine that saved it.
func TestLoadFolder(t *testing.T) {
	for _, toy := range []string{"llama-tied", "qwen2"} {
		dir := loadable(t, toy)
		var want []string
		for _, name := range list(t, dir) {
			if !strings.HasPrefix(name, "adapter") {
				want = append(want, name)
			}
		}
		config := object(t, dir, "config.json")
		config["_name_or_path"] = "/home/someone/models/x"
		b, _ := json.Marshal(config)
		write(t, dir, "config.json", string(b))
		for _, name := range []string{"pytorch_model.bin", "training_args.bin", "modeling_x.py", "README.md", "consolidated.safetensors", "original/x.json"} {
			write(t, dir, name, "not for hone")
		}
		r := stagetest.Run(t.Context(), t, loadJob(t, dir, "auto"), Load)
		if r.Code != 0 {
			t.Fatal(r.Last())
		}
		out := r.Out("model")
		if d := cmp.Diff(want, list(t, out)); d != "" {
			t.Errorf("%s: %s", toy, d)
		}
		for _, name := range want {
			if strings.HasSuffix(name, ".safetensors") && read(t, out, name) != read(t, dir, name) {
				t.Errorf("%s: %s differs", toy, name)
			}
		}
		if name, ok := object(t, out, "config.json")["_name_or_path"]; ok {
			t.Errorf("%s: _name_or_path %v is kept", toy, name)
		}
	}
}

// In another dtype every weight is the old one rounded, and config.json says so.
func TestLoadDtype(t *testing.T) {
	dir := loadable(t, "qwen2")
	r := stagetest.Run(t.Context(), t, loadJob(t, dir, "bfloat16"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	before, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	after, err := safetensors.OpenDir(r.Out("model"))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	for _, x := range before.Tensors() {
		y, ok := after.Tensor(x.Name)
		if !ok || y.Dtype != safetensors.BF16 || cmp.Diff(x.Shape, y.Shape) != "" {
			t.Fatalf("%s: %v %s %v", x.Name, ok, y.Dtype, y.Shape)
		}
		a, b := make([]float32, x.Elements()), make([]float32, x.Elements())
		safetensors.Floats(a, x.Dtype, x.Data)
		safetensors.Floats(b, y.Dtype, y.Data)
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > math.Abs(float64(a[i]))/256 {
				t.Fatalf("%s[%d]: %v became %v", x.Name, i, a[i], b[i])
			}
		}
	}
	// The toy was saved by transformers 4, which had another name for the field.
	if dtype := object(t, r.Out("model"), "config.json")["torch_dtype"]; dtype != "bfloat16" {
		t.Errorf("config.json says %v", dtype)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		toy    string
		change func(dir string)
		want   string
	}{
		"no config":     {"llama-tied", func(d string) { os.Remove(filepath.Join(d, "config.json")) }, "no config.json: not a Hugging Face model folder"},
		"shard missing": {"qwen2", func(d string) { os.Remove(filepath.Join(d, "model-00002-of-00003.safetensors")) }, "model-00002-of-00003.safetensors: shard is missing"},
		"truncated": {"llama-tied", func(d string) {
			b := read(t, d, "model.safetensors")
			write(t, d, "model.safetensors", b[:len(b)-5])
		}, "model.safetensors: tensor "},
		"only pickles": {"llama-tied", func(d string) {
			os.Rename(filepath.Join(d, "model.safetensors"), filepath.Join(d, "pytorch_model.bin"))
		}, "only pickles (pytorch_model.bin)"},
		"no weights": {"llama-tied", func(d string) { os.Remove(filepath.Join(d, "model.safetensors")) }, "no model.safetensors and no model.safetensors.index.json"},
		"an adapter": {"llama-tied", func(d string) {
			os.Remove(filepath.Join(d, "config.json"))
			write(t, d, "adapter_config.json", "{}")
		}, "an adapter, not a model"},
		"a GGUF beside": {"llama-tied", func(d string) {
			os.Remove(filepath.Join(d, "config.json"))
			write(t, d, "x.gguf", "")
		}, "name the GGUF file itself: "},
		"a layer too many": {"llama-tied", func(d string) { setConfig(t, d, "num_hidden_layers", 3) }, "model.safetensors: missing model.layers.2."},
		"another width":    {"llama-tied", func(d string) { setConfig(t, d, "vocab_size", 129) }, "model.safetensors: model.embed_tokens.weight has shape [128 32]"},
		"another model":    {"llama-tied", func(d string) { setConfig(t, d, "model_type", "bloom") }, `"bloom"`},
		"quantised":        {"llama-tied", func(d string) { setConfig(t, d, "quantization_config", map[string]any{"quant_method": "fp8"}) }, "quantization_config"},
		"config broken":    {"llama-tied", func(d string) { write(t, d, "config.json", "{") }, "config.json: "},
		"tokenizer too large": {"llama-tied", func(d string) {
			write(t, d, "tokenizer.json", read(t, filepath.Join(tokenizers, "llama3"), "tokenizer.json"))
		}, "tokenizer.json: 380 ids, the embedding of config.json has 128 rows"},
		"no tokenizer":     {"llama-tied", func(d string) { os.Remove(filepath.Join(d, "tokenizer.json")) }, "no tokenizer.json: only tokenizers that the tokenizers library reads are known; save one with"},
		"tokenizer broken": {"llama-tied", func(d string) { write(t, d, "tokenizer.json", "{}") }, "tokenizer.json: model: missing"},
	} {
		dir := loadable(t, test.toy)
		test.change(dir)
		r := stagetest.Run(t.Context(), t, loadJob(t, dir, "auto"), Load)
		if r.Code != 1 || !strings.Contains(r.Last().Message, test.want) {
			t.Errorf("%s: code %d, %+v, want %q", name, r.Code, r.Last(), test.want)
		}
		if strings.Contains(r.Last().Message, r.Out("model")) {
			t.Errorf("%s: the message shows the job's folder: %s", name, r.Last().Message)
		}
	}
}

func setConfig(t *testing.T, dir, key string, v any) {
	t.Helper()
	config := object(t, dir, "config.json")
	config[key] = v
	writeJSON(t, dir, "config.json", config)
}

func writeJSON(t *testing.T, dir, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, name, string(b))
}

// A GGUF file becomes a folder whose tokenizer gives the ids of the one that it was made from.
func TestLoadGGUF(t *testing.T) {
	for _, toy := range []string{"llama", "llama3", "biased", "qwen2", "qwen3", "llama-spm", "gemma2", "gemma3", "phi3", "phi3-longrope", "olmo2", "smollm3", "gpt2"} {
		r := stagetest.Run(t.Context(), t, loadJob(t, absolute(t, ggufs, toy+".gguf"), "auto"), Load)
		if r.Code != 0 {
			t.Errorf("%s: %+v", toy, r.Last())
			continue
		}
		var golden struct {
			IDs [][2]any `json:"ids"`
		}
		if err := json.Unmarshal([]byte(read(t, ggufs, toy+".json")), &golden); err != nil {
			t.Fatal(err)
		}
		k, err := tokenizer.Load(r.Out("model"))
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range golden.IDs {
			ids, _, err := k.Encode(pair[0].(string), true)
			if got, want := fmt.Sprint(ids), fmt.Sprint(pair[1]); err != nil || got != want {
				t.Errorf("%s: %q is %v, %v, want %v", toy, pair[0], got, err, want)
			}
		}
		k.Close()
	}
	broken := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(broken, []byte(read(t, ggufs, "llama.gguf")[:20_000]), 0o644); err != nil {
		t.Fatal(err)
	}
	r := stagetest.Run(t.Context(), t, loadJob(t, broken, "auto"), Load)
	if want := broken + ": tensor "; r.Code != 1 || !strings.Contains(r.Last().Message, want) {
		t.Errorf("truncated: %+v, want %q", r.Last(), want)
	}
}

func TestLoadHub(t *testing.T) {
	h := hubtest.New(t)
	files := map[string][]byte{"pytorch_model.bin": []byte("a pickle"), "modeling.py": []byte("import os")}
	dir := loadable(t, "qwen2")
	for _, name := range list(t, dir) {
		files[name] = []byte(read(t, dir, name))
	}
	commit := h.Add("hone/toy", hubtest.Repository{Files: files})
	t.Setenv("HF_ENDPOINT", h.URL)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	r := stagetest.Run(t.Context(), t, loadJob(t, "hf://hone/toy@"+commit, "auto"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	if d := cmp.Diff(list(t, dir), list(t, r.Out("model"))); d != "" {
		t.Error(d)
	}
	if name := object(t, r.Out("model"), "config.json")["_name_or_path"]; name != "hone/toy" {
		t.Errorf("_name_or_path %v", name)
	}
	info, err := os.Lstat(filepath.Join(r.Out("model"), "config.json"))
	if err != nil || !info.Mode().IsRegular() {
		t.Errorf("config.json is a link into the cache: %v", info.Mode())
	}
	r = stagetest.Run(t.Context(), t, loadJob(t, "hf://hone/none@main", "auto"), Load)
	if r.Code != 1 || !strings.Contains(r.Last().Message, "no such model") {
		t.Errorf("unknown model: %+v", r.Last())
	}
}

func freshJob(t *testing.T, config string, seed int64, tokenizer string) *job.Job {
	t.Helper()
	c := fmt.Sprintf(`{"config": %s, "seed": %d, "dtype": "auto"`, config, seed)
	if tokenizer != "" {
		c += `, "tokenizer": "tokenizer"`
	}
	j := stagetest.New(t, "model.load", c+"}", map[string]string{"model": "model"})
	if tokenizer != "" {
		j.Files["tokenizer"] = absolute(t, tokenizers, tokenizer)
	}
	return j
}

const freshConfig = `{"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
	"num_key_value_heads": 2, "head_dim": 16, "attention_bias": true, "initializer_range": 0.5}`

// Fresh weights are transformers' initialisation: normal matrices, norms of one, biases and the pad token's row zero.
func TestLoadFresh(t *testing.T) {
	r := stagetest.Run(t.Context(), t, freshJob(t, freshConfig, 7, "smollm"), Load)
	if r.Code != 0 {
		t.Fatal(r.Last())
	}
	out := r.Out("model")
	config := object(t, out, "config.json")
	for key, want := range map[string]any{"vocab_size": 400., "eos_token_id": 2., "pad_token_id": 2., "bos_token_id": 1., "dtype": "float32",
		"tie_word_embeddings": false, "max_position_embeddings": 32768., "architectures": []any{"Qwen3ForCausalLM"}} {
		if d := cmp.Diff(want, config[key]); d != "" {
			t.Errorf("config.json: %s: %s", key, d)
		}
	}
	c, err := safetensors.OpenDir(out)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var sum, square, fourth, n float64
	for _, x := range c.Tensors() {
		v := make([]float32, x.Elements())
		safetensors.Floats(v, x.Dtype, x.Data)
		for i, v := range v {
			switch {
			case strings.HasSuffix(x.Name, "norm.weight"):
				if v != 1 {
					t.Fatalf("%s[%d] is %v", x.Name, i, v)
				}
			case strings.HasSuffix(x.Name, ".bias"), x.Name == "model.embed_tokens.weight" && i/64 == 2:
				if v != 0 {
					t.Fatalf("%s[%d] is %v", x.Name, i, v)
				}
			default:
				z := float64(v) / 0.5
				sum, square, fourth, n = sum+z, square+z*z, fourth+z*z*z*z, n+1
			}
		}
	}
	// Within five standard errors of what a standard normal distribution has.
	for what, x := range map[string][3]float64{"mean": {sum / n, 0, 1}, "variance": {square / n, 1, math.Sqrt2}, "fourth moment": {fourth / n, 3, math.Sqrt(96)}} {
		if math.Abs(x[0]-x[1]) > 5*x[2]/math.Sqrt(n) {
			t.Errorf("%s of %v values is %v, want %v", what, n, x[0], x[1])
		}
	}
	again := stagetest.Run(t.Context(), t, freshJob(t, freshConfig, 7, "smollm"), Load)
	other := stagetest.Run(t.Context(), t, freshJob(t, freshConfig, 8, "smollm"), Load)
	weights := read(t, out, "model.safetensors")
	if weights != read(t, again.Out("model"), "model.safetensors") {
		t.Error("the same seed gives other weights")
	}
	if weights == read(t, other.Out("model"), "model.safetensors") {
		t.Error("another seed gives the same weights")
	}
}

// Every architecture that is computed can be made anew.
func TestFreshKnowsArchitectures(t *testing.T) {
	if d := cmp.Diff(model.Architectures(), slices.Sorted(maps.Keys(classes))); d != "" {
		t.Error(d)
	}
}

func TestFreshRefuses(t *testing.T) {
	for config, want := range map[string]string{
		`{"model_type": "bloom"}`: `model_type: "bloom" is not known`,
		`{"sliding_window": 0, "use_sliding_window": true, ` + freshConfig[1:]:                                  "sliding_window is 0",
		`{"layer_types": ["full_attention"], ` + freshConfig[1:]:                                                "layer_types has 1 entries",
		`{"layer_types": ["full_attention", "x"], ` + freshConfig[1:]:                                           `layer_types: "x" is not known`,
		`{"partial_rotary_factor": 0.5, ` + freshConfig[1:]:                                                     "partial_rotary_factor",
		`{"rope_scaling": {"type": "longrope"}, ` + freshConfig[1:]:                                             "longrope is known in phi3 alone",
		`{"model_type": "llama"}`:                                                                               "hidden_size, intermediate_size, num_hidden_layers, num_attention_heads: missing",
		strings.Replace(freshConfig, "2,", "3,", 2):                                                             "not a multiple",
		`{"vocab_size": 10, ` + freshConfig[1:]:                                                                 "400 ids, the embedding of config.json has 10 rows",
		`{"rms_norm_eps": -1, ` + freshConfig[1:]:                                                               "rms_norm_eps is -1",
		`{"rope_theta": 0, ` + freshConfig[1:]:                                                                  "rope_theta is 0",
		`{"initializer_range": 1e300, ` + strings.Replace(freshConfig[1:], `, "initializer_range": 0.5`, "", 1): "initializer_range is 1e+300",
		`{"dtype": "int8", ` + freshConfig[1:]:                                                                  `dtype "int8"`,
		`{"model_type": "gemma2", "query_pre_attn_scalar": -1, ` + small + `}`:                                  "query_pre_attn_scalar is -1",
		`{"model_type": "gemma2", "final_logit_softcapping": 0, ` + small + `}`:                                 "final_logit_softcapping is 0",
		`{"model_type": "gemma2", "use_bidirectional_attention": true, ` + small + `}`:                          "use_bidirectional_attention",
		`{"model_type": "gemma3_text", "attn_logit_softcapping": 5, ` + small + `}`:                             "attn_logit_softcapping",
		`{"model_type": "phi3", "partial_rotary_factor": 0.01, ` + small + `}`:                                  "partial_rotary_factor is 0.01",
		`{"model_type": "phi3", "layer_types": ["full_attention", "full_attention"], ` + small + `}`:            "layer_types is not known in a phi3",
		`{"model_type": "phi3", "rope_scaling": {"type": "su"}, ` + small + `}`:                                 "0 short and 0 long factors, 4 are wanted",
		`{"model_type": "mistral", "head_dim": -8, ` + small + `}`:                                              "head_dim is -8",
		`{"model_type": "smollm3", "no_rope_layers": [1], ` + small + `}`:                                       "no_rope_layers has 1 entries",
		`{"model_type": "gpt2", "n_embd": 30, "n_layer": 2, "n_head": 4}`:                                       "n_embd 30 is not a multiple of n_head 4",
		`{"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": -1}`:                    "n_positions is -1",
		`{"hidden_act": "gelu", ` + freshConfig[1:]:                                                             `hidden_act "gelu"`,
		`{"rope_scaling": "x", ` + freshConfig[1:]:                                                              "rope_scaling",
		`{"num_hidden_layers": "x"}`:                                                                            "model_type",
	} {
		r := stagetest.Run(t.Context(), t, freshJob(t, config, 7, "smollm"), Load)
		if r.Code != 1 || !strings.Contains(r.Last().Message, want) {
			t.Errorf("%s: %+v, want %q", config, r.Last(), want)
		}
	}
}

// ln agrees with the library's logarithm to the last places; its own point is to be the same everywhere.
func TestLn(t *testing.T) {
	for _, x := range []float64{1e-300, 1e-17, 0.1, 0.5, 0.7071, 0.7072, 0.999999, 1, 1.5, 2, 1e10} {
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 4e-16*math.Max(1, math.Abs(want)) {
			t.Errorf("ln(%v) is %v, want %v", x, got, want)
		}
	}
}

// The random weights are these on every machine: a change of the generator needs another implementation of model.load.
func TestNormalsArePinned(t *testing.T) {
	var b bytes.Buffer
	if err := normals(&b, safetensors.F32, 42, "model.embed_tokens.weight", 3*normalChunk+1, 1, -1, 1); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 3*normalChunk+1)
	safetensors.Floats(got, safetensors.F32, b.Bytes())
	want := []float32{2.561518, 0.14372942, 1.663713, -0.40505534}
	if d := cmp.Diff(want, []float32{got[0], got[1], got[normalChunk], got[3*normalChunk]}); d != "" {
		t.Error(d)
	}
}
