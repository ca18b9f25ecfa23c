package loss

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// batch is completions of different lengths whose ratios lie on both sides of the clip, one of them masked.
func batch(r *rand.Rand) []Completion {
	var b []Completion
	for i, n := range []int{5, 1, 7, 3} {
		c := Completion{Advantage: []float64{1.3, -0.8, -0.4, 0.6}[i], Masked: i == 3}
		for range n {
			logp := -3 * r.Float32()
			c.LogProbs = append(c.LogProbs, logp)
			c.Old = append(c.Old, logp+0.8*float32(r.NormFloat64()))
			c.Reference = append(c.Reference, logp+0.5*float32(r.NormFloat64()))
			c.Entropy = append(c.Entropy, r.Float32())
		}
		b = append(b, c)
	}
	return b
}

// The derivative of every kind of loss, by both ratios, with and without a reference, against differences. cispo's ratio is
// held still, as its definition has it.
func TestPolicyGradient(t *testing.T) {
	for _, kind := range PolicyKinds {
		for _, sequence := range []bool{false, true} {
			for _, beta := range []float64{0, 0.3} {
				for _, offPolicy := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s sequence=%v beta=%g off=%v", kind, sequence, beta, offPolicy), func(t *testing.T) {
						p := &Policy{Kind: kind, Sequence: sequence, Low: 0.2, High: 0.3, Beta: beta, MaxTokens: 9}
						if kind == "cispo" {
							p.High = 1.4
						}
						b := batch(rand.New(rand.NewPCG(1, 2)))
						if kind == "cispo" && beta != 0 {
							t.Skip("the ratio moves in one term and not in the other")
						}
						differences(t, p, b, offPolicy)
					})
				}
			}
		}
	}
}

func differences(t *testing.T, p *Policy, b []Completion, offPolicy bool) {
	var n int
	for i := range b {
		n += len(b[i].LogProbs)
		if !offPolicy { // the ratio is one, and its derivative there is asked for
			b[i].Old = nil
		}
	}
	still := slices.Clone(b) // where the ratio is measured from
	for i := range still {
		still[i].LogProbs = slices.Clone(b[i].LogProbs)
	}
	grad := make([]float32, n)
	p.Loss(b, 2, 13, grad)
	at := func() float64 {
		c := slices.Clone(b)
		for i := range c {
			if c[i].Old == nil {
				c[i].Old = still[i].LogProbs
			}
			if p.Kind == "cispo" { // move Old along, so that the ratio stays
				c[i].Old = slices.Clone(c[i].Old)
				for k := range c[i].Old {
					c[i].Old[k] += c[i].LogProbs[k] - still[i].LogProbs[k]
				}
			}
		}
		v, _ := p.Loss(c, 2, 13, make([]float32, n))
		return v
	}
	k := 0
	for i := range b {
		for j := range b[i].LogProbs {
			const h = 1.0 / 1024
			x := b[i].LogProbs[j]
			b[i].LogProbs[j] = x + h
			up := at()
			b[i].LogProbs[j] = x - h
			down := at()
			b[i].LogProbs[j] = x
			if want := (up - down) / (2 * h); math.Abs(want-float64(grad[k])) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("completion %d, token %d: %g, differences give %g", i, j, grad[k], want)
			}
			if b[i].Masked && grad[k] != 0 {
				t.Errorf("completion %d is masked and has a gradient", i)
			}
			k++
		}
	}
}

// What each kind divides by, seen in on-policy losses: -A times a count over the divisor.
func TestPolicyDivisors(t *testing.T) {
	b := []Completion{
		{LogProbs: []float32{-1, -1}, Entropy: []float32{1, 1}, Advantage: 1},
		{LogProbs: []float32{-1, -1, -1, -1}, Entropy: []float32{2, 2, 2, 2}, Advantage: 2},
		{LogProbs: []float32{-1}, Entropy: []float32{9}, Advantage: 5, Masked: true},
	}
	for kind, want := range map[string]float64{
		"grpo": -(1.0 + 2) / 3 / 2, "bnpo": -(2.0 + 8) / 6 / 2, "dr_grpo": -(2.0 + 8) / (3 * 16) / 2, "dapo": -(2.0 + 8) / 20,
		"cispo": (2.0 + 8) / 20, // times log p = -1, and High above the ratio
	} {
		p := &Policy{Kind: kind, Low: 0.2, High: 5, MaxTokens: 16}
		got, m := p.Loss(b, 2, 20, make([]float32, 7))
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: loss %g, want %g", kind, got, want)
		}
		if want := (2.0 + 8) / 6; math.Abs(m["entropy"]-want) > 1e-6 {
			t.Errorf("%s: entropy %g, want %g", kind, m["entropy"], want)
		}
	}
}

func TestPolicyClipRatios(t *testing.T) {
	logs := func(ratios ...float64) (logp, old []float32) {
		for _, r := range ratios {
			logp, old = append(logp, float32(math.Log(r))-1), append(old, -1)
		}
		return logp, old
	}
	var b []Completion
	for i, ratios := range [][]float64{{0.5, 1, 1.5, 1.1}, {0.5, 1.5}, {2}} {
		c := Completion{Advantage: []float64{1, -1, 1}[i], Masked: i == 2}
		c.LogProbs, c.Old = logs(ratios...)
		c.Entropy = make([]float32, len(ratios))
		b = append(b, c)
	}
	p := &Policy{Kind: "grpo", Low: 0.2, High: 0.2}
	_, m := p.Loss(b, 1, 6, make([]float32, 7))
	for name, want := range map[string]float64{"clip_ratio/low_mean": 1.0 / 6, "clip_ratio/high_mean": 1.0 / 6, "clip_ratio/region_mean": 2.0 / 6,
		"clip_ratio/low_min": 0, "clip_ratio/high_max": 0.25} {
		if math.Abs(m[name]-want) > 1e-12 {
			t.Errorf("%s is %g, want %g", name, m[name], want)
		}
	}
}

func TestAdvantages(t *testing.T) {
	rewards := []float64{1, 0, 0, 1, 0.1, 0.1, 0.1, 0.1}
	got, zero := Advantages(rewards, 4, "group")
	one := 0.5 / (math.Sqrt(1.0/3) + 1e-4)
	if want := []float64{one, -one, -one, one, 0, 0, 0, 0}; !slices.Equal(got, want) || zero != 0.5 {
		t.Errorf("group: %v, %g; want %v", got, zero, want)
	}
	got, zero = Advantages(rewards, 4, "none")
	if want := []float64{0.5, -0.5, -0.5, 0.5, 0, 0, 0, 0}; !slices.Equal(got, want) || zero != 0.5 {
		t.Errorf("none: %v, %g; want %v", got, zero, want)
	}
	got, zero = Advantages(rewards, 4, "batch")
	_, all := Deviation(rewards)
	if b := 0.5 / (all + 1e-4); got[0] != b || got[7] != 0 || zero != 0 {
		t.Errorf("batch: %v, %g; want %g first", got, zero, b)
	}
}
