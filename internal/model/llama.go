package model

import (
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// llama is Llama 1 to 3.x, SmolLM2 and others of model_type llama (Touvron et al. 2023; transformers' modeling_llama.py).
var llama = architecture{declare: func(m *Model) error {
	c := m.Config
	m.declareLlama(biases{qkv: c.AttentionBias, output: c.AttentionBias, mlp: c.MLPBias}, nil)
	return nil
}}

// block is the pre-norm layer that Llama and its kin share.
type block struct {
	parts
	inputNorm, postNorm *nn.Norm
}

func (b *block) forward(x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor) {
	x, h := b.inputNorm.Apply(x, r)
	x, h = b.postNorm.Apply(x, b.attention.apply(h, in))
	return x, b.mlp.apply(h)
}

// declareLlama declares the weights under Llama's names, which its kin took over.
func (m *Model) declareLlama(bias biases, norm headNorm) {
	c, s := m.Config, &m.Base
	m.declareEmbedding("model.embed_tokens")
	for i := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		b := &block{}
		b.inputNorm = s.Norm(p+"input_layernorm", c.HiddenSize, c.RMSNormEps)
		b.attention = m.attention(i, p, bias, norm)
		b.postNorm = s.Norm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
		b.mlp = m.gated(p, bias.mlp, tensor.SwiGLU)
		m.layers = append(m.layers, b)
	}
	m.norm = s.Norm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.declareHead()
}
