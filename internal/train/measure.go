package train

import (
	"context"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// Averaged is what items that are not trained on come to, so many a batch: measure gives the figures of the items from … to. The
// loss is a mean over the items, every other figure one over the batches that have it. So does transformers' Trainer evaluate, and
// TRL's trainers beside it.
func Averaged(ctx context.Context, items, batch int, measure func(from, to int) (map[string]float64, error)) (map[string]float64, error) {
	sums, counts := map[string]float64{}, map[string]float64{}
	for from := 0; from < items; from += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+batch, items)
		found, err := measure(from, to)
		if err != nil {
			return nil, err
		}
		for name, v := range found {
			n := 1.0
			if name == "loss" {
				n = float64(to - from)
			}
			sums[name] += n * v
			counts[name] += n
		}
	}
	for name, n := range counts {
		sums[name] /= n
	}
	return sums, nil
}

// Measure is the likelihood of a batch that is not trained on: the mean loss of its labels and its other figures, under TRL's names.
func Measure(m *model.Model, batch []Example, dft bool) (map[string]float64, error) {
	l, err := Evaluate(m, batch, 1)
	if err != nil {
		return nil, err
	}
	t := tally(l.LogProbs, l.Stats, tensor.TokenStats, dft)
	return map[string]float64{"loss": t.Loss / float64(max(len(l.LogProbs), 1)), "entropy": t.Entropy, "mean_token_accuracy": t.Accuracy}, nil
}
