package pipelines

import (
	"fmt"

	"github.com/hone-ml/hone/schemas"
)

// rates are what AdamW trains at: beyond low and high a run learns nothing, or forgets what it knew, within its first steps. A
// step of Adam moves every weight by about the rate, and weights of a trained model are 0.01 to 0.1 in size: a full fine-tune
// that moves each by 1e-3 a step has left the model behind after a few dozen. An adapter begins at zero beside weights that stand
// still, and random weights have nothing to lose: both take ten to a hundred times as much.
type rates struct {
	low, high float64
	of, usual string // for whom, and what papers and recipes use
}

var (
	freshRates   = rates{1e-6, 2e-2, "random weights", "3e-4 to 5e-3"}                    // Brown et al. 2020, table 2.1, is 6e-4 at 125M; small models take more
	sftRates     = rates{1e-7, 1e-4, "a full fine-tune", "1e-5 to 5e-5"}                  // Alpaca, Zephyr, Tülu 3: 5e-6 to 2e-5
	sftLoRARates = rates{1e-6, 1e-2, "an adapter", "1e-4 to 1e-3"}                        // Hu et al. 2021: 1e-4 to 5e-4; small models take more
	dpoRates     = rates{1e-9, 1e-5, "preference training", "5e-7 to 5e-6"}               // Rafailov et al. 2023: 1e-6; Zephyr: 5e-7
	dpoLoRARates = rates{1e-8, 1e-3, "preference training", "5e-6 to 1e-4"}               // TRL 1.16's scripts: 5e-6 with LoRA
	rlRates      = rates{1e-9, 2e-5, "the whole model", "1e-6 to 1e-5"}                   // Shao et al. 2024: 1e-6
	rlLoRARates  = rates{1e-8, 1e-2, "an adapter of online RL", "1e-5 to 3e-4"}           // Schulman et al. 2025: ten times the whole model's
	optimizers   = map[string]float64{"adamw": 1, "adafactor": 1, "lion": 0.3, "muon": 1} // of AdamW's: Chen et al. 2023 (3 to 10 times less); muon's is scaled to it
)

// senseRate tells of a learning rate that is far from what the method is trained at.
func (c *compiler) senseRate(s *stage, v *schemas.Training, full, adapter rates, lora bool) {
	usual := full
	switch {
	case c.isFresh(s):
		usual = freshRates
	case lora:
		usual = adapter
	}
	factor, ok := optimizers[v.Optimizer.Kind]
	if !ok || v.LearningRate == 0 { // told
		return
	}
	span := usual.usual + " is usual"
	if factor != 1 {
		span = fmt.Sprintf("%s is usual of adamw, and %s takes %g times that", usual.usual, v.Optimizer.Kind, factor)
	}
	switch rate := v.LearningRate; {
	case rate > usual.high*factor:
		c.advisef(s, "learningRate", "%g is high for %s; %s", rate, usual.of, span)
	case rate < usual.low*factor:
		c.advisef(s, "learningRate", "%g is low for %s, and hardly a weight will move; %s", rate, usual.of, span)
	}
}
