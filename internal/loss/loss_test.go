package loss

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func drawnAnswer(r *rand.Rand) Answer {
	a := Answer{Tokens: 3 + r.IntN(9), PromptTokens: 2 + r.IntN(5)}
	a.LogProb, a.Prompt = -float64(a.Tokens)*(0.2+r.Float64()), -float64(a.PromptTokens)*r.Float64()
	a.Reference = a.LogProb + 3*r.NormFloat64()
	return a
}

func preferenceKinds() []string {
	return slices.Sorted(maps.Keys(maps.Collect(func(yield func(string, bool) bool) {
		for k := range pairwise {
			yield(k, true)
		}
		for k := range batchwise {
			yield(k, true)
		}
	})))
}

// Each loss against central differences, over pairs of other lengths, at other parameters.
func TestPreferenceGradients(t *testing.T) {
	for _, kind := range preferenceKinds() {
		t.Run(kind, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				pairs := make([]Pair, 1+r.IntN(5))
				for i := range pairs {
					pairs[i] = Pair{drawnAnswer(r), drawnAnswer(r)}
				}
				p := Preference{Kind: kind, Beta: 0.05 + r.Float64(), LabelSmoothing: 0.01 + 0.3*r.Float64(), Gamma: r.Float64()}
				_, grads := p.Loss(pairs)
				value := func() float64 { v, _ := p.Loss(pairs); return v }
				for i := range pairs {
					preferenceNear(t, "chosen", grads[i].Chosen, byDifferences(&pairs[i].Chosen.LogProb, value))
					preferenceNear(t, "rejected", grads[i].Rejected, byDifferences(&pairs[i].Rejected.LogProb, value))
					preferenceNear(t, "prompt", grads[i].Prompt, byDifferences(&pairs[i].Chosen.Prompt, value))
				}
			}
		})
	}
}

func TestKTOGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		rows := make([]Labelled, 1+r.IntN(5))
		for i := range rows {
			rows[i] = Labelled{drawnAnswer(r), r.IntN(2) == 0}
		}
		k := KTO{Beta: 0.05 + r.Float64(), Desirable: 0.5 + r.Float64(), Undesirable: 0.5 + r.Float64()}
		kl := r.Float64()
		_, grads := k.Loss(rows, kl)
		for i := range rows {
			preferenceNear(t, "answer", grads[i], byDifferences(&rows[i].LogProb, func() float64 { v, _ := k.Loss(rows, kl); return v }))
		}
	}
}

func byDifferences(x *float64, value func() float64) float64 {
	const h = 1e-5
	at := *x
	*x = at + h
	up := value()
	*x = at - h
	down := value()
	*x = at
	return (up - down) / (2 * h)
}

func preferenceNear(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
		t.Errorf("%s: derivative %g, by differences %g", what, got, want)
	}
}

// What the papers say of the model as it starts: its log-ratios are zero.
func TestPreferencesAtTheReference(t *testing.T) {
	a := Answer{LogProb: -7, Reference: -7, Tokens: 4}
	pairs := []Pair{{a, a}, {a, a}}
	for kind, want := range map[string]float64{
		"sigmoid": math.Ln2, "hinge": 1, "robust": math.Ln2, "ipo": 25, "nca_pair": 2 * math.Ln2, "bco_pair": 2 * math.Ln2, "sppo_hard": 50,
		"aot": math.Ln2, "aot_unpaired": math.Ln2, "apo_zero": 1, "apo_down": 1, "sigmoid_norm": math.Ln2, "discopop": math.Ln2/2 + 0.5,
	} {
		p := Preference{Kind: kind, Beta: 0.1}
		if got, _ := p.Loss(pairs); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %g, want %g", kind, got, want)
		}
		if m := p.Metrics(pairs); m["rewards/margins"] != 0 || m["rewards/accuracies"] != 0 || m["logps/chosen"] != -7 {
			t.Errorf("%s: %v", kind, m)
		}
	}
	k := KTO{Beta: 0.1, Desirable: 1, Undesirable: 3}
	if got, _ := k.Loss([]Labelled{{a, true}, {a, false}}, k.Reference([]Answer{a})); got != 1 {
		t.Errorf("kto is %g, want 1", got)
	}
}

// Large margins overflow nothing.
func TestPreferencesFarAway(t *testing.T) {
	far, near := Answer{LogProb: -5000, Tokens: 10, PromptTokens: 1}, Answer{LogProb: -1e-9, Tokens: 10, PromptTokens: 1}
	for _, kind := range preferenceKinds() {
		if kind == "discopop" { // its exponential term is unbounded
			continue
		}
		for _, x := range []Pair{{far, near}, {near, far}} {
			v, g := Preference{Kind: kind, Beta: 1, LabelSmoothing: 0.1, Gamma: 1}.Loss([]Pair{x})
			if bad := v + g[0].Chosen + g[0].Rejected; math.IsNaN(bad) || math.IsInf(bad, 0) {
				t.Errorf("%s: %g, %+v", kind, v, g)
			}
		}
	}
}
