package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// A draw by bands takes the token that the sorted distribution gives, far ones too.
func TestWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 3000)
	for i := range logits {
		logits[i] = float32(4 * r.NormFloat64())
	}
	logits[7], logits[8] = logits[9], float32(math.Inf(-1)) // a tie, and what cannot be drawn
	c := newChooser(Options{Temperature: 1.3}, nil)
	sorted := c.distribution(logits)
	for i := range 2000 {
		draw := r.Float64()
		if i%10 == 0 {
			draw = 1 - math.Pow(10, -1-6*draw) // where the unlikely are
		}
		token, ok := c.whole(logits, draw)
		if want := pick(sorted, draw); !ok || token != want {
			t.Errorf("draw %v: token %d %v, sorted %d", draw, token, ok, want)
		}
	}
	if _, ok := c.whole([]float32{float32(math.NaN()), 1}, 0.5); ok {
		t.Error("drew from what is no distribution")
	}
}

func BenchmarkWhole(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, spread := range map[string]float64{"flat": 0.1, "steep": 3} {
		logits := make([]float32, 49152)
		for i := range logits {
			logits[i] = float32(spread * r.NormFloat64())
		}
		c := newChooser(Options{Temperature: 1}, nil)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c.whole(logits, r.Float64())
			}
		})
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
