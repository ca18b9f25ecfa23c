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
}

// architectures are those that are read and written.
var architectures = []architecture{
	{name: "llama", modelType: "llama", class: "LlamaForCausalLM", permuted: true, mlpBias: true, stretched: true},
	{name: "qwen2", modelType: "qwen2", class: "Qwen2ForCausalLM", qkvBias: true},
	{name: "qwen3", modelType: "qwen3", class: "Qwen3ForCausalLM", headNorms: true},
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
}

// slots yields every tensor of the model in the order in which transformers makes modules.
func (c *config) slots() iter.Seq[slot] {
	return func(yield func(slot) bool) {
		if !yield(slot{"token_embd.weight", "model.embed_tokens.weight", []int64{c.vocabulary, c.hidden}, 0}) {
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
		if yield(slot{"output_norm.weight", "model.norm.weight", []int64{c.hidden}, 0}) && !c.tied {
			yield(slot{"output.weight", "lm_head.weight", []int64{c.vocabulary, c.hidden}, 0})
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
		all = append(all, slot{file + ".weight", name + ".weight", []int64{size}, 0})
	}
	linear := func(file, name string, bias bool, heads int64, shape ...int64) {
		all = append(all, slot{file + ".weight", name + ".weight", shape, heads})
		if bias {
			all = append(all, slot{file + ".bias", name + ".bias", shape[:1], heads})
		}
	}
	norm("attn_norm", "input_layernorm", c.hidden)
	linear("attn_q", "self_attn.q_proj", c.attentionBias || c.qkvBias, qHeads, q, c.hidden)
	linear("attn_k", "self_attn.k_proj", c.attentionBias || c.qkvBias, kHeads, kv, c.hidden)
	linear("attn_v", "self_attn.v_proj", c.attentionBias || c.qkvBias, 0, kv, c.hidden)
	linear("attn_output", "self_attn.o_proj", c.attentionBias, 0, c.hidden, q)
	if c.headNorms {
		norm("attn_q_norm", "self_attn.q_norm", c.headDim)
		norm("attn_k_norm", "self_attn.k_norm", c.headDim)
	}
	norm("ffn_norm", "post_attention_layernorm", c.hidden)
	linear("ffn_gate", "mlp.gate_proj", c.biasedMLP, 0, c.inner, c.hidden)
	linear("ffn_up", "mlp.up_proj", c.biasedMLP, 0, c.inner, c.hidden)
	linear("ffn_down", "mlp.down_proj", c.biasedMLP, 0, c.hidden, c.inner)
	return all
}

// maxProblems is how many tensors are named before "and more".
const maxProblems = 8

// match returns the slots of the model, if a checkpoint, given as the shapes of its tensors, has every one under its name
// and nothing else. What is wrong is said at once.
func (c *config) match(name func(slot) string, shapes map[string][]int64) (all []slot, err error) {
	var problems []error
	used := make(map[string]bool, len(shapes))
	for s := range c.slots() {
		n := name(s)
		shape, ok := shapes[n]
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("missing tensor %s", n))
		case !slices.Equal(shape, s.shape):
			problems = append(problems, fmt.Errorf("tensor %s: shape %v, want %v", n, shape, s.shape))
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
