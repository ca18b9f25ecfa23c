package model

import (
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
)

// llama is Llama 1 to 3.x, SmolLM2 and others of model_type llama (Touvron et al. 2023; transformers' modeling_llama.py).
func llama(m *Model) {
	c := m.Config
	m.bind(biases{qkv: c.AttentionBias, output: c.AttentionBias, mlp: c.MLPBias}, false)
}

// biases says which linear layers have one.
type biases struct{ qkv, output, mlp bool }

// bind declares the weights under Llama's names, which its kin took over: they differ in biases, and in norms of each head's
// q and k.
func (m *Model) bind(bias biases, headNorms bool) {
	c, s := m.Config, &m.Base
	m.embedding = s.Declare(nn.Tensor{Name: "model.embed_tokens.weight", Shape: []int64{c.VocabSize, c.HiddenSize}})
	for i := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		b := &block{index: i, heads: c.NumAttentionHeads, kvHeads: c.NumKeyValueHeads, width: c.HeadDim}
		b.inputNorm = s.Norm(p+"input_layernorm", c.HiddenSize, c.RMSNormEps)
		b.qkv = s.Linear(c.HiddenSize, bias.qkv,
			nn.Projection{Name: p + "self_attn.q_proj", Out: b.heads * b.width},
			nn.Projection{Name: p + "self_attn.k_proj", Out: b.kvHeads * b.width},
			nn.Projection{Name: p + "self_attn.v_proj", Out: b.kvHeads * b.width})
		if headNorms {
			b.queryNorm = s.Norm(p+"self_attn.q_norm", b.width, c.RMSNormEps)
			b.keyNorm = s.Norm(p+"self_attn.k_norm", b.width, c.RMSNormEps)
		}
		b.output = s.Linear(b.heads*b.width, bias.output, nn.Projection{Name: p + "self_attn.o_proj", Out: c.HiddenSize})
		b.postNorm = s.Norm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
		b.gateUp = s.Linear(c.HiddenSize, bias.mlp,
			nn.Projection{Name: p + "mlp.gate_proj", Out: c.IntermediateSize},
			nn.Projection{Name: p + "mlp.up_proj", Out: c.IntermediateSize})
		b.down = s.Linear(c.IntermediateSize, bias.mlp, nn.Projection{Name: p + "mlp.down_proj", Out: c.HiddenSize})
		m.blocks = append(m.blocks, b)
	}
	m.norm = s.Norm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = m.embedding
	if !c.TieWordEmbeddings {
		m.head = s.Declare(nn.Tensor{Name: "lm_head.weight", Shape: []int64{c.VocabSize, c.HiddenSize}})
	}
}
