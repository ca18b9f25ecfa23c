package gguf

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"math"
	"slices"
)

// What config.json says of an architecture and a GGUF file has a place for; the rest must be what llama.cpp takes it to be.

// gpt2File is what GPT-2's config.json names otherwise, or alone has.
type gpt2File struct {
	Embd     int64          `json:"n_embd"`
	LayerN   int64          `json:"n_layer"`
	HeadN    int64          `json:"n_head"`
	Position int64          `json:"n_positions"`
	Feed     *int64         `json:"n_inner"`
	Function string         `json:"activation_function"`
	Norm     jsontext.Value `json:"layer_norm_epsilon"`
	Unscaled *bool          `json:"scale_attn_weights"`
	ByLayer  bool           `json:"scale_attn_by_inverse_layer_idx"`
}

// rename moves GPT-2's fields to where others have them.
func (f *configFile) rename() {
	f.Hidden, f.Layers, f.Heads, f.Context, f.Inner, f.Gate, f.Epsilon = f.Embd, f.LayerN, f.HeadN, f.Position, 4*f.Embd, f.Function, f.Norm
	if f.Feed != nil {
		f.Inner = *f.Feed
	}
	if f.Epsilon == nil {
		f.Epsilon = jsontext.Value("1e-5")
	}
}

// activation refuses another than the one that llama.cpp has in the architecture.
func (f *configFile) activation(a architecture) error {
	if a.shifted || a.modelType == "gpt2" {
		if f.Gate != "" && f.Gate != "gelu_pytorch_tanh" && f.Gate != "gelu_new" {
			return fmt.Errorf("hidden_activation: %q is not supported: only gelu_pytorch_tanh", f.Gate)
		}
		return nil
	}
	if f.Activation != "" && f.Activation != "silu" && f.Activation != "swish" {
		return fmt.Errorf("hidden_act: %q is not supported: only silu", f.Activation)
	}
	return nil
}

// slides checks that layers have a window by the one rule that llama.cpp knows.
func (f *configFile) slides(rule func(layer int64) bool) error {
	for i, kind := range f.LayerTypes {
		if (kind == "sliding_attention") != rule(int64(i)) {
			return fmt.Errorf("layer_types: layer %d is %s: llama.cpp has it otherwise", i, kind)
		}
	}
	return nil
}

// gemma checks what Gemma 2 and 3 share, as readGemma has it.
func (c *config) gemma(f *configFile, layers27B int64) error {
	if f.HeadDim == nil {
		c.headDim, c.rotated = 256, 256
	}
	c.readGemma(layers27B)
	if want := c.extra[3].(int64); f.Query != nil && *f.Query != float64(want) {
		return fmt.Errorf("query_pre_attn_scalar: %v: llama.cpp takes it to be %d", *f.Query, want)
	}
	window := int64(4096)
	if f.Window != nil {
		window = *f.Window
	}
	c.own = append(c.own, pair{"attention.sliding_window", uint32(window)})
	return nil
}

func writeGemma2(c *config, f *configFile) error {
	err := errors.Join(c.gemma(f, 46), f.slides(func(i int64) bool { return i%2 == 0 }))
	for _, cap := range []struct {
		key   string
		value jsontext.Value
		usual float32
	}{{"attn_logit_softcapping", f.ScoreCap, 50}, {"final_logit_softcapping", f.LogitCap, 30}} {
		value := cap.usual
		if cap.value != nil {
			x, e := float(cap.value)
			if e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", cap.key, e))
			}
			value = float32(x)
		}
		c.own = append(c.own, pair{cap.key, value})
	}
	return err
}

