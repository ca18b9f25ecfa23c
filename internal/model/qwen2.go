package model

// qwen2 is Qwen2 and Qwen2.5: Llama's names, with a bias on q, k and v alone (Yang et al. 2024; transformers'
// modeling_qwen2.py). The upper layers may have a window.
var qwen2 = architecture{
	defaults: func(f *file) {
		f.KeyValueHeads, f.SlidingWindow, f.MaxWindowLayers = of(int64(32)), of(int64(4096)), 28
	},
	slides: func(f *file, i int) bool { return i >= f.MaxWindowLayers },
	declare: func(m *Model) error {
		m.declareLlama(biases{qkv: true}, nil)
		return nil
	},
}
