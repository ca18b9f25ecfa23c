package loss

import (
	"math"
	"slices"
)

// pairwise is the losses that are a mean of one value a pair: that value, and its derivatives by the two log-likelihoods.
var pairwise = map[string]func(p Preference, x Pair) (value, chosen, rejected float64){
	// DPO (Rafailov et al. 2023, eq. 7): -log σ(βΔ), Δ the difference of the two log-ratios.
	"sigmoid": byMargin(func(_ Preference, z float64) (float64, float64) { return softplus(-z), -sigmoid(-z) }),

	// SLiC's hinge (Zhao et al. 2023) on DPO's margin, as RSO (Liu et al. 2024) writes it.
	"hinge": byMargin(func(_ Preference, z float64) (float64, float64) {
		if z >= 1 {
			return 0, 0
		}
		return 1 - z, -1
	}),

	// Robust DPO (Chowdhury et al. 2024): labels that are flipped with probability LabelSmoothing, unbiased.
	"robust": byMargin(func(p Preference, z float64) (float64, float64) {
		e := p.LabelSmoothing
		return ((1-e)*softplus(-z) - e*softplus(z)) / (1 - 2*e), (-(1-e)*sigmoid(-z) - e*sigmoid(z)) / (1 - 2*e)
	}),

	// EXO (Ji et al. 2024, eq. 16) with two answers: the reverse KL to labels that are right with probability 1-ε.
	"exo_pair": byMargin(func(p Preference, z float64) (float64, float64) {
		win, lose := sigmoid(z), sigmoid(-z)
		right, wrong := math.Log1p(-p.LabelSmoothing), math.Log(p.LabelSmoothing)
		return win*(-softplus(-z)-right) + lose*(-softplus(z)-wrong), win * lose * (z - right + wrong)
	}),

	// DiscoPOP (Lu et al. 2024, eq. 5): logistic and exponential loss, mixed by the margin itself at τ = 0.05.
	"discopop": byMargin(func(_ Preference, z float64) (float64, float64) {
		const tau = 0.05
		mix := sigmoid(z / tau)
		slope := mix * (1 - mix) / tau
		logistic, exponential := softplus(-z), math.Exp(-z)
		return logistic*(1-mix) + exponential*mix, -sigmoid(-z)*(1-mix) - exponential*mix + (exponential-logistic)*slope
	}),

	// IPO (Azar et al. 2023, eq. 17), its log-ratios divided by the answers' lengths.
	"ipo": func(p Preference, x Pair) (float64, float64, float64) {
		nc, nr := x.Chosen.tokens(), x.Rejected.tokens()
		d := x.Chosen.ratio()/nc - x.Rejected.ratio()/nr - 1/(2*p.Beta)
		return d * d, 2 * d / nc, -2 * d / nr
	},

	// DPO on log-ratios divided by the answers' lengths (TRL's sigmoid_norm; Tülu 3, Lambert et al. 2024).
	"sigmoid_norm": func(p Preference, x Pair) (float64, float64, float64) {
		nc, nr := x.Chosen.tokens(), x.Rejected.tokens()
		z := p.Beta * (x.Chosen.ratio()/nc - x.Rejected.ratio()/nr)
		g := -p.Beta * sigmoid(-z)
		return softplus(-z), g / nc, -g / nr
	},

	// NCA (Chen et al. 2024) with two answers.
	"nca_pair": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := p.Rewards(x)
		return softplus(-c) + softplus(c)/2 + softplus(r)/2, p.Beta * (sigmoid(c)/2 - sigmoid(-c)), p.Beta * sigmoid(r) / 2
	},

	// BCO (Jung et al. 2024) on pairs, without its shift.
	"bco_pair": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := p.Rewards(x)
		return softplus(-c) + softplus(r), -p.Beta * sigmoid(-c), p.Beta * sigmoid(r)
	},

	// SPPO (Wu et al. 2024, eq. 4.7) with a certain winner.
	"sppo_hard": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := x.Chosen.ratio()-0.5/p.Beta, x.Rejected.ratio()+0.5/p.Beta
		return c*c + r*r, 2 * c, 2 * r
	},

	// APO-zero (D'Oosterlinck et al. 2024, eq. 7): chosen answers rise, rejected ones fall.
	"apo_zero": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := p.Rewards(x)
		return sigmoid(-c) + sigmoid(r), -p.Beta * sigmoid(c) * sigmoid(-c), p.Beta * sigmoid(r) * sigmoid(-r)
	},

	// APO-down (eq. 8): both fall, rejected ones further.
	"apo_down": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := p.Rewards(x)
		slope := p.Beta * sigmoid(c-r) * sigmoid(r-c)
		return sigmoid(c) + sigmoid(r-c), p.Beta*sigmoid(c)*sigmoid(-c) - slope, slope
	},

	// SimPO (Meng et al. 2024, eq. 6): log-likelihoods a token, no reference, a margin of at least γ.
	"simpo": func(p Preference, x Pair) (float64, float64, float64) {
		c, r := p.Rewards(x)
		value, slope := smoothed(c-r-p.Gamma, p.LabelSmoothing)
		return value, p.Beta * slope / x.Chosen.tokens(), -p.Beta * slope / x.Rejected.tokens()
	},
}

