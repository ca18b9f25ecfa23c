package gguf

import (
	"cmp"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/safetensors"
)

// config is the metadata and tensors of a supported architecture as config.json's fields.
type config struct {
	architecture
	layers, hidden, inner, heads, keyHeads int64
	headDim, vocabulary, context           int64
	epsilon, theta                         jsontext.Value
	scaling                                *scaling // nil for none
	tied, attentionBias, biasedMLP         bool
	rotated                                int64  // dimensions of a head
	extra                                  object // fields of config.json that the architecture has besides
	long                                   object // rope_scaling of LongRoPE
	own                                    []pair // metadata that the architecture has besides
	lists                                  []list // and tensors
	caveats                                []string
}

// list is a tensor that no weight of the checkpoint is.
type list struct {
	name   string
	values []float32
}

func readConfig(f *File) (*config, error) {
	name, err := f.Meta.Text("general.architecture")
	if err != nil {
		return nil, err
	}
	a, err := findArchitecture(name, func(a architecture) string { return a.name })
	if err != nil {
		return nil, fmt.Errorf("general.architecture: %w", err)
	}
	c := &config{architecture: a}
	r := &reader{m: f.Meta, prefix: name + "."}
	if n := r.optional("expert_count", 0); n > 0 {
		return nil, fmt.Errorf("%s.expert_count: %d: mixtures of experts are not supported", name, n)
	}
	c.layers = r.size("block_count")
	c.hidden = r.size("embedding_length")
	c.inner = r.size("feed_forward_length")
	c.heads = r.size("attention.head_count")
	c.keyHeads = r.optional("attention.head_count_kv", c.heads)
	c.context = r.size("context_length")
	c.epsilon = r.number(cmp.Or(c.epsilonKey, "attention.layer_norm_rms_epsilon"), "")
	c.theta = r.number("rope.freq_base", "10000.0")
	if c.heads > 0 {
		c.headDim = r.optional("attention.key_length", c.hidden/c.heads)
	}
	if v := r.optional("attention.value_length", c.headDim); v != c.headDim {
		r.errs = append(r.errs, fmt.Errorf("%s.attention.value_length: %d, key_length is %d", name, v, c.headDim))
	}
	if c.rotated = r.optional("rope.dimension_count", c.headDim); c.rotated != c.headDim && !c.fused {
		r.errs = append(r.errs, fmt.Errorf("%s.rope.dimension_count: %d, a head has %d: partial rotation is not supported", name, c.rotated, c.headDim))
	}
	if c.keyHeads < 1 || c.heads%max(c.keyHeads, 1) != 0 || c.headDim < 2 || c.headDim%2 != 0 {
		r.errs = append(r.errs, fmt.Errorf("%d heads, %d key heads of %d dimensions: do not divide", c.heads, c.keyHeads, c.headDim))
	}
	c.readScaling(f, r)
	if c.read != nil && len(r.errs) == 0 {
		c.read(c, f, r)
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	embedding, ok := f.Tensor("token_embd.weight")
	if !ok {
		return nil, errors.New("missing tensor token_embd.weight")
	}
	c.vocabulary = embedding.Shape[0]
	_, untied := f.Tensor("output.weight")
	_, bias := f.Tensor("blk.0.attn_q.bias")
	c.attentionBias = bias && !c.qkvBias
	_, c.biasedMLP = f.Tensor("blk.0.ffn_up.bias")
	c.tied = !untied
	return c, nil
}

// reader collects what is wrong with the metadata, so that all of it is said at once.
type reader struct {
	m      Metadata
	prefix string
	errs   []error
}

// maxSize bounds any size of a model: no product of three of them overflows.
const maxSize = 1 << 20

func (r *reader) optional(key string, otherwise int64) int64 {
	n, found, err := r.m.Int(r.prefix + key)
	switch {
	case err != nil:
		r.errs = append(r.errs, err)
	case !found:
		return otherwise
	case n < 0 || n > maxSize && key != "context_length":
		r.errs = append(r.errs, fmt.Errorf("%s%s: %d is out of range", r.prefix, key, n))
		return otherwise
	}
	return n
}

func (r *reader) size(key string) int64 {
	if _, ok := r.m[r.prefix+key]; !ok {
		r.errs = append(r.errs, fmt.Errorf("%s%s: missing", r.prefix, key))
		return -1
	}
	known := len(r.errs)
	n := r.optional(key, -1)
	if n < 1 && len(r.errs) == known {
		r.errs = append(r.errs, fmt.Errorf("%s%s: %d is out of range", r.prefix, key, n))
	}
	return n
}

// number returns a number as config.json should spell it; a missing one without a default is an error.
func (r *reader) number(key, otherwise string) jsontext.Value {
	text, found, err := r.m.Float(r.prefix + key)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	if !found {
		text = otherwise
	}
	v := jsontext.Value(text)
	if text != "" && !strings.ContainsAny(text, ".e") {
		v = append(v, ".0"...)
	}
	if !v.IsValid() {
		r.errs = append(r.errs, fmt.Errorf("%s%s: missing, or not finite", r.prefix, key))
		return jsontext.Value("0")
	}
	return v
}

// readScaling finds how positions were stretched: linear and yarn are in the metadata; Llama 3's rule is not, only
// the factors that follow from it are, in a tensor.
func (c *config) readScaling(f *File, r *reader) {
	kind, err := f.Meta.Text(r.prefix + "rope.scaling.type")
	if err != nil {
		r.errs = append(r.errs, err)
	}
	switch kind {
	case "", "none":
	case "linear":
		c.scaling = &scaling{kind: kind, factor: r.number("rope.scaling.factor", "")}
	case "yarn":
		c.scaling = &scaling{kind: kind, factor: r.number("rope.scaling.factor", ""), original: r.size("rope.scaling.original_context_length")}
	default:
		if kind == "longrope" && c.fused { // its factors are tensors
			break
		}
		r.errs = append(r.errs, fmt.Errorf("%srope.scaling.type: %q is not supported", r.prefix, kind))
	}
	t, ok := f.Tensor(ropeFactors)
	if !ok || len(r.errs) > 0 {
		return
	}
	if c.scaling != nil || t.Type != F32 || len(t.Shape) != 1 || t.Shape[0] != c.headDim/2 {
		r.errs = append(r.errs, fmt.Errorf("%s: %s of shape %v beside scaling %q is not supported", ropeFactors, t.Type, t.Shape, kind))
		return
	}
	factors := make([]float32, t.Shape[0])
	t.Dequantize(factors, 0)
	if c.scaling, err = llama3Scaling(factors, c.theta); err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", ropeFactors, err))
	}
}

