package schemas

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Spares says which fields of a stage's configuration lower the memory that its work takes, first what costs least, and the path of
// the first; both are empty where none does.
func Spares(kind string, config []byte) (path, advice string) {
	var c struct {
		Batch                 json.RawMessage
		MaxLength             int
		Generations           int
		MaxNewTokens          int
		GradientCheckpointing *bool
		LoRA                  *struct{ Quantize string } `json:"lora"`
	}
	if json.Unmarshal(config, &c) != nil || !Computes(kind) {
		return "", ""
	}
	var fields []string
	add := func(name, format string, args ...any) {
		if fields == nil {
			path = name
		}
		fields = append(fields, fmt.Sprintf(format, args...))
	}
	var steps Batch
	var rows int
	if json.Unmarshal(c.Batch, &rows) == nil && rows > 1 {
		add("batch", "a batch below %d", rows)
	} else if json.Unmarshal(c.Batch, &steps) == nil && steps.Rows > 1 {
		add("batch.rows", "batch.rows below %d, with more batch.accumulate", steps.Rows)
	}
	if c.GradientCheckpointing != nil && !*c.GradientCheckpointing {
		add("gradientCheckpointing", "gradientCheckpointing: true")
	}
	if c.MaxLength > 0 {
		add("maxLength", "maxLength below %d", c.MaxLength)
	}
	if c.Generations > 0 {
		add("generations", "generations below %d", c.Generations)
	}
	if c.MaxNewTokens > 0 {
		add("maxNewTokens", "maxNewTokens below %d", c.MaxNewTokens)
	}
	switch kind {
	case "train.sft", "train.dpo", "train.grpo":
		if c.LoRA == nil {
			add("lora", "lora")
		} else if c.LoRA.Quantize == "" {
			add("lora", `lora.quantize: "nf4"`)
		}
	}
	if n := len(fields); n > 1 {
		fields = append(fields[:n-2], fields[n-2]+" or "+fields[n-1])
	}
	if fields == nil {
		return "", ""
	}
	return path, "less is taken with " + strings.Join(fields, ", ")
}
