package pipelines

import (
	"slices"

	"github.com/hone-ml/hone/schemas"
)

// readBy is the losses that read a field of train.dpo.
var readBy = map[string][]string{
	"labelSmoothing":    {"robust", "exo_pair", "aot", "aot_unpaired", "simpo"},
	"gamma":             {"simpo"},
	"desirableWeight":   {schemas.KTO},
	"undesirableWeight": {schemas.KTO},
}

func (c *compiler) senseDPO(s *stage, v *schemas.TrainDPO) {
	c.senseTraining(s, &v.Training, v.LoRA)
	c.senseLoRA(s, v.LoRA)
	for _, field := range names(readBy) {
		if s.wrote(field) && !slices.Contains(readBy[field], v.Loss) {
			c.advisef(s, field, "loss %q does not read it", v.Loss)
		}
	}
	if v.Loss == "exo_pair" && v.LabelSmoothing == 0 {
		c.errorf(s, "labelSmoothing", "exo_pair wants one above 0; 1e-3 is usual")
	}
	if v.Loss == "robust" && v.LabelSmoothing >= 0.5 {
		c.errorf(s, "labelSmoothing", "robust wants one below 0.5: at that share labels say nothing")
	}
	if v.ReferenceFree() && v.Reference != nil {
		c.errorf(s, "reference", "loss %q has no reference", v.Loss)
	}
	if v.Loss == schemas.KTO && v.Batch.Rows < 2 {
		c.errorf(s, "batch.rows", "kto compares a row with the others of its batch: 2 or more")
	}
	if v.LoRA != nil && s.wrote("lora.dropout") && v.LoRA.Dropout > 0 {
		c.advisef(s, "lora.dropout", "preference training is without dropout")
	}
	c.senseRate(s, &v.Training, dpoRates, dpoLoRARates, v.LoRA != nil)
	low, most := 0.01, 1.0
	if v.Loss == "simpo" {
		low, most = 1, 20 // Meng et al. 2024, table 8: 2 to 10
	}
	if v.Beta < low || v.Beta > most {
		c.advisef(s, "beta", "%g is unusual for %s; %g to %g is usual", v.Beta, v.Loss, low, most)
	}
}
