package model

import (
	"context"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Distill is curate.distill: n rows a prompt, each with an answer of the teacher's.
func Distill(ctx context.Context, j *stages.Job) error {
	var c schemas.CurateDistill
	if err := j.Decode(&c); err != nil {
		return err
	}
	d, err := j.Dataset("data")
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	rows, texts, err := answer(ctx, j, "teacher", d, &c.Answering)
	if err != nil {
		return err
	}
	form := lessons(d)
	w, err := form.create(j.Out("data"))
	if err != nil {
		return err
	}
	defer w.Discard()
	empty := 0
	for i := range rows {
		shown := rows[i].shown
		if rows[i].system { // for the teacher alone
			shown = shown.([]ordjson.Value)[1:]
		}
		for _, text := range texts[i] {
			if text == "" { // nothing to learn from
				empty++
				continue
			}
			j.From("data", "data", rows[i].row)
			if err := w.Write(form.row(&rows[i], shown, map[dataset.Role]string{"completion": text})); err != nil {
				return err
			}
		}
	}
	if empty > 0 {
		j.Warn("%d of %d answers are empty and left out", empty, len(rows)*c.N)
	}
	j.Summary("rows_kept", float64(w.Rows()))
	if w.Rows() == 0 {
		return stages.Errorf("data", "every answer of the teacher's is empty")
	}
	return w.Close()
}
