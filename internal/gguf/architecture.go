package gguf

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// architecture is one of the world's models, as llama.cpp and as transformers know it.
type architecture struct {
	name      string // general.architecture
	modelType string // config.json's model_type
	class     string // transformers' name of the model class

	permuted  bool // rows of q and k are in the order that suits llama.cpp's rotation of neighbouring dimensions
	qkvBias   bool // q, k and v always have a bias, and there is no field attention_bias
	mlpBias   bool // there is a field mlp_bias
	headNorms bool // q and k are normalised a head
	stretched bool // Llama 3's stretched positions, as the tensor rope_freqs.weight

	wideNorms  bool                             // q and k are normalised, all heads together
	behind     bool                             // norms stand behind attention and the feed-forward part
	before     bool                             // and before them too, where others stand behind
	shifted    bool                             // norms' weights are one more in the file
	fused      bool                             // q, k and v are one tensor, gate and up another
	epsilonKey string                           // the key of the norms' epsilon; "" for the usual
	tied       bool                             // where config.json does not say
	read       func(*config, *File, *reader)    // metadata of its own; nil for none
	write      func(*config, *configFile) error // the same from config.json
}

// architectures are those that are read and written.
var architectures = []architecture{
	{name: "llama", modelType: "llama", class: "LlamaForCausalLM", permuted: true, mlpBias: true, stretched: true},
	{name: "qwen2", modelType: "qwen2", class: "Qwen2ForCausalLM", qkvBias: true},
	{name: "qwen3", modelType: "qwen3", class: "Qwen3ForCausalLM", headNorms: true},
	{name: "gemma2", modelType: "gemma2", class: "Gemma2ForCausalLM", behind: true, before: true, shifted: true, tied: true,
		read: readGemma2, write: writeGemma2},
	{name: "gemma3", modelType: "gemma3_text", class: "Gemma3ForCausalLM", headNorms: true, behind: true, before: true, shifted: true,
		tied: true, read: readGemma3, write: writeGemma3},
	{name: "phi3", modelType: "phi3", class: "Phi3ForCausalLM", fused: true, read: readPhi3, write: writePhi3},
	{name: "olmo2", modelType: "olmo2", class: "Olmo2ForCausalLM", wideNorms: true, behind: true},
	{name: "smollm3", modelType: "smollm3", class: "SmolLM3ForCausalLM", permuted: true, mlpBias: true, tied: true, read: readSmolLM3, write: writeSmolLM3},
	{name: "gpt2", modelType: "gpt2", class: "GPT2LMHeadModel", epsilonKey: "attention.layer_norm_epsilon", tied: true, write: writeGPT2},
}

// findArchitecture returns the architecture whose key, general.architecture or model_type, is name.
func findArchitecture(name string, key func(architecture) string) (architecture, error) {
	var known []string
	for _, a := range architectures {
		if key(a) == name {
			return a, nil
		}
		known = append(known, key(a))
	}
	return architecture{}, fmt.Errorf("%q is not supported: only %s", name, strings.Join(known, ", "))
}

// slot is a tensor of a model in both of its forms.
type slot struct {
	file, name string  // in the GGUF file, in the Hugging Face checkpoint
	shape      []int64 // row-major
	heads      int64   // above zero: the rows of each head are permuted in the file
	shifted    bool    // the file's values are one more
	transposed bool    // the checkpoint has the transpose of shape
}

// stored is the tensor's shape in the checkpoint.
func (s slot) stored() []int64 {
	if s.transposed {
		return []int64{s.shape[1], s.shape[0]}
	}
	return s.shape
}

// slots yields every tensor of the model in the order in which transformers makes modules.
func (c *config) slots() iter.Seq[slot] {
	if c.modelType == "gpt2" {
		return c.gpt2Slots()
	}
	return func(yield func(slot) bool) {
		if !yield(slot{file: "token_embd.weight", name: "model.embed_tokens.weight", shape: []int64{c.vocabulary, c.hidden}}) {
			return
		}
		for i := range c.layers {
			for _, s := range c.layer() {
				s.file, s.name = fmt.Sprintf("blk.%d.%s", i, s.file), fmt.Sprintf("model.layers.%d.%s", i, s.name)
				if !yield(s) {
					return
				}
			}
		}
		norm := slot{file: "output_norm.weight", name: "model.norm.weight", shape: []int64{c.hidden}, shifted: c.shifted}
		if yield(norm) && !c.tied {
			yield(slot{file: "output.weight", name: "lm_head.weight", shape: []int64{c.vocabulary, c.hidden}})
		}
	}
}

