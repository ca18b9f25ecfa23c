package model

import (
	"context"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// TrainDPO is train.dpo: preference training of the whole model or of an adapter, without dropout. What the reference says of the
// answers was computed by a stage of its own: see Reference.
func TrainDPO(ctx context.Context, j *stages.Job) error {
	var c schemas.TrainDPO
	if err := j.Decode(&c); err != nil {
		return err
	}
	base := j.In("model")
	dtype, err := computeDtype(c.Dtype)
	if err != nil {
		return stages.Errorf("dtype", "%w", err)
	}
	rows, err := readPreferences(ctx, j, base.Path, c.MaxLength, c.Date, c.Mismatched())
	if err != nil {
		return err
	}
	rows.report(j, c.MaxLength)
	if c.Reference != nil {
		if err := rows.refer(j.In("reference").Path); err != nil {
			return stages.Errorf("reference", "%w", err)
		}
	}
	lora := c.LoRA
	if lora != nil {
		still := *lora
		still.Dropout = 0
		lora = &still
	}
	m, store, err := openTrained(j, base, dtype, lora, &c.Training)
	if err != nil {
		return err
	}
	defer m.Free()
	f := preferred(rows.Pairs, loss.Preference{Kind: c.Loss, Beta: c.Beta, LabelSmoothing: c.LabelSmoothing, Gamma: c.Gamma})
	if c.Loss == schemas.KTO {
		f = judged(rows.Judged, loss.KTO{Beta: c.Beta, Desirable: c.DesirableWeight, Undesirable: c.UndesirableWeight})
	}
	if err := fit(ctx, j, &c.Training, m, store, f); err != nil {
		return err
	}
	return saveTrained(j, m, base, rows.template)
}

// preferred is the method of losses over pairs.
func preferred(pairs []train.Pair, p loss.Preference) method {
	return byBatch(pairs, func(x train.Pair) []train.Example { return []train.Example{x.Chosen.Example, x.Rejected.Example} },
		func(t *train.Trainer, batch []train.Pair, weight float64) (float64, map[string]float64, error) {
			return t.Preference(batch, p, weight)
		})
}

// judged is the method of KTO.
func judged(rows []train.Judged, k loss.KTO) method {
	return byBatch(rows, func(x train.Judged) []train.Example { return []train.Example{x.Example} },
		func(t *train.Trainer, batch []train.Judged, weight float64) (float64, map[string]float64, error) {
			return t.KTO(batch, k, weight)
		})
}

// byBatch is a method whose step is the mean of its micro-batches' means, as TRL's preference trainers divide it, and whose
// metrics are the means over the micro-batches that have them.
func byBatch[T any](items []T, examples func(T) []train.Example, backward func(t *train.Trainer, batch []T, weight float64) (float64, map[string]float64, error)) method {
	return method{
		items: len(items),
		rows:  func(item int) []int64 { return []int64{examples(items[item])[0].Row} },
		step: func(ctx context.Context, t *train.Trainer, micro [][]int, rate float64) (o outcome, err error) {
			batches := make([][]T, len(micro))
			for i, at := range micro {
				for _, k := range at {
					batches[i] = append(batches[i], items[k])
					for _, e := range examples(items[k]) {
						o.tokens += int64(len(e.IDs))
					}
				}
			}
			counts := map[string]float64{}
			o.metrics = map[string]float64{}
			o.Result, err = t.Step(ctx, len(batches), func(i int) (float64, error) {
				value, metrics, err := backward(t, batches[i], 1/float64(len(batches)))
				for name, v := range metrics {
					o.metrics[name] += v
					counts[name]++
				}
				return value, err
			}, rate)
			for name, n := range counts {
				o.metrics[name] /= n
			}
			return o, err
		},
	}
}
