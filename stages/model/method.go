package model

import (
	"context"
	"errors"

	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
)

// method is how a kind makes updates of its data. Items are what batch.rows counts: rows, packed bins, pairs, prompts.
type method struct {
	items   int
	repeat  int   // updates made from the same items; 0 is 1
	lengths []int // of the items, where those of like length are to share a step
	// step makes one update from the items of each micro-batch.
	step func(ctx context.Context, t *train.Trainer, micro [][]int, rate float64) (outcome, error)
	// rows names the dataset's rows of an item, for errors.
	rows func(item int) []int64
	eval *evaluation // absent where nothing is measured on the way
	// carried points at what a later step goes on from besides weights and moments; a checkpoint holds it as JSON. It may be nil.
	carried any
}

// outcome is what an update reports: metrics, under TRL's names, are logged as means over the steps that had them.
type outcome struct {
	train.Result
	tokens  int64
	metrics map[string]float64
}

// settings is the configuration of its evaluation; nil without one.
func (f method) settings() *schemas.Evaluation {
	if f.eval == nil {
		return nil
	}
	return f.eval.Evaluation
}

func (f method) rowsOf(micro [][]int) []int64 {
	var rows []int64
	for _, batch := range micro {
		for _, item := range batch {
			rows = append(rows, f.rows(item)...)
		}
	}
	return rows
}

// likelihood is the method of train.sft and model.pretrain: the mean negative log-likelihood over the labels of the whole step
// (as TRL's SFT divides it), of bins of examples. Its metrics are means over the micro-batches.
func likelihood(bins [][]train.Example, dft bool) method {
	return method{
		items: len(bins),
		rows: func(item int) (rows []int64) {
			for _, e := range bins[item] {
				rows = append(rows, e.Row)
			}
			return rows
		},
		step: func(ctx context.Context, t *train.Trainer, micro [][]int, rate float64) (o outcome, err error) {
			batches := make([][]train.Example, len(micro))
			var labels int64
			for i, items := range micro {
				for _, k := range items {
					for _, e := range bins[k] {
						labels += e.Labels()
						o.tokens += int64(len(e.IDs))
					}
					batches[i] = append(batches[i], bins[k]...)
				}
			}
			if labels == 0 {
				return o, errors.New("no label in the step")
			}
			o.metrics = map[string]float64{}
			o.Result, err = t.Step(ctx, len(batches), func(i int) (float64, error) {
				sums, err := t.NLL(batches[i], 1/float64(labels), dft)
				if tensor.OnDevice() { // which is not asked how it went
					return sums.Loss, err
				}
				o.metrics["entropy"] += sums.Entropy / float64(len(batches))
				o.metrics["mean_token_accuracy"] += sums.Accuracy / float64(len(batches))
				return sums.Loss, err
			}, rate)
			return o, err
		},
	}
}
