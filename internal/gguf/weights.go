package gguf

import (
	"errors"
	"fmt"
	"slices"
)

// weights returns every tensor of the model under its Hugging Face name, in the order in which modules are made.
// A missing tensor, one of another shape and one that has no place are errors, all at once.
func (c *config) weights(f *File) ([]weight, error) {
	b := &binder{f: f, used: map[string]bool{"rope_freqs.weight": true}}
	q, kv := c.heads*c.headDim, c.keyHeads*c.headDim
	// llama.cpp permutes the projections that are rotated, in its llama architecture alone.
	var permutedQ, permutedK int64
	if c.architecture == "llama" {
		permutedQ, permutedK = c.heads, c.keyHeads
	}
	qkvBias := c.attentionBias || c.architecture == "qwen2"
	b.add("token_embd.weight", "model.embed_tokens.weight", 0, c.vocabulary, c.hidden)
	for i := range c.layers {
		from, to := fmt.Sprintf("blk.%d.", i), fmt.Sprintf("model.layers.%d.", i)
		linear := func(source, name string, bias bool, heads, out, in int64) {
			b.add(from+source+".weight", to+name+".weight", heads, out, in)
			if bias {
				b.add(from+source+".bias", to+name+".bias", heads, out)
			}
		}
		b.add(from+"attn_norm.weight", to+"input_layernorm.weight", 0, c.hidden)
		linear("attn_q", "self_attn.q_proj", qkvBias, permutedQ, q, c.hidden)
		linear("attn_k", "self_attn.k_proj", qkvBias, permutedK, kv, c.hidden)
		linear("attn_v", "self_attn.v_proj", qkvBias, 0, kv, c.hidden)
		linear("attn_output", "self_attn.o_proj", c.attentionBias && c.architecture != "qwen2", 0, c.hidden, q)
		if c.architecture == "qwen3" {
			b.add(from+"attn_q_norm.weight", to+"self_attn.q_norm.weight", 0, c.headDim)
			b.add(from+"attn_k_norm.weight", to+"self_attn.k_norm.weight", 0, c.headDim)
		}
		b.add(from+"ffn_norm.weight", to+"post_attention_layernorm.weight", 0, c.hidden)
		linear("ffn_gate", "mlp.gate_proj", c.mlpBias, 0, c.inner, c.hidden)
		linear("ffn_up", "mlp.up_proj", c.mlpBias, 0, c.inner, c.hidden)
		linear("ffn_down", "mlp.down_proj", c.mlpBias, 0, c.hidden, c.inner)
		if len(b.errs) >= maxErrors {
			break
		}
	}
	b.add("output_norm.weight", "model.norm.weight", 0, c.hidden)
	if !c.tied {
		b.add("output.weight", "lm_head.weight", 0, c.vocabulary, c.hidden)
	}
	return b.finish()
}

// maxErrors is how many tensors are named before "and more".
const maxErrors = 8

type binder struct {
	f       *File
	byName  map[string]Tensor
	used    map[string]bool
	weights []weight
	errs    []error
}

func (b *binder) add(source, name string, heads int64, shape ...int64) {
	if b.byName == nil {
		b.byName = make(map[string]Tensor, len(b.f.Tensors))
		for _, t := range b.f.Tensors {
			b.byName[t.Name] = t
		}
	}
	t, ok := b.byName[source]
	switch {
	case !ok:
		b.errs = append(b.errs, fmt.Errorf("missing tensor %s", source))
	case !slices.Equal(t.Shape, shape):
		b.errs = append(b.errs, fmt.Errorf("tensor %s: shape %v, want %v", source, t.Shape, shape))
	}
	b.used[source] = true
	b.weights = append(b.weights, weight{name: name, source: t, heads: heads})
}

func (b *binder) finish() ([]weight, error) {
	if len(b.errs) == 0 {
		for _, t := range b.f.Tensors {
			if !b.used[t.Name] {
				b.errs = append(b.errs, fmt.Errorf("tensor %s: no place for it in this architecture", t.Name))
			}
		}
	}
	if n := len(b.errs); n > maxErrors {
		b.errs = append(b.errs[:maxErrors], errors.New("and more"))
	}
	return b.weights, errors.Join(b.errs...)
}
