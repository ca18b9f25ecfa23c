package model

// qwen2 is Qwen2 and Qwen2.5: Llama's names, with a bias on q, k and v alone (Yang et al. 2024; transformers'
// modeling_qwen2.py).
func qwen2(m *Model) { m.bind(biases{qkv: true}, false) }
