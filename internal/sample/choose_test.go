package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// The short way to a token of the whole distribution takes the one that the sorted distribution gives, far ones too.
func TestWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 3000)
	for i := range logits {
		logits[i] = float32(4 * r.NormFloat64())
	}
	logits[7], logits[8] = logits[9], float32(math.Inf(-1)) // a tie, and what cannot be drawn
	c := newChooser(Options{Temperature: 1.3}, nil)
	sorted := c.distribution(logits)
	fell := 0
	for i := range 2000 {
		draw := r.Float64()
		if i%10 == 0 {
			draw = 1 - math.Pow(10, -1-6*draw) // where the unlikely are
		}
		token, ok := c.whole(logits, draw)
		if !ok {
			fell++
			continue
		}
		if want := pick(sorted, draw); token != want {
			t.Errorf("draw %v: token %d, sorted %d", draw, token, want)
		}
	}
	if fell == 0 || fell > 200 {
		t.Errorf("%d of 2000 draws fell beyond the likely", fell)
	}
	if _, ok := c.whole([]float32{float32(math.NaN()), 1}, 0.5); ok {
		t.Error("drew from what is no distribution")
	}
}

// Requests with one prompt answer as those that read it themselves, whether they begin together or one takes another's place.
func TestSharedPrompt(t *testing.T) {
	guard(t, func() {
		dir := "../model/testdata/llama-tied"
		m, err := model.Load(dir, tensor.Float32, false)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		long, short := toyPrompt(t, dir, "33"), toyPrompt(t, dir, "1")
		prompts := [][]int32{long, long, long, long, long, short, short, short}
		for _, o := range []Options{{}, {Temperature: 1.1, Seed: 9}} {
			alone, together := answers(t, m, prompts, 1, 12, o, 2), answers(t, m, prompts, 3, 12, o, 2)
			for i := range alone {
				if !slices.Equal(alone[i], together[i]) {
					t.Errorf("temperature %g, request %d: alone %v, together %v", o.Temperature, i, alone[i], together[i])
				}
			}
		}
	})
}
