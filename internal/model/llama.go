package model

import (
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
)

// llama is Llama 1 to 3.x, SmolLM2 and others of model_type llama (Touvron et al. 2023; transformers' modeling_llama.py).
func llama(m *Model) {
	c, s := m.Config, &m.Base
	m.embedding = s.Declare(nn.Tensor{Name: "model.embed_tokens.weight", Shape: []int64{c.VocabSize, c.HiddenSize}})
	for i := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		b := &block{index: i, heads: c.NumAttentionHeads, kvHeads: c.NumKeyValueHeads, width: c.HeadDim}
		b.inputNorm = s.Norm(p+"input_layernorm", c.HiddenSize, c.RMSNormEps)
		b.qkv = s.Linear(c.HiddenSize, c.AttentionBias,
			nn.Projection{Name: p + "self_attn.q_proj", Out: b.heads * b.width},
			nn.Projection{Name: p + "self_attn.k_proj", Out: b.kvHeads * b.width},
			nn.Projection{Name: p + "self_attn.v_proj", Out: b.kvHeads * b.width})
		b.output = s.Linear(b.heads*b.width, c.AttentionBias, nn.Projection{Name: p + "self_attn.o_proj", Out: c.HiddenSize})
		b.postNorm = s.Norm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
		b.gateUp = s.Linear(c.HiddenSize, c.MLPBias,
			nn.Projection{Name: p + "mlp.gate_proj", Out: c.IntermediateSize},
			nn.Projection{Name: p + "mlp.up_proj", Out: c.IntermediateSize})
		b.down = s.Linear(c.IntermediateSize, c.MLPBias, nn.Projection{Name: p + "mlp.down_proj", Out: c.HiddenSize})
		m.blocks = append(m.blocks, b)
	}
	m.norm = s.Norm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = m.embedding
	if !c.TieWordEmbeddings {
		m.head = s.Declare(nn.Tensor{Name: "lm_head.weight", Shape: []int64{c.VocabSize, c.HiddenSize}})
	}
}
