// Package loss is what preference training minimises: functions of log-likelihoods in double precision, each with its derivative.
//
//	Answer      what the model and its reference say of one completion
//	Pair        a chosen and a rejected answer to one prompt
//	Preference  a published loss over the pairs of a batch
//	Labelled    an answer that is desirable or not
//	KTO         the loss over labelled answers
//
// Derivatives are by the log-likelihood of an answer; that of each of its tokens is the same, since an answer is the sum of its
// tokens. Formulas, names and means are TRL 1.16's (DPOTrainer, KTOTrainer, experimental CPOTrainer and ORPOTrainer).
package loss

import "math"

// Answer is a completion as the model sees it.
type Answer struct {
	LogProb   float64 // Σ over the completion's tokens of the model's log-likelihoods
	Reference float64 // the same of the reference; 0 for losses without one
	Tokens    int     // of the completion

	// Prompt is Σ over the prompt's tokens after its first, of which there are PromptTokens. ORPO reads it of chosen answers.
	Prompt       float64
	PromptTokens int
}

// ratio is log π/π_ref.
func (a Answer) ratio() float64 { return a.LogProb - a.Reference }

// mean is the log-likelihood a token.
func (a Answer) mean() float64 { return a.LogProb / a.tokens() }

func (a Answer) tokens() float64 { return math.Max(float64(a.Tokens), 1) }

// Pair is two answers to one prompt.
type Pair struct{ Chosen, Rejected Answer }

// Gradient is the derivatives of the mean loss by one pair's Chosen.LogProb, Rejected.LogProb and Chosen.Prompt.
type Gradient struct{ Chosen, Rejected, Prompt float64 }

// Preference is a loss over pairs, by TRL's loss_type (or simpo, orpo) and its parameters.
type Preference struct {
	Kind           string
	Beta           float64
	LabelSmoothing float64 // of robust, exo_pair, aot, aot_unpaired, simpo
	Gamma          float64 // of simpo: the margin wanted
}

// ReferenceFree tells whether the loss reads no reference.
func (p Preference) ReferenceFree() bool { return p.Kind == "simpo" || p.Kind == "orpo" }

// Known tells whether there is a loss of that kind.
func (p Preference) Known() bool {
	_, each := pairwise[p.Kind]
	_, all := batchwise[p.Kind]
	return each || all
}

// Loss is the mean over the pairs [n], and its derivatives [n]. There is at least one pair, and Kind is Known.
func (p Preference) Loss(pairs []Pair) (float64, []Gradient) {
	if f, ok := batchwise[p.Kind]; ok {
		return f(p, pairs)
	}
	f, n := pairwise[p.Kind], float64(len(pairs))
	grads := make([]Gradient, len(pairs))
	var total float64
	for i, x := range pairs {
		value, chosen, rejected := f(p, x)
		total += value
		grads[i] = Gradient{Chosen: chosen / n, Rejected: rejected / n}
	}
	return total / n, grads
}

// Rewards is what TRL logs as rewards: β·log π/π_ref, or β times the log-likelihood a token where there is no reference.
func (p Preference) Rewards(x Pair) (chosen, rejected float64) {
	if p.ReferenceFree() {
		return p.Beta * x.Chosen.mean(), p.Beta * x.Rejected.mean()
	}
	return p.Beta * x.Chosen.ratio(), p.Beta * x.Rejected.ratio()
}

// Metrics is the means over the pairs under TRL's names.
func (p Preference) Metrics(pairs []Pair) map[string]float64 {
	m := map[string]float64{}
	n := float64(len(pairs))
	for _, x := range pairs {
		chosen, rejected := p.Rewards(x)
		m["rewards/chosen"] += chosen / n
		m["rewards/rejected"] += rejected / n
		m["rewards/margins"] += (chosen - rejected) / n
		right := 0.0
		if chosen > rejected {
			right = 1
		}
		m["rewards/accuracies"] += right / n
		if p.ReferenceFree() {
			m["logps/chosen"] += x.Chosen.mean() / n
			m["logps/rejected"] += x.Rejected.mean() / n
		} else {
			m["logps/chosen"] += x.Chosen.LogProb / n
			m["logps/rejected"] += x.Rejected.LogProb / n
		}
		if p.Kind == "orpo" {
			odds := logOdds(x)
			m["log_odds_chosen"] += odds / n
			m["log_odds_ratio"] -= softplus(-odds) / n
		}
	}
	if p.Kind == "orpo" {
		m["nll_loss"], _ = nll(pairs)
	}
	return m
}

// sigmoid is 1/(1+e⁻ˣ).
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// softplus is log(1+eˣ): -log σ(-x).
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
