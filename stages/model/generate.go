package model

import (
	"context"
	"strings"
	"time"

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
	d, err := dataset.Open(j.In("data").Path)
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

// answer has the model of a field answer every row of a dataset n times. The model is closed when it has.
func answer(ctx context.Context, j *stages.Job, field string, d *dataset.Dataset, c *schemas.Answering) ([]prompt, [][]string, error) {
	s, err := OpenSpeaker(j.In(field))
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	if s.Template.Substituted {
		j.Warn("the model has no chat template: plain is used")
	}
	rows, err := s.prompts(ctx, j, "data", d, c.System, c.Date, c.MaxNewTokens)
	if err != nil {
		return nil, nil, stages.Errorf("data", "%w", err)
	}
	texts := make([][]string, len(rows))
	var requests []*sample.Request
	var done, tokens int64
	for i, p := range rows {
		texts[i] = make([]string, c.N)
		for k := range c.N {
			r := s.Request(p.ids, options(c.Sampling, uint64(i*c.N+k)), c.MaxNewTokens, c.Stop)
			r.Done = func(answer []int32) error {
				text := s.Tokenizer.DecodeSkipSpecial(answer)
				if at := cut(text, c.Stop); at >= 0 {
					text = text[:at]
				}
				texts[i][k] = strings.TrimSpace(text)
				done++
				tokens += int64(len(answer))
				j.Progress(done, int64(len(rows)*c.N), "completions")
				return nil
			}
			requests = append(requests, r)
		}
	}
	start := time.Now()
	if err := sample.Generate(ctx, s.Model, requests, c.Batch); err != nil {
		return nil, nil, err
	}
	j.Summary("seconds", time.Since(start).Seconds())
	j.Summary("rows", float64(len(rows)))
	j.Summary("tokens", float64(tokens))
	return rows, texts, nil
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
