package model

import (
	"context"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
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
	rows, err := preferencesFor(ctx, j, &c, "data", "reference")
	if err != nil {
		return err
	}
	rows.report(j, c.MaxLength)
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
	pairwise := loss.Preference{Kind: c.Loss, Beta: c.Beta, LabelSmoothing: c.LabelSmoothing, Gamma: c.Gamma}
	kto := loss.KTO{Beta: c.Beta, Desirable: c.DesirableWeight, Undesirable: c.UndesirableWeight}
	f := preferred(rows.Pairs, pairwise)
	if c.Loss == schemas.KTO {
		f = judged(rows.Judged, kto)
	}
	if c.Eval != nil {
		others, err := preferencesFor(ctx, j, &c, "eval.data", "eval.reference")
		if err != nil {
			return err
		}
		j.Log("evaluated on %d rows each %d steps", len(others.Pairs)+len(others.Judged), c.Eval.Every)
		if c.Loss == schemas.KTO {
			f.eval = held(c.Eval, others.Judged, func(m *model.Model, batch []train.Judged) (map[string]float64, error) {
				return train.MeasureKTO(m, batch, kto)
			})
		} else {
			f.eval = held(c.Eval, others.Pairs, func(m *model.Model, batch []train.Pair) (map[string]float64, error) {
				return train.MeasurePreference(m, batch, pairwise)
			})
		}
	}
	if err := fit(ctx, j, &c.Training, m, store, f); err != nil {
		return err
	}
	return saveTrained(j, m, base, rows.template)
}

// preferencesFor makes the rows of an input ready, with what the reference said of them.
func preferencesFor(ctx context.Context, j *stages.Job, c *schemas.TrainDPO, field, reference string) (*preferences, error) {
	rows, err := readPreferences(ctx, j, field, j.In("model").Path, c.MaxLength, c.Date, c.Mismatched())
	if err != nil || c.ReferenceFree() {
		return rows, err
	}
	if err := rows.refer(j.In(reference).Path); err != nil {
		return nil, stages.Errorf(reference, "%w", err)
	}
	return rows, nil
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
