package schemas

import "testing"

// What takes less memory is named with its present value, the cheapest first.
func TestSpares(t *testing.T) {
	for _, c := range []struct{ kind, config, path, advice string }{
		{"train.sft", `{"batch": {"rows": 8, "accumulate": 2}, "maxLength": 1024, "gradientCheckpointing": false}`, "batch.rows",
			"less is taken with batch.rows below 8, with more batch.accumulate, gradientCheckpointing: true, maxLength below 1024 or lora"},
		{"train.grpo", `{"batch": {"rows": 1}, "maxLength": 512, "gradientCheckpointing": true, "generations": 8, "maxNewTokens": 256, "lora": {"rank": 8}}`, "maxLength",
			`less is taken with maxLength below 512, generations below 8, maxNewTokens below 256 or lora.quantize: "nf4"`},
		{"model.pretrain", `{"batch": {"rows": 1}, "maxLength": 512, "gradientCheckpointing": true}`, "maxLength", "less is taken with maxLength below 512"},
		{"eval", `{"batch": 64}`, "batch", "less is taken with a batch below 64"},
		{"generate", `{"batch": 1, "maxNewTokens": 9}`, "maxNewTokens", "less is taken with maxNewTokens below 9"},
		{"data.load", `{"batch": 8}`, "", ""},
		{"eval", `{"batch": 1}`, "", ""},
	} {
		if path, advice := Spares(c.kind, []byte(c.config)); path != c.path || advice != c.advice {
			t.Errorf("%s %s: %q, %q", c.kind, c.config, path, advice)
		}
	}
}
