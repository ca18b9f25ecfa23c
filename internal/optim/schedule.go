package optim

import (
	"fmt"
	"math"
)

// Schedule is the learning rate over steps.
type Schedule struct {
	Kind    string  // linear, cosine, constant, wsd
	Warmup  float64 // steps, or a share of all steps below one
	Minimum float64 // share of the learning rate that the decay ends at; wsd begins there too
	Decay   float64 // wsd: steps at the end, or a share of all steps below one
}

// At is the share of the learning rate for the update number step, from zero, of total: transformers' get_*_schedule.
func (s Schedule) At(step, total int64) (float64, error) {
	warmup := s.Warmup
	if warmup < 1 {
		warmup = math.Ceil(float64(total) * warmup)
	}
	if float64(step) < warmup {
		share := float64(step) / math.Max(1, warmup)
		if s.Kind == "wsd" {
			share = s.Minimum + (1-s.Minimum)*share
		}
		return share, nil
	}
	progress := (float64(step) - warmup) / math.Max(1, float64(total)-warmup)
	var share float64
	switch s.Kind {
	case "constant":
		return 1, nil
	case "linear":
		share = math.Max(0, 1-progress)
	case "cosine":
		share = math.Max(0, 0.5*(1+math.Cos(math.Pi*progress)))
	case "wsd":
		decay := s.Decay
		if decay < 1 {
			decay = math.Ceil(float64(total) * decay)
		}
		decay = math.Min(decay, float64(total)-warmup) // a decay longer than what is left begins after the warm-up
		done := math.Max(0, float64(step)-(float64(total)-decay))
		share = 0.5 * (1 + math.Cos(math.Pi*done/math.Max(1, decay)))
	default:
		return 0, fmt.Errorf("schedule %q is not known", s.Kind)
	}
	return s.Minimum + (1-s.Minimum)*share, nil
}
