package model

import (
	"context"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Pretrain is model.pretrain: the texts behind one another, each ended by eos, cut into rows of maxLength tokens.
// A row may begin in the middle of a text and hold several, as in GPT-2's training.
func Pretrain(ctx context.Context, j *stages.Job) error {
	var c schemas.ModelPretrain
	if err := j.Decode(&c); err != nil {
		return err
	}
	base := j.In("model")
	dtype, err := computeDtype(c.Dtype)
	if err != nil {
		return stages.Errorf("dtype", "%w", err)
	}
	examples, err := blocks(ctx, j, base.Path, c.MaxLength)
	if err != nil {
		return err
	}
	m, err := model.Load(base.Path, dtype, true)
	if err != nil {
		return stages.Errorf("model", "%w", err)
	}
	defer m.Free()
	j.Log("%d parameters", m.Parameters())
	if err := fit(ctx, j, &c.Training, m, &m.Base, likelihood(train.Unpacked(examples))); err != nil {
		return err
	}
	return m.Save(j.Out("model"), base.Path, tensor.Float32)
}

// blocks is the dataset's texts as rows of length tokens, all trained; the last may be shorter.
func blocks(ctx context.Context, j *stages.Job, dir string, length int) ([]train.Example, error) {
	d, err := dataset.Open(j.In("data").Path)
	if err != nil {
		return nil, stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	if d.Format != dataset.Text {
		return nil, stages.Errorf("data", "rows are %s, plain text is wanted: name its column in data.load, columns: {text: …}", d.Format)
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	defer tok.Close()
	if tok.EOS.ID < 0 {
		return nil, stages.Errorf("model", "the tokenizer has no eos token, which ends a text")
	}
	var all []int32
	var bad dataset.BadRows
	var n int64
	for row, err := range d.All() {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n++
		text, _ := d.Get(row, "text").(string)
		ids, _, err := tok.Encode(text, false)
		if err != nil {
			bad.Add(&dataset.RowError{Where: j.Row("data", n), Err: err})
			continue
		}
		all = append(append(all, ids...), tok.EOS.ID)
		j.Progress(n, d.Rows, "rows")
	}
	if err := bad.Err(); err != nil {
		return nil, stages.Errorf("data", "%w", err)
	}
	var examples []train.Example
	for len(all) > 1 {
		k := min(length, len(all))
		x := train.Example{IDs: all[:k:k], Trained: make([]bool, k), Row: int64(len(examples) + 1)}
		for i := range x.Trained {
			x.Trained[i] = true
		}
		examples = append(examples, x)
		all = all[k:]
	}
	if len(examples) == 0 {
		return nil, stages.Errorf("data", "no text")
	}
	j.Summary("rows", float64(n))
	j.Log("%d texts in %d rows of %d tokens", n, len(examples), length)
	return examples, nil
}