// json returns config.json under transformers' names.
func (c *config) json(t *tokenizer, d safetensors.Dtype) object {
	if c.modelType == "gpt2" {
		return c.gpt2JSON(t, d)
	}
	o := object{"architectures", []string{c.class}}
	if !c.qkvBias {
		o = append(o, "attention_bias", c.attentionBias)
	}
	o = append(o, "attention_dropout", jsontext.Value("0.0"))
	o = append(o, t.ids()...)
	o = append(o, "head_dim", c.headDim)
	if !slices.Contains(c.extra, any("hidden_activation")) {
		o = append(o, "hidden_act", "silu")
	}
	o = append(o,
		"hidden_size", c.hidden,
		"initializer_range", 0.02,
		"intermediate_size", c.inner,
		"max_position_embeddings", c.context,
	)
	if c.mlpBias {
		o = append(o, "mlp_bias", c.biasedMLP)
	}
	var stretched any
	if c.scaling != nil {
		stretched = c.scaling.json()
	} else if c.long != nil {
		stretched = c.long
	}
	o = append(o, c.extra...)
	return append(o,
		"model_type", c.modelType,
		"num_attention_heads", c.heads,
		"num_hidden_layers", c.layers,
		"num_key_value_heads", c.keyHeads,
		"rms_norm_eps", c.epsilon,
		"rope_scaling", stretched,
		"rope_theta", c.theta,
		"tie_word_embeddings", c.tied,
		"torch_dtype", dtypeName(d),
		"use_cache", true,
		"vocab_size", c.vocabulary,
	)
}
