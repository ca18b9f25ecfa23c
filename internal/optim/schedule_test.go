package optim

import (
	"math"
	"testing"
)

// The shares are those of transformers 5.23's get_wsd_schedule(warmup, decay, steps, min_lr_ratio=minimum).
func TestWarmupStableDecay(t *testing.T) {
	for _, c := range []struct {
		Schedule
		want []float64 // the last is of the step after the end
	}{
		{Schedule{Warmup: 3, Decay: 4, Minimum: 0.1}, []float64{0.1, 0.4, 0.7, 1, 1, 1, 1, 1, 1, 0.868198051534, 0.55, 0.231801948466, 0.1}},
		{Schedule{Decay: 0.2}, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5, 0}},
		{Schedule{Warmup: 2, Decay: 1}, []float64{0, 0.5, 1, 1, 1, 0}},
	} {
		c.Kind = "wsd"
		for i, want := range c.want {
			got, err := c.At(int64(i), int64(len(c.want)-1))
			if err != nil || math.Abs(got-want) > 1e-11 {
				t.Errorf("%+v: step %d: %v, %v; want %v", c.Schedule, i, got, err, want)
			}
		}
	}
}
