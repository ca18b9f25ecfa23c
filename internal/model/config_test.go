package model

import (
	"testing"
)

// What is wrong with a config.json is said by its fields' names.
func TestConfigsRefused(t *testing.T) {
	const sizes = `"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2`
	for source, want := range map[string]string{
		`{"model_type": 7}`:                                                                                               `model_type: text is wanted, not 7`,
		`{"model_type": "llama", "hidden_size": "x"}`:                                                                     `hidden_size: a number is wanted, not "x"`,
		`{"model_type": "llama", ` + sizes + `, "rope_scaling": "x"}`:                                                     `rope_scaling: an object is wanted, not "x"`,
		`{"model_type": "llama", ` + sizes + `, "rope_scaling": {"type": 3}}`:                                             `rope_scaling: type: text is wanted, not 3`,
		`{"model_type": "llama", ` + sizes + `, "layer_types": "sliding"}`:                                                `layer_types: a list is wanted, not "sliding"`,
		`{"model_type": "llama", ` + sizes + `, "tie_word_embeddings": "true"}`:                                           `tie_word_embeddings: true or false is wanted, not "true"`,
		`{"model_type": "llama", "vocab_size": 8, "hidden_size": null, "num_hidden_layers": 1, "num_attention_heads": 2}`: `hidden_size, intermediate_size: missing`,
		`{"model_type": "llama", ` + sizes[:len(sizes)-1] + `0}`:                                                          `num_attention_heads is 0`,
		`{"model_type": "gpt2", ` + sizes + `}`:                                                                           `n_embd, n_layer, n_head: missing`,
		`[`:                                                                                                               `JSON ends in the middle of a value`,
	} {
		if _, err := ParseConfig([]byte(source)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
}
