package loss

import (
	"fmt"
	"math"
	"slices"
)

// Advantages is how much better each reward is than the mean of its group, groups of so many behind one another, over a
// standard deviation (unbiased, + 1e-4, as TRL 1.16): its group's, with scale "batch" that of all rewards, with "none" one. A
// group of equal rewards has advantage zero. zero is the share of rewards whose deviation is zero.
func Advantages(rewards []float64, group int, scale string) (advantages []float64, zero float64) {
	const least = 1e-8 // torch.isclose to zero
	advantages = make([]float64, len(rewards))
	_, all := Deviation(rewards)
	for from := 0; from < len(rewards); from += group {
		own := rewards[from : from+group]
		mean, deviation := Deviation(own)
		equal := slices.Min(own) == slices.Max(own) // their mean may differ from them in the last bit
		if equal {
			deviation = 0
		}
		var over float64
		switch scale {
		case "group":
			over = deviation + 1e-4
		case "batch":
			deviation = all
			over = deviation + 1e-4
		case "none":
			over = 1
		default:
			panic(fmt.Sprintf("scale %q is not known", scale))
		}
		if deviation <= least {
			zero += float64(group) / float64(len(rewards))
		}
		for i, r := range own {
			if !equal {
				advantages[from+i] = (r - mean) / over
			}
		}
	}
	return advantages, zero
}

// Deviation is the mean of x and its standard deviation, unbiased; zero where there is but one.
func Deviation(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if len(x) < 2 {
		return mean, 0
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)-1))
}
