package model

// qwen3 is Qwen3, dense: Llama's names, and q and k are normalised a head before they are rotated (Yang et al. 2025;
// transformers' modeling_qwen3.py).
func qwen3(m *Model) {
	bias := m.Config.AttentionBias
	m.bind(biases{qkv: bias, output: bias}, true)
}
