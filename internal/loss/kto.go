package loss

import "math"

// Labelled is an answer that is desirable or not.
type Labelled struct {
	Answer
	Desirable bool
}

// KTO is Kahneman-Tversky optimisation (Ethayarajh et al. 2024, eq. 7): TRL's KTOTrainer.
type KTO struct{ Beta, Desirable, Undesirable float64 }

// Reference is the point that answers are better or worse than: the mean log-ratio of answers to other rows' prompts [n], an
// estimate of the divergence from the reference, not below zero. No derivative goes through it.
func (KTO) Reference(mismatched []Answer) float64 {
	var sum float64
	for _, a := range mismatched {
		sum += a.ratio()
	}
	return math.Max(sum/float64(len(mismatched)), 0)
}

// Loss is the mean over the rows [n], and its derivatives [n] by their log-likelihoods.
func (k KTO) Loss(rows []Labelled, kl float64) (float64, []float64) {
	grads, n := make([]float64, len(rows)), float64(len(rows))
	var total float64
	for i, r := range rows {
		weight, sign := k.Desirable, 1.0
		if !r.Desirable {
			weight, sign = k.Undesirable, -1
		}
		z := sign * k.Beta * (r.ratio() - kl)
		total += weight * sigmoid(-z) / n
		grads[i] = -weight * sign * k.Beta * sigmoid(z) * sigmoid(-z) / n
	}
	return total, grads
}

// Metrics is the means over the rows of either label under TRL's names; those of a label that no row has are left out.
func (k KTO) Metrics(rows []Labelled, kl float64) map[string]float64 {
	m := map[string]float64{"kl": kl}
	count := map[string]float64{}
	for _, r := range rows {
		count[r.Side()]++
	}
	for _, r := range rows {
		m["rewards/"+r.Side()] += k.Beta * r.ratio() / count[r.Side()]
		m["logps/"+r.Side()] += r.LogProb / count[r.Side()]
	}
	if len(count) == 2 {
		m["rewards/margins"] = m["rewards/chosen"] - m["rewards/rejected"]
	}
	return m
}

// Side is the label as metrics name it.
func (r Labelled) Side() string {
	if r.Desirable {
		return "chosen"
	}
	return "rejected"
}