// layer returns the tensors of one layer, their names without its prefix.
func (c *config) layer() (all []slot) {
	q, kv := c.heads*c.headDim, c.keyHeads*c.headDim
	qHeads, kHeads := c.heads, c.keyHeads
	if !c.permuted {
		qHeads, kHeads = 0, 0
	}
	norm := func(file, name string, size int64) {
		all = append(all, slot{file: file + ".weight", name: name + ".weight", shape: []int64{size}, shifted: c.shifted})
	}
	linear := func(file, name string, bias bool, heads int64, shape ...int64) {
		all = append(all, slot{file: file + ".weight", name: name + ".weight", shape: shape, heads: heads})
		if bias {
			all = append(all, slot{file: file + ".bias", name: name + ".bias", shape: shape[:1], heads: heads})
		}
	}
	if !c.behind || c.before {
		norm("attn_norm", "input_layernorm", c.hidden)
	}
	if c.fused {
		linear("attn_qkv", "self_attn.qkv_proj", false, 0, q+2*kv, c.hidden)
	} else {
		linear("attn_q", "self_attn.q_proj", c.attentionBias || c.qkvBias, qHeads, q, c.hidden)
		linear("attn_k", "self_attn.k_proj", c.attentionBias || c.qkvBias, kHeads, kv, c.hidden)
		linear("attn_v", "self_attn.v_proj", c.attentionBias || c.qkvBias, 0, kv, c.hidden)
	}
	linear("attn_output", "self_attn.o_proj", c.attentionBias, 0, c.hidden, q)
	switch {
	case c.headNorms:
		norm("attn_q_norm", "self_attn.q_norm", c.headDim)
		norm("attn_k_norm", "self_attn.k_norm", c.headDim)
	case c.wideNorms:
		norm("attn_q_norm", "self_attn.q_norm", q)
		norm("attn_k_norm", "self_attn.k_norm", kv)
	}
	if !c.behind {
		norm("ffn_norm", "post_attention_layernorm", c.hidden)
	} else {
		norm("post_attention_norm", "post_attention_layernorm", c.hidden)
		if c.before {
			norm("ffn_norm", "pre_feedforward_layernorm", c.hidden)
		}
		norm("post_ffw_norm", "post_feedforward_layernorm", c.hidden)
	}
	if c.fused {
		linear("ffn_up", "mlp.gate_up_proj", false, 0, 2*c.inner, c.hidden)
	} else {
		linear("ffn_gate", "mlp.gate_proj", c.biasedMLP, 0, c.inner, c.hidden)
		linear("ffn_up", "mlp.up_proj", c.biasedMLP, 0, c.inner, c.hidden)
	}
	linear("ffn_down", "mlp.down_proj", c.biasedMLP, 0, c.hidden, c.inner)
	return all
}

// maxProblems is how many tensors are named before "and more".
const maxProblems = 8

// match returns the slots of the model, if a checkpoint, given as the shapes of its tensors, has every one under its name and
// in its shape there, and nothing else. What is wrong is said at once.
func (c *config) match(place func(slot) (string, []int64), shapes map[string][]int64) (all []slot, err error) {
	var problems []error
	used := make(map[string]bool, len(shapes))
	for s := range c.slots() {
		n, want := place(s)
		shape, ok := shapes[n]
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("missing tensor %s", n))
		case !slices.Equal(shape, want):
			problems = append(problems, fmt.Errorf("tensor %s: shape %v, want %v", n, shape, want))
		}
		used[n] = true
		all = append(all, s)
		if len(problems) > maxProblems {
			break
		}
	}
	if len(problems) == 0 {
		for _, n := range slices.Sorted(maps.Keys(shapes)) {
			if !used[n] {
				problems = append(problems, fmt.Errorf("tensor %s: no place for it in this architecture", n))
			}
		}
	}
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems], errors.New("and more"))
	}
	return all, errors.Join(problems...)
}
