package gguf

import (
	"encoding/json/jsontext"
	"fmt"
	"iter"
	"strconv"

	"github.com/hone-ml/hone/internal/safetensors"
)

// What a GGUF file does not say of an architecture follows from llama.cpp's code: which layers have a window, what
// Gemma divides scores by, which layers of SmolLM3 encode no positions.

func readGemma2(c *config, _ *File, r *reader) {
	c.readGemma(46) // layers of the 27B
	c.extra = append(c.extra,
		"sliding_window", r.optional("attention.sliding_window", 4096),
		"attn_logit_softcapping", r.number("attn_logit_softcapping", "50.0"),
		"final_logit_softcapping", r.number("final_logit_softcapping", "30.0"))
}

func readGemma3(c *config, _ *File, r *reader) {
	c.readGemma(62)
	if c.theta = r.number("rope.freq_base", "1000000.0"); len(c.theta) == 0 {
		return
	}
	c.extra = append(c.extra,
		"sliding_window", r.size("attention.sliding_window"),
		"sliding_window_pattern", 6,
		"rope_local_base_freq", r.number("rope.freq_base_swa", "10000.0"))
	if _, capped := r.m[r.prefix+"final_logit_softcapping"]; capped {
		c.extra = append(c.extra, "final_logit_softcapping", r.number("final_logit_softcapping", ""))
	}
}

// readGemma is what Gemma 2 and 3 share. Scores are divided by the root of a head's dimensions, but in the 27B, which is
// known by its layers, by that of a head's share of the stream.
func (c *config) readGemma(layers27B int64) {
	scalar := c.headDim
	if c.layers == layers27B && c.heads > 0 {
		scalar = c.hidden / c.heads
	}
	c.extra = object{"hidden_activation", "gelu_pytorch_tanh", "query_pre_attn_scalar", scalar}
}

func readSmolLM3(c *config, _ *File, _ *reader) {
	c.extra = object{"no_rope_layer_interval", 4}
}

// The tensors of LongRoPE's factors.
const longFactors, shortFactors = "rope_factors_long.weight", "rope_factors_short.weight"

func readPhi3(c *config, f *File, r *reader) {
	original := r.optional("rope.scaling.original_context_length", c.context)
	c.extra = object{"original_max_position_embeddings", original}
	if c.rotated != c.headDim {
		c.extra = append(c.extra, "partial_rotary_factor", float64(c.rotated)/float64(c.headDim))
	}
	var window any
	if n := r.optional("attention.sliding_window", 0); n > 0 {
		window = n
	}
	c.extra = append(c.extra, "sliding_window", window)
	lists := map[string][]jsontext.Value{}
	for _, name := range []string{longFactors, shortFactors} {
		t, ok := f.Tensor(name)
		if !ok {
			continue
		}
		if t.Type != F32 || len(t.Shape) != 1 || t.Shape[0] != c.rotated/2 {
			r.errs = append(r.errs, fmt.Errorf("%s: %s of shape %v, %d F32 are wanted", name, t.Type, t.Shape, c.rotated/2))
			return
		}
		values := make([]float32, t.Shape[0])
		t.Dequantize(values, 0)
		for _, v := range values {
			lists[name] = append(lists[name], jsontext.Value(strconv.FormatFloat(float64(v), 'g', -1, 32)))
		}
	}
	if len(lists) == 1 {
		r.errs = append(r.errs, fmt.Errorf("%s and %s: one is there without the other", longFactors, shortFactors))
	}
	if len(lists) == 2 {
		c.long = object{"type", "longrope", "long_factor", lists[longFactors], "short_factor", lists[shortFactors]}
		if v, stated := r.m[r.prefix+"rope.scaling.attn_factor"].(float32); stated && v != float32(c.longAttention(original)) {
			c.long = append(c.long, "attention_factor", r.number("rope.scaling.attn_factor", ""))
		}
	}
}

// gpt2Slots yields GPT-2's tensors, whose projections the checkpoint has transposed.
func (c *config) gpt2Slots() iter.Seq[slot] {
	return func(yield func(slot) bool) {
		more := true
		add := func(s slot) { more = more && yield(s) }
		both := func(file, name string, transposed bool, shape ...int64) {
			add(slot{file: file + ".weight", name: name + ".weight", shape: shape, transposed: transposed})
			add(slot{file: file + ".bias", name: name + ".bias", shape: shape[:1]})
		}
		add(slot{file: "token_embd.weight", name: "transformer.wte.weight", shape: []int64{c.vocabulary, c.hidden}})
		add(slot{file: "position_embd.weight", name: "transformer.wpe.weight", shape: []int64{c.context, c.hidden}})
		for i := int64(0); i < c.layers && more; i++ {
			file, name := fmt.Sprintf("blk.%d.", i), fmt.Sprintf("transformer.h.%d.", i)
			both(file+"attn_norm", name+"ln_1", false, c.hidden)
			both(file+"attn_qkv", name+"attn.c_attn", true, 3*c.hidden, c.hidden)
			both(file+"attn_output", name+"attn.c_proj", true, c.hidden, c.hidden)
			both(file+"ffn_norm", name+"ln_2", false, c.hidden)
			both(file+"ffn_up", name+"mlp.c_fc", true, c.inner, c.hidden)
			both(file+"ffn_down", name+"mlp.c_proj", true, c.hidden, c.inner)
		}
		both("output_norm", "transformer.ln_f", false, c.hidden)
		if !c.tied {
			add(slot{file: "output.weight", name: "lm_head.weight", shape: []int64{c.vocabulary, c.hidden}})
		}
	}
}

// gpt2JSON is GPT-2's config.json, which has names of its own.
func (c *config) gpt2JSON(t *tokenizer, d safetensors.Dtype) object {
	o := append(object{"architectures", []string{c.class}, "activation_function", "gelu_new"}, t.ids()...)
	return append(o, "initializer_range", 0.02, "layer_norm_epsilon", c.epsilon, "model_type", c.modelType, "n_embd", c.hidden, "n_head", c.heads,
		"n_inner", c.inner, "n_layer", c.layers, "n_positions", c.context, "tie_word_embeddings", c.tied, "torch_dtype", dtypeName(d),
		"use_cache", true, "vocab_size", c.vocabulary)
}

func dtypeName(d safetensors.Dtype) string {
	return map[safetensors.Dtype]string{safetensors.F32: "float32", safetensors.BF16: "bfloat16"}[d]
}
