package train

import (
	"context"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// Measure is what a pass over bins that are not trained on comes to, a batch of so many bins at a time: each batch's mean loss over its
// labels, averaged over the bins, and the means of its other figures, averaged over the batches. So does transformers' Trainer
// evaluate, and TRL's SFTTrainer name it.
func Measure(ctx context.Context, m *model.Model, bins [][]Example, batch int, dft bool) (t Tally, err error) {
	batches := float64((len(bins) + batch - 1) / batch)
	for from := 0; from < len(bins); from += batch {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		var examples []Example
		some := bins[from:min(from+batch, len(bins))]
		for _, b := range some {
			examples = append(examples, b...)
		}
		l, err := Evaluate(m, examples, 1)
		if err != nil {
			return t, err
		}
		one := tally(l.LogProbs, l.Stats, tensor.TokenStats, dft)
		t.Loss += one.Loss / float64(max(len(l.LogProbs), 1)) * float64(len(some)) / float64(len(bins))
		t.Entropy += one.Entropy / batches
		t.Accuracy += one.Accuracy / batches
	}
	return t, nil
}
