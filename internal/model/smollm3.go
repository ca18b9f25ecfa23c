package model

// smollm3 is SmolLM3: Llama's names, and every fourth layer encodes no positions (transformers' modeling_smollm3.py;
// Yang et al. 2025, "Rope to Nope and Back Again"). Where there is a window, those layers have it.
var smollm3 = architecture{
	defaults: func(f *file) {
		f.KeyValueHeads, f.Tie, f.Pad, f.RopeTheta, f.NoRopeInterval = of(int64(4)), true, of(int64(128004)), of(2e6), 4
	},
	slides: func(f *file, i int) bool { return !f.rotates(i) },
	declare: func(m *Model) error {
		c := m.Config
		m.declareLlama(biases{qkv: c.AttentionBias, output: c.AttentionBias, mlp: c.MLPBias}, nil)
		for i, l := range m.layers {
			if !c.Rotates[i] {
				l.(*block).attention.rope = nil
			}
		}
		return nil
	},
}
