package model

import (
	"strings"
	"testing"
)

// A field of PEFT's that changes what an adapter computes is refused, not passed over.
func TestAdaptersRefused(t *testing.T) {
	for field, want := range map[string]string{
		`"init_lora_weights": "pissa_niter_4"`:  "changes the base",
		`"init_lora_weights": "olora"`:          "changes the base",
		`"alora_invocation_tokens": [5, 6]`:     "alora_invocation_tokens",
		`"layer_replication": [[0, 2], [1, 2]]`: "layer_replication",
		`"target_parameters": ["k_proj"]`:       "target_parameters",
		`"trainable_token_indices": [1]`:        "trainable_token_indices",
		`"modules_to_save": ["lm_head"]`:        "modules_to_save",
		`"bias": "lora_only"`:                   "bias",
	} {
		_, err := parseLoRA([]byte(`{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], ` + field + `}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", field, err)
		}
	}
	none := `"init_lora_weights": "gaussian", "alora_invocation_tokens": null, "use_qalora": false, "kasa_config": {}, "layer_replication": []`
	if _, err := parseLoRA([]byte(`{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], ` + none + `}`)); err != nil {
		t.Error(err)
	}
}
