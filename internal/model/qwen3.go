package model

import "github.com/hone-ml/hone/internal/nn"

// qwen3 is Qwen3, dense: Llama's names, and q and k are normalised a head before they are rotated (Yang et al. 2025;
// transformers' modeling_qwen3.py).
var qwen3 = architecture{
	defaults: func(f *file) { qwen2.defaults(f); f.HeadDim = 128 },
	slides:   qwen2.slides,
	declare: func(m *Model) error {
		c := m.Config
		m.declareLlama(biases{qkv: c.AttentionBias, output: c.AttentionBias}, func(name string, _ int64) *nn.Norm {
			return m.Base.Norm(name, c.HeadDim, c.RMSNormEps)
		})
		return nil
	},
}
