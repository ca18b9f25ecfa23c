package model

import (
	"context"
	"errors"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
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
	examples, err := blocks(ctx, j, "data", base.Path, c.MaxLength)
	if err != nil {
		return err
	}
	m, store, err := openTrained(j, base, dtype, nil, &c.Training)
	if err != nil {
		return err
	}
	defer m.Free()
	f := likelihood(train.Unpacked(examples), false)
	if c.Eval != nil {
		others, err := blocks(ctx, j, "eval.data", base.Path, c.MaxLength)
		if err != nil {
			return err
		}
		f.eval = held(c.Eval, train.Unpacked(others), likely(false))
	}
	if err := fit(ctx, j, &c.Training, m, store, f); err != nil {
		return err
	}
	return m.Save(j.Out("model"), base.Path, tensor.Float32)
}

// blocks is the dataset's texts as rows of length tokens, all trained; the last may be shorter.
func blocks(ctx context.Context, j *stages.Job, field, dir string, length int) ([]train.Example, error) {
	d, err := j.Dataset(field)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	if err := data.Wants("model.pretrain", d.Format, dataset.Text); err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	defer tok.Close()
	if err := hasEnd(tok); err != nil {
		return nil, stages.Errorf("model", "%w", err)
	}
	var all []int32
	var ends []int // of each text in all
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
		ids, err := textIDs(tok, &d.Header, row)
		if err != nil {
			bad.Add(&dataset.RowError{Where: j.Row(field, n), Err: err})
			continue
		}
		all = append(all, ids...)
		ends = append(ends, len(all))
		j.Progress(n, d.Rows, "rows")
	}
	if err := bad.Err(); err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	var examples []train.Example
	for from := 0; len(all)-from > 1; from += length {
		k := min(length, len(all)-from)
		text, _ := slices.BinarySearch(ends, from+1) // that the row begins in
		x := train.Example{IDs: all[from : from+k : from+k], Trained: make([]bool, k), Row: int64(text + 1)}
		for i := range x.Trained {
			x.Trained[i] = true
		}
		examples = append(examples, x)
	}
	if len(examples) == 0 {
		return nil, stages.Errorf(field, "no text")
	}
	if err := checkPositions(j, field, dir, len(examples[0].IDs)); err != nil {
		return nil, err
	}
	if field == "data" {
		j.Summary("rows", float64(n))
	}
	j.Log("%d texts in %d rows of %d tokens", n, len(examples), length)
	return examples, nil
}

// textIDs is a row's text, ended by eos.
func textIDs(tok *tokenizer.Tokenizer, h *dataset.Header, row dataset.Row) ([]int32, error) {
	text, _ := h.Get(row, "text").(string)
	ids, _, err := tok.Encode(text, false)
	return append(ids, tok.EOS.ID), err
}

func hasEnd(tok *tokenizer.Tokenizer) error {
	if tok.EOS.ID < 0 {
		return errors.New("the tokenizer has no eos token, which ends a text")
	}
	return nil
}
