package pipelines

import "github.com/hone-ml/hone/schemas"

func (c *compiler) senseGRPO(s *stage, v *schemas.TrainGRPO) {
	c.senseTraining(s, &v.Training, v.LoRA)
	c.senseRate(s, &v.Training, rlRates, rlLoRARates, v.LoRA != nil)
	c.senseLoRA(s, v.LoRA)
	useful := false
	for _, name := range names(v.Rewards) {
		c.senseGrader(s, "rewards."+name, v.Rewards[name].Grader)
		useful = useful || v.Rewards[name].Weight != 0
	}
	if !useful && len(v.Rewards) > 0 && !c.toldBelow(s, "rewards") {
		c.errorf(s, "rewards", "every weight is 0: no answer is better than another")
	}
	if v.Beta == 0 && s.wrote("reference") {
		c.advisef(s, "reference", "read with beta above 0 alone")
	}
	for _, name := range []string{"topP", "topK", "minP"} {
		if s.wrote(name) && (name != "topP" || v.TopP != 1) && (name != "topK" || v.TopK != 0) && (name != "minP" || v.MinP != 0) {
			c.advisef(s, name, "answers are drawn from fewer tokens than the loss knows of")
		}
	}
	c.senseClip(s, v)
}

// senseClip tells of bounds that are not read, or are another loss's.
func (c *compiler) senseClip(s *stage, v *schemas.TrainGRPO) {
	switch {
	case v.Loss == "cispo":
		if s.wrote("epsilon") {
			c.advisef(s, "epsilon", "cispo reads epsilonHigh alone")
		}
		if v.High() < 1 {
			c.advisef(s, "loss", "cispo cuts ratios at epsilonHigh itself, and that is %g: every token's weight is cut; 5 is usual", v.High())
		}
	case v.Iterations == 1:
		for _, name := range []string{"epsilon", "epsilonHigh"} {
			if s.wrote(name) {
				c.advisef(s, name, "with iterations 1 the ratio is 1 and nothing is clipped")
			}
		}
	case v.Ratio == "sequence" && !s.wrote("epsilon"):
		c.advisef(s, "ratio", "a sequence's ratio stays near 1: with epsilon %g hardly any is clipped; 3e-4 and epsilonHigh 4e-4 are usual", v.Epsilon)
	}
}
