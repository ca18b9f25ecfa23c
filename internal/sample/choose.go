package sample

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options is how a token is chosen. Without Temperature, or with zero, the likeliest is taken.
type Options struct {
	Temperature       float64
	TopP              float64 // 0 or 1 is off
	TopK              int     // 0 is off
	MinP              float64 // 0 is off
	RepetitionPenalty float64 // 0 or 1 is off
	Seed, Sequence    uint64  // the draws of a sequence depend on these two alone
}

func (o Options) check() error {
	for _, x := range []struct {
		name  string
		value float64
		bad   bool
	}{
		{"temperature", o.Temperature, o.Temperature < 0},
		{"top-p", o.TopP, o.TopP < 0 || o.TopP > 1},
		{"top-k", float64(o.TopK), o.TopK < 0},
		{"min-p", o.MinP, o.MinP < 0 || o.MinP > 1},
		{"repetition penalty", o.RepetitionPenalty, o.RepetitionPenalty < 0},
	} {
		if x.bad {
			return fmt.Errorf("%s %g is out of range", x.name, x.value)
		}
	}
	return nil
}

// chooser chooses one sequence's tokens.
type chooser struct {
	Options
	random  *rand.Rand
	present map[int32]bool // tokens so far, for the penalty
}

func newChooser(o Options, prompt []int32) *chooser {
	c := &chooser{Options: o, random: rand.New(rand.NewPCG(o.Seed, o.Sequence))}
	if c.penalised() {
		c.present = map[int32]bool{}
		for _, t := range prompt {
			c.present[t] = true
		}
	}
	return c
}

func (c *chooser) penalised() bool { return c.RepetitionPenalty != 0 && c.RepetitionPenalty != 1 }

// greedy reports whether the largest logit as it stands is the choice.
func (c *chooser) greedy() bool { return c.Temperature == 0 && !c.penalised() }

func (c *chooser) seen(token int32) {
	if c.present != nil {
		c.present[token] = true
	}
}

// next chooses from one row of logits, which it changes.
func (c *chooser) next(logits []float32) int32 {
	for t := range c.present { // Keskar et al. 2019, as transformers' RepetitionPenaltyLogitsProcessor
		if l := logits[t]; l < 0 {
			logits[t] = l * float32(c.RepetitionPenalty)
		} else {
			logits[t] = l / float32(c.RepetitionPenalty)
		}
	}
	if c.Temperature == 0 {
		return argmax(logits)
	}
	draw := c.random.Float64()
	if c.TopK == 0 && c.MinP == 0 && (c.TopP == 0 || c.TopP == 1) {
		if token, ok := c.whole(logits, draw); ok {
			return token
		}
	}
	return pick(c.distribution(logits), draw)
}

// pick takes the candidate that a draw from 0 to 1 falls on.
func pick(candidates []candidate, draw float64) int32 {
	for _, x := range candidates {
		if draw -= x.p; draw < 0 {
			return x.token
		}
	}
	return candidates[len(candidates)-1].token
}

// whole is pick of the distribution where nothing is cut off it. Not all of the vocabulary is sorted: tokens fall into bands of
// likelihood, and those of the band that the draw falls into are.
func (c *chooser) whole(logits []float32, draw float64) (token int32, ok bool) {
	const perNat, last = 256, 256*40 - 1 // bands; the last has all that is unlikelier by more
	tempered := func(l float32) float64 { return float64(float32(float64(l) / c.Temperature)) }
	top := tempered(logits[argmax(logits)])
	band := func(below float64) int {
		if below < last/perNat {
			return int(below * perNat)
		}
		return last
	}
	var mass [last + 1]float64
	for _, l := range logits {
		below := top - tempered(l)
		mass[band(below)] += math.Exp(-below)
	}
	var sum float64
	for _, m := range mass {
		sum += m
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, false
	}
	left := draw * sum
	for b, m := range mass {
		if left >= m && b < last {
			left -= m
			continue
		}
		var here []candidate
		for t, l := range logits {
			if below := top - tempered(l); band(below) == b {
				here = append(here, candidate{token: int32(t), logit: l, p: math.Exp(-below)})
			}
		}
		if len(here) == 0 { // rounding has led beyond the last
			return 0, false
		}
		byLikelihood(here)
		return pick(here, left), true
	}
	return 0, false
}

func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// candidate is a token with its probability.
type candidate struct {
	token int32
	logit float32
	p     float64
}

// distribution is the tokens that may be drawn, likeliest first, with probabilities that sum to one: temperature, then top-k,
// top-p and min-p, the order of transformers' logits processors.
func (c *chooser) distribution(logits []float32) []candidate {
	all := c.top(logits)
	temperature := c.Temperature
	for i := range all {
		all[i].logit = float32(float64(all[i].logit) / temperature)
	}
	softmax(all)
	if c.TopP > 0 && c.TopP < 1 {
		var tail float64 // Holtzman et al. 2020, from the unlikely end as transformers counts
		for len(all) > 1 {
			if tail += all[len(all)-1].p; tail > 1-c.TopP {
				break
			}
			all = all[:len(all)-1]
		}
		softmax(all)
	}
	if c.MinP > 0 {
		least := c.MinP * all[0].p
		for len(all) > 1 && all[len(all)-1].p < least {
			all = all[:len(all)-1]
		}
		softmax(all)
	}
	return all
}

// top is the tokens that can still be drawn after top-k, likeliest first. Of equal logits the later token stands
// first, as in transformers' ascending sort read backwards.
func (c *chooser) top(logits []float32) []candidate {
	all := make([]candidate, 0, len(logits))
	floor := float32(math.Inf(-1))
	if c.TopK > 0 && c.TopK < len(logits) {
		sorted := slices.Clone(logits)
		slices.Sort(sorted)
		floor = sorted[len(sorted)-c.TopK] // ties at the floor stay, as in transformers
	}
	for t, l := range logits {
		if l >= floor && !math.IsInf(float64(l), -1) {
			all = append(all, candidate{token: int32(t), logit: l})
		}
	}
	if len(all) == 0 { // nothing but NaN or -inf: what a greedy choice would take
		return []candidate{{token: argmax(logits)}}
	}
	byLikelihood(all)
	return all
}

func byLikelihood(all []candidate) {
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(b.token, a.token))
	})
}

func softmax(all []candidate) {
	top := float64(all[0].logit)
	var sum float64
	for i := range all {
		all[i].p = math.Exp(float64(all[i].logit) - top)
		sum += all[i].p
	}
	for i := range all {
		all[i].p /= sum
	}
}
