package loss

import (
	"fmt"
	"math"
)

// Policy is a policy-gradient loss over completions and their advantages, as TRL 1.16's GRPOTrainer computes it (loss_type,
// importance_sampling_level). A token's term is -min(r·A, clip(r, 1-Low, 1+High)·A), r its probability over the one that the
// policy had when it sampled; what the terms are divided by is the kind's own.
//
//	grpo     the completion's tokens, then the completions (Shao et al. 2024, arXiv:2402.03300)
//	bnpo     the tokens of the micro-batch (Xiao et al. 2025, arXiv:2506.02864)
//	dr_grpo  completions × MaxTokens (Liu et al. 2025, arXiv:2503.20783)
//	dapo     the tokens of the step (Yu et al. 2025, arXiv:2503.14476)
//	cispo    the same, of -min(r, High)·A·log p, no gradient through r (MiniMax 2025, arXiv:2506.13585)
//
// With Sequence one ratio stands for all tokens of a completion: the geometric mean of theirs (GSPO, Zheng et al. 2025,
// arXiv:2507.18071).
type Policy struct {
	Kind      string
	Sequence  bool
	Low, High float64
	Beta      float64 // weight of the divergence from the reference: k3 (Schulman 2020) times r, which makes it unbiased off-policy
	MaxTokens int     // that a completion may have
}

// Completion is a sampled sequence of tokens. All slices have one number a token.
type Completion struct {
	LogProbs  []float32 // under the policy
	Old       []float32 // under the policy that sampled; nil where that is the same, and every ratio 1
	Reference []float32 // under the reference; nil where Beta is 0
	Entropy   []float32 // of the distribution at each token
	Advantage float64
	Masked    bool // counts as a completion, but its tokens do not train
}

func (c *Completion) tokens() float64 {
	if c.Masked {
		return 0
	}
	return float64(len(c.LogProbs))
}

// PolicyKinds are the values of Policy.Kind.
var PolicyKinds = []string{"grpo", "bnpo", "dr_grpo", "dapo", "cispo"}

// Loss is a micro-batch's share of a step's loss. It fills grad with the derivative by each log-probability, of one completion
// after another, and returns metrics under TRL's names. A step has so many micro-batches, and tokens that train in all of them.
func (p *Policy) Loss(batch []Completion, micro int, stepTokens int64, grad []float32) (float64, map[string]float64) {
	var tokens float64
	for i := range batch {
		tokens += batch[i].tokens()
	}
	weight := p.weights(float64(len(batch)), tokens, float64(micro), float64(stepTokens))
	var total float64
	m := p.meter()
	for i := range batch {
		c := &batch[i]
		n := len(c.LogProbs)
		clear(grad[:n])
		total += p.completion(c, weight(c.tokens()), grad[:n], m)
		grad = grad[n:]
	}
	return total, m.values()
}

// weights is the factor of a token's term in a completion of so many tokens.
func (p *Policy) weights(completions, tokens, micro, stepTokens float64) func(own float64) float64 {
	switch p.Kind {
	case "grpo":
		return func(own float64) float64 { return 1 / (max(own, 1) * completions * micro) }
	case "bnpo":
		return func(float64) float64 { return 1 / (max(tokens, 1) * micro) }
	case "dr_grpo":
		return func(float64) float64 { return 1 / (completions * float64(p.MaxTokens) * micro) }
	case "dapo", "cispo":
		return func(float64) float64 { return 1 / max(stepTokens, 1) }
	}
	panic(fmt.Sprintf("policy loss %q is not known", p.Kind))
}

// completion adds up the terms of one completion, each times weight.
func (p *Policy) completion(c *Completion, weight float64, grad []float32, m *meter) (total float64) {
	logRatio := func(t int) float64 {
		if c.Old == nil {
			return 0
		}
		return float64(c.LogProbs[t]) - float64(c.Old[t])
	}
	n := c.tokens()
	var shared float64 // log of the sequence's ratio
	if p.Sequence && n > 0 {
		for t := range c.LogProbs {
			shared += logRatio(t) / n
		}
	}
	ratio := math.Exp(shared)
	m.begin(ratio, c.Advantage, p.Sequence)
	if c.Masked {
		return 0
	}
	var throughRatio float64 // derivative by the log of the sequence's ratio
	for t := range c.LogProbs {
		if !p.Sequence {
			ratio = math.Exp(logRatio(t))
		}
		value, direct, through := p.term(c, t, ratio, m)
		total += weight * value
		if p.Sequence {
			throughRatio += weight * through / n
		} else {
			direct += through
		}
		grad[t] = float32(weight * direct)
	}
	if p.Sequence {
		for t := range grad {
			grad[t] += float32(throughRatio)
		}
	}
	m.end()
	return total
}

// term is a token's term, its derivative by the token's log-probability where the ratio stands still, and by the ratio's log.
func (p *Policy) term(c *Completion, t int, ratio float64, m *meter) (value, direct, through float64) {
	logp, a := float64(c.LogProbs[t]), c.Advantage
	if p.Kind == "cispo" {
		r := min(ratio, p.High)
		value, direct = -r*a*logp, -r*a
	} else {
		clipped := min(max(ratio, 1-p.Low), 1+p.High)
		value = -min(ratio*a, clipped*a)
		if ratio*a <= clipped*a {
			through = -ratio * a
		}
	}
	var kl float64
	if p.Beta != 0 {
		d := float64(c.Reference[t]) - logp
		k3 := math.Exp(d) - d - 1
		kl = k3 * ratio
		value += p.Beta * kl
		direct += p.Beta * ratio * (1 - math.Exp(d))
		through += p.Beta * kl
	}
	m.token(ratio, a, kl, float64(c.Entropy[t]))
	return value, direct, through
}
