package gguf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/safetensors"
)

// models are the toys of bench/golden/files_gguf.py, with part of the config.json that they must give.
var models = map[string]map[string]any{
	"llama": {"model_type": "llama", "tie_word_embeddings": true, "num_key_value_heads": 2., "rope_theta": 1e4, "rope_scaling": nil,
		"head_dim": 8., "rms_norm_eps": 1e-5, "attention_bias": false, "mlp_bias": false, "bos_token_id": 1., "eos_token_id": 2., "pad_token_id": 2.},
	"llama3": {"model_type": "llama", "tie_word_embeddings": false, "rope_theta": 5e5, "eos_token_id": []any{2., 1.}, "bos_token_id": 0.,
		"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8., "low_freq_factor": 1., "high_freq_factor": 4., "original_max_position_embeddings": 8192.}},
	"biased": {"model_type": "llama", "attention_bias": true, "mlp_bias": true, "num_key_value_heads": 4.},
	"qwen2":  {"model_type": "qwen2", "architectures": []any{"Qwen2ForCausalLM"}, "tie_word_embeddings": true},
	"qwen3":  {"model_type": "qwen3", "head_dim": 16., "attention_bias": false, "torch_dtype": "bfloat16"},
	// Those of files_gguf_kinds.py.
	"llama-spm": {"model_type": "llama", "bos_token_id": 1., "eos_token_id": 2.},
	"gemma2": {"model_type": "gemma2", "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 64., "query_pre_attn_scalar": 16.,
		"attn_logit_softcapping": 40., "final_logit_softcapping": 20., "hidden_act": nil, "tie_word_embeddings": true},
	"gemma3": {"model_type": "gemma3_text", "sliding_window": 32., "sliding_window_pattern": 6., "rope_theta": 1e6, "rope_local_base_freq": 1e4,
		"head_dim": 16., "num_key_value_heads": 1.},
	"phi3": {"model_type": "phi3", "sliding_window": 64., "rope_scaling": nil, "tie_word_embeddings": false},
	"phi3-longrope": {"model_type": "phi3", "sliding_window": nil, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 128.,
		"rope_scaling": map[string]any{"type": "longrope", "short_factor": []any{1., 1.1, 1.3}, "long_factor": []any{1.5, 2.5, 4.}}},
	"olmo2":   {"model_type": "olmo2", "num_key_value_heads": 2., "rms_norm_eps": 1e-5},
	"smollm3": {"model_type": "smollm3", "no_rope_layer_interval": 4., "rope_theta": 2e6},
	"gpt2": {"model_type": "gpt2", "n_embd": 32., "n_inner": 64., "n_positions": 512., "n_head": 4., "n_layer": 2., "layer_norm_epsilon": 1e-5,
		"activation_function": "gelu_new", "hidden_size": nil},
}

func convertToy(t *testing.T, name, dtype string) string {
	t.Helper()
	dir := t.TempDir()
	if err := Convert(t.Context(), filepath.Join("testdata", "models", name+".gguf"), dir, dtype, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Weights equal, bit for bit, what transformers reads from the same file, q and k permuted back; the config says what
// the metadata says, Llama 3's stretched positions included.
func TestConvert(t *testing.T) {
	for name, want := range models {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", "models", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var golden struct{ Tensors map[string]string }
			if err := json.Unmarshal(b, &golden); err != nil {
				t.Fatal(err)
			}
			c, err := safetensors.OpenDir(convertToy(t, name, "float32"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got := map[string]string{}
			for _, x := range c.Tensors() {
				sum := sha256.Sum256(x.Data)
				got[x.Name] = hex.EncodeToString(sum[:])
			}
			if d := cmp.Diff(golden.Tensors, got); d != "" {
				t.Error(d)
			}
			config := readConfigJSON(t, convertToy(t, name, "auto"))
			for key, v := range want {
				if d := cmp.Diff(v, config[key]); d != "" {
					t.Errorf("%s: %s", key, d)
				}
			}
		})
	}
}

func readConfigJSON(t *testing.T, dir string) (config map[string]any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Two conversions give the same bytes in every file, and bfloat16 is float32 rounded.
func TestConvertAgain(t *testing.T) {
	a, b := convertToy(t, "llama", "bfloat16"), convertToy(t, "llama", "bfloat16")
	entries, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		x, _ := os.ReadFile(filepath.Join(a, e.Name()))
		y, _ := os.ReadFile(filepath.Join(b, e.Name()))
		if string(x) != string(y) {
			t.Errorf("%s differs", e.Name())
		}
	}
	want := []string{"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
		"tokenizer.json", "tokenizer_config.json"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if dtype := readConfigJSON(t, a)["torch_dtype"]; dtype != "bfloat16" {
		t.Errorf("torch_dtype %v", dtype)
	}
}

// What a file may say that cannot be converted, one at a time.
func TestConvertRefuses(t *testing.T) {
	for _, test := range []struct {
		toy    string
		change func(*File)
		want   string
	}{
		{"llama", func(f *File) { f.Meta["general.architecture"] = "mamba" }, `general.architecture: "mamba" is not supported`},
		{"llama", func(f *File) { delete(f.Meta, "llama.block_count") }, "llama.block_count: missing"},
		{"llama", func(f *File) { f.Meta["llama.context_length"] = uint64(0) }, "llama.context_length: 0 is out of range"},
		{"llama", func(f *File) { f.Meta["llama.context_length"] = "x" }, `llama.context_length: the string "x": not an integer`},
		{"llama", func(f *File) { f.Meta["llama.block_count"] = uint64(3) }, "missing tensor blk.2.attn_norm.weight"},
		{"llama", func(f *File) { f.Meta["llama.block_count"] = uint64(1) }, "tensor blk.1.attn_q.weight: no place for it"},
		{"llama", func(f *File) { f.Meta["llama.block_count"] = uint64(1 << 19) }, "and more"},
		{"llama", func(f *File) { f.Meta["llama.block_count"] = uint64(1 << 40) }, "out of range"},
		{"llama", func(f *File) { f.Meta["llama.feed_forward_length"] = uint64(96) }, "tensor blk.0.ffn_gate.weight: shape [64 32], want [96 32]"},
		{"llama", func(f *File) { f.Meta["llama.attention.head_count"] = []uint64{4, 4} }, "llama.attention.head_count: [4 4]: not an integer"},
		{"llama", func(f *File) { f.Meta["llama.attention.head_count_kv"] = uint64(3) }, "do not divide"},
		{"llama", func(f *File) { f.Meta["llama.expert_count"] = uint64(8) }, "mixtures of experts"},
		{"llama", func(f *File) { f.Meta["llama.rope.scaling.type"] = "longrope" }, `"longrope" is not supported`},
		{"llama3", func(f *File) { f.Meta["llama.rope.freq_base"] = float32(1e6) }, "rope_freqs.weight: value"},
		{"llama", func(f *File) { f.Meta["split.count"] = uint64(2) }, "join them first"},
		{"llama", func(f *File) { delete(f.Meta, "tokenizer.ggml.model") }, "the file has no tokenizer"},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.model"] = "llama" }, "tokenizer.ggml.scores: not one number a token"},
		{"llama-spm", func(f *File) { f.Meta["tokenizer.ggml.scores"] = []float32{1} }, "tokenizer.ggml.scores: not one number a token"},
		{"llama-spm", func(f *File) { delete(f.Meta, "tokenizer.ggml.token_type") }, "tokenizer.ggml.token_type: missing"},
		{"llama-spm", func(f *File) { f.Meta["tokenizer.ggml.token_type"].([]int64)[5] = 1 }, "255 byte tokens, 256 are wanted"},
		{"gemma3", func(f *File) { delete(f.Meta, "gemma3.attention.sliding_window") }, "gemma3.attention.sliding_window: missing"},
		{"phi3-longrope", func(f *File) { f.Meta["phi3.rope.dimension_count"] = uint64(8) }, "rope_factors_long.weight: F32 of shape [3], 4 F32 are wanted"},
		{"gpt2", func(f *File) { f.Meta["gpt2.block_count"] = uint64(1 << 19) }, "and more"},
		{"gpt2", func(f *File) { f.Meta["gpt2.context_length"] = uint64(99) }, "tensor position_embd.weight: shape [512 32], want [99 32]"},
		{"olmo2", func(f *File) { f.Meta["olmo2.rope.dimension_count"] = uint64(4) }, "partial rotation is not supported"},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.pre"] = "nonsense" }, `tokenizer.ggml.pre: "nonsense" is not supported`},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.merges"] = []string{"q zz"} }, `tokenizer.ggml.merges[0]: "zz" is not a token`},
		{"llama", func(f *File) { delete(f.Meta, "tokenizer.ggml.merges") }, "tokenizer.ggml.merges: missing"},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.tokens"] = []string{"a", "a"} }, `tokenizer.ggml.tokens[1]: "a" is token 0 too`},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.tokens"] = []string{"\xff"} }, "tokenizer.ggml.tokens[0]: invalid UTF-8"},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.token_type"] = []int64{1} }, "tokenizer.ggml.token_type"},
		{"llama", func(f *File) { f.Meta["tokenizer.ggml.eos_token_id"] = uint64(1 << 20) }, "tokenizer.ggml.eos_token_id: 1048576, of 404 tokens"},
		{"llama", func(f *File) { f.Meta["tokenizer.chat_template"] = uint64(1) }, "tokenizer.chat_template: not a string"},
	} {
		f, err := Open(filepath.Join("testdata", "models", test.toy+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		test.change(f)
		if err := f.convert(t.Context(), t.TempDir(), "float32", nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
		f.Close()
	}
}

// Without tokenizer.ggml.pre the architecture and the tokens decide.
func TestPreTokenizer(t *testing.T) {
	for _, test := range []struct {
		pre, architecture string
		tokens            []string
		want              preTokenizer
	}{
		{"smollm", "llama", nil, smollm},
		{"llama-bpe", "llama", nil, llama3},
		{"", "qwen2", nil, qwen2},
		{"default", "qwen3", nil, qwen2},
		{"default", "llama", []string{"a", "<|begin_of_text|>"}, llama3},
		{"", "llama", []string{"a"}, gpt2},
	} {
		m := Metadata{}
		if test.pre != "" {
			m["tokenizer.ggml.pre"] = test.pre
		}
		k := &tokenizer{tokens: test.tokens}
		if got, err := k.choosePre(m, test.architecture); err != nil || got != test.want {
			t.Errorf("%q of %s: %+v, %v", test.pre, test.architecture, got, err)
		}
	}
}
