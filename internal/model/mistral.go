package model

// mistral is Mistral 7B and its kin: Llama with a sliding window in every layer, where it has one (Jiang et al. 2023;
// transformers' modeling_mistral.py). A config.json that does not name sliding_window means 4,096.
var mistral = architecture{
	defaults: func(f *file) {
		f.KeyValueHeads, f.SlidingWindow, f.UseSlidingWindow, f.uniform = of(int64(8)), of(int64(4096)), true, true
	},
	slides: always,
	declare: func(m *Model) error {
		m.declareLlama(biases{}, nil)
		return nil
	},
}
