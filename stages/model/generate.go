package model

import (
	"context"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Generate is generate: n completions of every row, in a column that joins the row.
func Generate(ctx context.Context, j *stages.Job) error {
	var c schemas.Generate
	if err := j.Decode(&c); err != nil {
		return err
	}
	d, err := j.Dataset("data")
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	rows, texts, err := answer(ctx, j, "model", d, &c.Answering)
	if err != nil {
		return err
	}
	return writeCompletions(j, d, rows, texts, c.N)
}

// options is a config's sampling for one sequence.
func options(c schemas.Sampling, sequence uint64) sample.Options {
	o := sample.Options{Seed: uint64(c.Seed), Sequence: sequence}
	for from, to := range map[*float64]*float64{c.Temperature: &o.Temperature, c.TopP: &o.TopP, c.MinP: &o.MinP, c.RepetitionPenalty: &o.RepetitionPenalty} {
		if from != nil {
			*to = *from
		}
	}
	if c.TopK != nil {
		o.TopK = *c.TopK
	}
	return o
}

// writeCompletions writes the rows with the column completion, or completions (a list) where n is above one. Rows of a text
// prompt and one completion are then prompt-completion rows, which train.sft takes.
func writeCompletions(j *stages.Job, d *dataset.Dataset, rows []prompt, texts [][]string, n int) error {
	column := "completion"
	if n > 1 {
		column = "completions"
	}
	format, roles := d.Format, map[dataset.Role]string{}
	for role, name := range d.Columns {
		roles[role] = name
	}
	if _, text := d.Get(rows[0].from, "prompt").(string); format == dataset.Prompt && text && n == 1 {
		format = dataset.PromptCompletion
		roles["completion"] = column
	}
	w, err := dataset.Create(j.Out("data"), format, roles, append(d.Names(), column)...)
	if err != nil {
		return err
	}
	defer w.Discard()
	for i, p := range rows {
		row := p.from.Clone()
		if n > 1 {
			row.Set(column, values(texts[i]))
		} else {
			row.Set(column, texts[i][0])
		}
		if err := w.Write(row); err != nil {
			return err
		}
		j.From("data", "data", p.row)
	}
	return w.Close()
}

func values(texts []string) []ordjson.Value {
	list := make([]ordjson.Value, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}