// byMargin is a loss that reads z = βΔ alone: f gives its value and its derivative by z.
func byMargin(f func(p Preference, z float64) (value, slope float64)) func(Preference, Pair) (float64, float64, float64) {
	return func(p Preference, x Pair) (float64, float64, float64) {
		value, slope := f(p, p.Beta*(x.Chosen.ratio()-x.Rejected.ratio()))
		return value, p.Beta * slope, -p.Beta * slope
	}
}

// smoothed is -log σ(z) with labels that are wrong with probability e, and its derivative.
func smoothed(z, e float64) (value, slope float64) {
	return softplus(-z)*(1-e) + softplus(z)*e, -sigmoid(-z)*(1-e) + sigmoid(z)*e
}

// batchwise is the losses whose pairs do not stand alone.
var batchwise = map[string]func(p Preference, pairs []Pair) (float64, []Gradient){
	// AOT (Melnyk et al. 2024): quantiles of the model's log-ratios between answers against those of the reference's.
	"aot": func(p Preference, pairs []Pair) (float64, []Gradient) {
		model := order(pairs, func(x Pair) float64 { return x.Chosen.LogProb - x.Rejected.LogProb })
		reference := order(pairs, func(x Pair) float64 { return x.Chosen.Reference - x.Rejected.Reference })
		return p.transport(pairs, model, reference, func(i, j int) float64 {
			a, b := pairs[i], pairs[j]
			return a.Chosen.LogProb - a.Rejected.LogProb - (b.Chosen.Reference - b.Rejected.Reference)
		}, func(grads []Gradient, i, _ int, slope float64) {
			grads[i].Chosen += slope
			grads[i].Rejected -= slope
		})
	},

	// AOT without pairs: quantiles of the chosen answers' log-ratios against those of the rejected ones'.
	"aot_unpaired": func(p Preference, pairs []Pair) (float64, []Gradient) {
		chosen := order(pairs, func(x Pair) float64 { return x.Chosen.ratio() })
		rejected := order(pairs, func(x Pair) float64 { return x.Rejected.ratio() })
		return p.transport(pairs, chosen, rejected, func(i, j int) float64 {
			return pairs[i].Chosen.ratio() - pairs[j].Rejected.ratio()
		}, func(grads []Gradient, i, j int, slope float64) {
			grads[i].Chosen += slope
			grads[j].Rejected -= slope
		})
	},

	// ORPO (Hong et al. 2024, eq. 6): the mean negative log-likelihood of prompt and chosen answer, and β times the log of the
	// ratio of odds.
	"orpo": func(p Preference, pairs []Pair) (float64, []Gradient) {
		total, tokens := nll(pairs)
		grads, n := make([]Gradient, len(pairs)), float64(len(pairs))
		for i, x := range pairs {
			odds := logOdds(x)
			total += p.Beta * softplus(-odds) / n
			slope := -p.Beta * sigmoid(-odds) / n
			grads[i] = Gradient{
				Chosen:   slope/(-math.Expm1(x.Chosen.mean())*x.Chosen.tokens()) - 1/tokens,
				Rejected: -slope / (-math.Expm1(x.Rejected.mean()) * x.Rejected.tokens()),
				Prompt:   -1 / tokens,
			}
		}
		return total, grads
	},
}

// order is the pairs' places by rising value.
func order(pairs []Pair, value func(Pair) float64) []int {
	at := make([]int, len(pairs))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int {
		switch a, b := value(pairs[i]), value(pairs[j]); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	return at
}

// transport is the mean of -log σ(β·gap) over two orders matched place by place; add takes the derivative by a gap.
func (p Preference) transport(pairs []Pair, one, other []int, gap func(i, j int) float64, add func(grads []Gradient, i, j int, slope float64)) (float64, []Gradient) {
	grads, n := make([]Gradient, len(pairs)), float64(len(pairs))
	var total float64
	for k := range pairs {
		value, slope := smoothed(p.Beta*gap(one[k], other[k]), p.LabelSmoothing)
		total += value / n
		add(grads, one[k], other[k], p.Beta*slope/n)
	}
	return total, grads
}

// logOdds is log(odds(chosen)/odds(rejected)) of the likelihoods a token, odds(p) = p/(1-p).
func logOdds(x Pair) float64 {
	c, r := x.Chosen.mean(), x.Rejected.mean()
	return c - r - (log1mexp(c) - log1mexp(r))
}

// log1mexp is log(1-eˣ) for x < 0 (Mächler 2012).
func log1mexp(x float64) float64 {
	if x < -math.Ln2 {
		return math.Log1p(-math.Exp(x))
	}
	return math.Log(-math.Expm1(x))
}

// nll is the mean negative log-likelihood over the tokens of prompts and chosen answers, and how many they are.
func nll(pairs []Pair) (mean, tokens float64) {
	var sum float64
	for _, x := range pairs {
		sum -= x.Chosen.Prompt + x.Chosen.LogProb
		tokens += float64(x.Chosen.PromptTokens + x.Chosen.Tokens)
	}
	return sum / tokens, tokens
}