func writeGemma3(c *config, f *configFile) error {
	if c.theta == nil {
		c.theta = jsontext.Value("1000000.0")
	}
	err := errors.Join(c.gemma(f, 62), f.slides(func(i int64) bool { return (i+1)%6 != 0 }))
	if f.Pattern != nil && *f.Pattern != 6 {
		err = errors.Join(err, fmt.Errorf("sliding_window_pattern: %d: llama.cpp takes it to be 6", *f.Pattern))
	}
	if f.LocalTheta != nil && *f.LocalTheta != 10000 {
		err = errors.Join(err, fmt.Errorf("rope_local_base_freq: %v: llama.cpp takes it to be 10000", *f.LocalTheta))
	}
	if f.LogitCap != nil && f.LogitCap.Kind() != 'n' {
		x, e := float(f.LogitCap)
		c.own, err = append(c.own, pair{"final_logit_softcapping", float32(x)}), errors.Join(err, e)
	}
	return err
}

func writeSmolLM3(c *config, f *configFile) error {
	if c.theta == nil {
		c.theta = jsontext.Value("2000000.0")
	}
	if f.NoRopeStep != nil && *f.NoRopeStep != 4 && f.NoRope == nil {
		return fmt.Errorf("no_rope_layer_interval: %d: llama.cpp takes it to be 4", *f.NoRopeStep)
	}
	for i, rotates := range f.NoRope {
		if (rotates != 0) != ((i+1)%4 != 0) {
			return fmt.Errorf("no_rope_layers: layer %d: llama.cpp leaves out every fourth", i)
		}
	}
	return nil
}

func writePhi3(c *config, f *configFile) error {
	if f.Original == 0 {
		f.Original = 4096
	}
	partial, r := 1.0, f.long
	if f.Partial != nil {
		partial = *f.Partial
	}
	if r != nil && r.Partial != nil {
		partial = *r.Partial
	}
	c.rotated = int64(float64(c.headDim) * partial)
	c.own = append(c.own, pair{"rope.scaling.original_context_length", uint32(f.Original)})
	if f.Window != nil {
		c.own = append(c.own, pair{"attention.sliding_window", uint32(*f.Window)})
		if *f.Window < c.context {
			c.caveats = append(c.caveats, fmt.Sprintf("sliding_window: llama.cpp applies none to Phi-3: beyond %d tokens its answers are others", *f.Window))
		}
	}
	if r == nil || r.Short == nil && r.Long == nil {
		return nil
	}
	if n := int(c.rotated / 2); len(r.Short) != n || len(r.Long) != n {
		return fmt.Errorf("rope_scaling: %d short and %d long factors, %d are wanted", len(r.Short), len(r.Long), n)
	}
	factor := c.longAttention(f.Original)
	if r.Attention != nil {
		factor = *r.Attention
	}
	c.own = append(c.own, pair{"rope.scaling.attn_factor", float32(factor)})
	c.lists = []list{{longFactors, r.Long}, {shortFactors, r.Short}}
	if !slices.Equal(r.Long, r.Short) {
		c.caveats = append(c.caveats, fmt.Sprintf("rope_scaling: llama.cpp rotates by the long factors where its context (--ctx-size) is above %d tokens, however "+
			"short the text; a row's own length decides here and in transformers: for texts up to %[1]d start it with --ctx-size %[1]d", f.Original))
	}
	return nil
}

// longAttention is LongRoPE's attention_factor where it is not stated.
func (c *config) longAttention(original int64) float64 {
	by := float64(c.context) / float64(original)
	if by <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(by)/math.Log(float64(original)))
}

func writeGPT2(_ *config, f *configFile) error {
	if f.ByLayer || f.Unscaled != nil && !*f.Unscaled {
		return errors.New("scale_attn_weights, scale_attn_by_inverse_layer_idx: llama.cpp divides scores by the root of a head's dimensions alone")
	}
	return nil
}

func (c *config) gpt2Metadata() []pair {
	epsilon, _ := float(c.epsilon)
	return []pair{{"gpt2.block_count", uint32(c.layers)}, {"gpt2.context_length", uint32(c.context)}, {"gpt2.embedding_length", uint32(c.hidden)},
		{"gpt2.feed_forward_length", uint32(c.inner)}, {"gpt2.attention.head_count", uint32(c.heads)},
		{"gpt2.attention.layer_norm_epsilon", float32(epsilon)}}
}
