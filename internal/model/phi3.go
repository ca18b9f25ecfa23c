package model

import (
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// phi3 is Phi-3, Phi-3.5-mini and Phi-4: Llama's layer with q, k and v in one tensor of the checkpoint, gate and up in
// another, LongRoPE in the models for long texts, and a window in some (Abdin et al. 2024; transformers' modeling_phi3.py).
var phi3 = architecture{
	defaults: func(f *file) {
		f.RMSNormEps, f.Pad, f.OriginalMaxPositions, f.UseSlidingWindow, f.phi3, f.uniform = 1e-5, of(int64(32000)), 4096, true, true, true
	},
	slides: always,
	declare: func(m *Model) error {
		c, s := m.Config, &m.Base
		m.declareEmbedding("model.embed_tokens")
		for i := range c.NumHiddenLayers {
			p := fmt.Sprintf("model.layers.%d.", i)
			b := &block{parts: parts{attention: m.bareAttention(i), mlp: gated{unit: tensor.SwiGLU}}}
			a := &b.attention
			b.inputNorm = s.Norm(p+"input_layernorm", c.HiddenSize, c.RMSNormEps)
			a.qkv = s.Linear(c.HiddenSize, false, nn.Projection{Name: p + "self_attn.qkv_proj", Out: (a.heads + 2*a.kvHeads) * a.width})
			a.output = s.Linear(a.heads*a.width, false, nn.Projection{Name: p + "self_attn.o_proj", Out: c.HiddenSize})
			b.postNorm = s.Norm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
			b.mlp.gateUp = s.Linear(c.HiddenSize, false, nn.Projection{Name: p + "mlp.gate_up_proj", Out: 2 * c.IntermediateSize})
			b.mlp.down = s.Linear(c.IntermediateSize, false, nn.Projection{Name: p + "mlp.down_proj", Out: c.HiddenSize})
			m.layers = append(m.layers, b)
		}
		m.norm = s.Norm("model.norm", c.HiddenSize, c.RMSNormEps)
		m.declareHead()
		return nil
	},
}
