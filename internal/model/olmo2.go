package model

import (
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// olmo2 is OLMo 2: norms stand behind attention and the feed-forward part instead of before them, and q and k are
// normalised over all heads at once (OLMo et al. 2024; transformers' modeling_olmo2.py).
var olmo2 = architecture{
	defaults: func(f *file) { f.RMSNormEps, f.Pad = 1e-5, of(int64(1)) },
	declare: func(m *Model) error {
		c, s := m.Config, &m.Base
		m.declareEmbedding("model.embed_tokens")
		for i := range c.NumHiddenLayers {
			p := fmt.Sprintf("model.layers.%d.", i)
			b := &postNormBlock{}
			b.attention = m.attention(i, p, biases{qkv: c.AttentionBias, output: c.AttentionBias}, func(name string, heads int64) *nn.Norm {
				return s.Norm(name, heads*c.HeadDim, c.RMSNormEps)
			})
			b.attentionNorm = s.Norm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
			b.mlp = m.gated(p, false, tensor.SwiGLU)
			b.mlpNorm = s.Norm(p+"post_feedforward_layernorm", c.HiddenSize, c.RMSNormEps)
			m.layers = append(m.layers, b)
		}
		m.norm = s.Norm("model.norm", c.HiddenSize, c.RMSNormEps)
		m.declareHead()
		return nil
	},
}

// postNormBlock normalises what it adds to the stream, not what it reads.
type postNormBlock struct {
	parts
	attentionNorm, mlpNorm *nn.Norm
}

func (b *postNormBlock) forward(x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor) {
	if r.Defined() {
		x = x.Add(r)
	}
	_, a := b.attentionNorm.Apply(b.attention.apply(x, in), tensor.Tensor{})
	x = x.Add(a)
	_, d := b.mlpNorm.Apply(b.mlp.apply(x), tensor.Tensor{})
	return x, d
}
