package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
)

// A field of PEFT's that changes what an adapter computes is refused, not passed over.
func TestAdaptersRefused(t *testing.T) {
	for field, want := range map[string]string{
		`"init_lora_weights": "pissa_niter_4"`:  "changes the base",
		`"init_lora_weights": "olora"`:          "changes the base",
		`"alora_invocation_tokens": [5, 6]`:     "alora_invocation_tokens",
		`"layer_replication": [[0, 2], [1, 2]]`: "layer_replication",
		`"target_parameters": ["k_proj"]`:       "target_parameters",
		`"trainable_token_indices": [1]`:        "trainable_token_indices",
		`"modules_to_save": ["lm_head"]`:        "modules_to_save",
		`"bias": "lora_only"`:                   "bias",
		`"lora_alpha": "x"`:                     `lora_alpha: a number is wanted, not "x"`,
		`"exclude_modules": [7]`:                `exclude_modules: [0]: text is wanted, not 7`,
	} {
		_, err := parseLoRA([]byte(`{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], ` + field + `}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", field, err)
		}
	}
	none := `"init_lora_weights": "gaussian", "alora_invocation_tokens": null, "use_qalora": false, "kasa_config": {}, "layer_replication": []`
	if _, err := parseLoRA([]byte(`{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], ` + none + `}`)); err != nil {
		t.Error(err)
	}
}

// An adapter for another base is refused with the first of its tensors that does not fit, and with what the base has.
func TestAdaptersOfOthers(t *testing.T) {
	for _, c := range []struct{ base, adapter, want string }{
		{"llama-tied", "gpt2/adapter-attention", "adapter_model.safetensors: tensor base_model.model.transformer.h.0.attn.c_attn.lora_A.weight of shape [4 32]: no linear layer of this base takes it; there are model.layers.0.self_attn.q_proj, "},
		{"gpt2", "llama-tied/adapter-all", "tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight of shape [4 48]: no linear layer of this base takes it; there are transformer.h.0.attn.c_attn, "},
		{"llama-wide-heads", "llama-tied/adapter-rslora", "tensor base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight of shape [32 8]: this base's model.layers.0.self_attn.q_proj has 32 inputs and 64 outputs"},
		{"llama-contradicted", "llama-tied/adapter-all", "tensor base_model.model.model.layers.1.mlp.down_proj.lora_A.weight of shape [4 48]: no linear layer"},
	} {
		run(t, func() {
			m, err := Load(filepath.Join("testdata", c.base), tensor.Float32, false)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			if err := m.LoadAdapter(filepath.Join("testdata", c.adapter), false); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s on %s: %v", c.adapter, c.base, err)
			}
		})
	}
}

// Targets are ends of names after a dot, whole names, or an expression of whole names, as PEFT takes them; an expression is saved as
// the names that it matched.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		l       LoRA
		adapted string // of the two layers, or an error
		saved   []string
	}{
		{LoRA{Targets: []string{"q_proj", "layers.1.mlp.up_proj"}}, "0.q 1.q 1.up", []string{"layers.1.mlp.up_proj", "q_proj"}},
		{LoRA{Targets: []string{"model.layers.0.self_attn.o_proj"}}, "0.o", []string{"model.layers.0.self_attn.o_proj"}},
		{LoRA{Targets: []string{"model.layers.0.self_attn.o_proj", "v_proj"}, Layers: []int64{1}}, "0.o 1.v", []string{"model.layers.0.self_attn.o_proj", "v_proj"}},
		{LoRA{Targets: []string{"proj"}}, `target "proj" names no linear layer`, nil},
		{LoRA{Pattern: `.*\.(k|v)_proj`, NotPattern: `.*\.1\..*`}, "0.k 0.v", []string{"model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj"}},
		{LoRA{Pattern: `model\.layers\.1\.mlp\..*|.*0.*gate_proj`}, "0.gate 1.gate 1.up 1.down", []string{"model.layers.0.mlp.gate_proj", "model.layers.1.mlp.down_proj", "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"}},
		{LoRA{Pattern: "q_proj"}, `"q_proj" matches no linear layer's whole name; there are model.layers.0.self_attn.q_proj, `, nil},
		{LoRA{Pattern: ".*(?!q)_proj"}, "target_modules: error parsing regexp", nil},
	} {
		run(t, func() {
			m, err := Load("testdata/llama-tied", tensor.Float32, false)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			l := c.l
			l.Rank, l.Alpha = 2, 2
			if err := m.Adapt(&l, 1, false); err != nil {
				if c.saved != nil || !strings.Contains(err.Error(), c.adapted) {
					t.Errorf("%+v: %v", c.l, err)
				}
				return
			}
			var adapted []string
			for _, linear := range m.Linears() {
				if linear.Adapter == nil {
					continue
				}
				for _, target := range linear.Adapter.Targets {
					parts := strings.Split(linear.Projections[target.Index].Name, ".")
					adapted = append(adapted, parts[2]+"."+strings.TrimSuffix(parts[4], "_proj"))
				}
			}
			dir := t.TempDir()
			if err := m.SaveAdapter(dir, ""); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
			if err != nil {
				t.Fatal(err)
			}
			var saved struct {
				Targets []string `json:"target_modules"`
			}
			if err := json.Unmarshal(b, &saved); err != nil || strings.Join(adapted, " ") != c.adapted || !slices.Equal(saved.Targets, c.saved) {
				t.Errorf("%+v: %v, saved %v; %v", c.l, adapted, saved.Targets, err)
			}
		})
	}
}
