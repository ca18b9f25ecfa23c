package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Reject is curate.reject: n candidates a row, scored; the best of each row, best and worst as a pair, and all with their
// scores.
func Reject(ctx context.Context, j *stages.Job) error {
	var c schemas.CurateReject
	if err := j.Decode(&c); err != nil {
		return err
	}
	d, err := j.Dataset("data")
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	graders, err := openGraders(j, "graders", "", c.Graders, d)
	if err != nil {
		return err
	}
	defer graders.Close()
	rows, texts, err := answer(ctx, j, "model", d, &c.Answering)
	if err != nil {
		return err
	}
	candidates, err := score(ctx, j, "data", graders, rows, texts, func(done int) { j.Progress(int64(done), int64(len(rows)), "rows graded") })
	if err := errors.Join(err, graders.Close()); err != nil {
		return stages.Errorf("graders", "%w", err)
	}
	if err := writeCandidates(j, graders.Names(), rows, candidates); err != nil {
		return err
	}
	return keep(j, &c, d, rows, candidates)
}

// openGraders opens the graders of a field for rows of a dataset: before the model, while a mistake costs nothing yet. log
// names a folder of the job's log for what their programs say.
func openGraders(j *stages.Job, field, log string, graders map[string]schemas.WeightedGrader, d *dataset.Dataset) (*grade.Sum, error) {
	for _, name := range slices.Sorted(maps.Keys(graders)) {
		if err := grade.Answerable(graders[name].Grader, d); err != nil {
			return nil, stages.Errorf(field+"."+name, "%w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(j.Job.Log, log), 0o755); err != nil {
		return nil, err
	}
	sum, err := grade.NewSum(graders, &d.Header, grading(j, field, log))
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	return sum, nil
}

// candidate is an answer with its scores.
type candidate struct {
	text   string
	scores []float64 // of each grader
	sum    float64
}

// score scores the candidates of each row, telling how many rows are done; all bad rows are named at once.
func score(ctx context.Context, j *stages.Job, field string, graders *grade.Sum, rows []prompt, texts [][]string, tell func(done int)) ([][]candidate, error) {
	all := make([][]candidate, len(rows))
	var bad dataset.BadRows
grading:
	for i, p := range rows {
		for k, text := range texts[i] {
			scores, sum, err := graders.Score(ctx, grade.Completion{Text: text, Prompt: p.shown, Row: p.from})
			if err != nil {
				bad.Add(unscored(j.Row(field, p.row), text, k, len(texts[i]), err))
				if ctx.Err() != nil || errors.As(err, new(*grade.Fatal)) {
					break grading
				}
				break // one of a row is enough
			}
			all[i] = append(all[i], candidate{text, scores, sum})
		}
		tell(i + 1)
	}
	return all, bad.Err()
}

// unscored is an error about number k of the n completions of a row. Which it is and how it begins counts as its place, so that rows
// with the same mistake are still told together.
func unscored(where, text string, k, n int, err error) error {
	const most = 80 // characters shown
	if errors.As(err, new(*grade.OfRow)) {
		return &dataset.RowError{Where: where, Err: err}
	}
	where += ": completion "
	if n > 1 {
		where += fmt.Sprintf("%d ", k+1)
	}
	where += fmt.Sprintf("%.*q", most, text)
	if utf8.RuneCountInString(text) > most {
		where += "…"
	}
	return &dataset.RowError{Where: where, Err: err}
}

// writeCandidates writes the port candidates: a row a candidate, with the number of the row that it answers.
func writeCandidates(j *stages.Job, names []string, rows []prompt, candidates [][]candidate) error {
	w, err := dataset.Create(j.Out("candidates"), dataset.PromptCompletion,
		map[dataset.Role]string{"prompt": "prompt", "completion": "completion"}, "row", "candidate", "prompt", "completion", "scores", "score")
	if err != nil {
		return err
	}
	defer w.Discard()
	form := &lesson{format: dataset.PromptCompletion, roles: map[dataset.Role]string{"prompt": "prompt", "completion": "completion"}}
	for i := range rows {
		for k, c := range candidates[i] {
			row := form.row(&prompt{from: ordjson.New()}, rows[i].shown, map[dataset.Role]string{"completion": c.text})
			scores := ordjson.New()
			for g, name := range names {
				scores.Set(name, float(c.scores[g]))
			}
			row.Set("row", number(rows[i].row))
			row.Set("candidate", number(int64(k+1)))
			row.Set("scores", scores)
			row.Set("score", float(c.sum))
			j.From("candidates", "data", rows[i].row)
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// keep writes the ports data and pairs, and tells how the candidates did.
func keep(j *stages.Job, c *schemas.CurateReject, d *dataset.Dataset, rows []prompt, candidates [][]candidate) error {
	best, pair := lessons(d), newLesson(d, dataset.Preference)
	data, err := best.create(j.Out("data"), "score")
	if err != nil {
		return err
	}
	defer data.Discard()
	pairs, err := pair.create(j.Out("pairs"), "score_chosen", "score_rejected")
	if err != nil {
		return err
	}
	defer pairs.Discard()
	passing := passMark(c)
	var total, bests, passed, rowsPassed, ties float64
	for i := range rows {
		first, last := candidates[i][0], candidates[i][0]
		n := 0.0
		for _, x := range candidates[i] {
			if x.sum > first.sum { // of equal ones the first
				first = x
			}
			if x.sum < last.sum {
				last = x
			}
			if total += x.sum; x.sum >= passing {
				n++
			}
		}
		bests += first.sum
		if passed += n; n > 0 {
			rowsPassed++
		}
		if first.sum == last.sum {
			ties++
		}
		if c.Minimum != nil && first.sum < *c.Minimum {
			continue
		}
		if first.text != "" { // nothing to learn from
			row := best.row(&rows[i], rows[i].shown, map[dataset.Role]string{"completion": first.text})
			row.Set("score", float(first.sum))
			j.From("data", "data", rows[i].row)
			if err := data.Write(row); err != nil {
				return err
			}
		}
		if j.Rows > 0 && first.sum == last.sum { // a smoke's answers mostly fail alike, and what reads the pairs is to be tried
			for _, x := range candidates[i] {
				if x.text != first.text {
					last = x
				}
			}
		}
		if (first.sum > last.sum || j.Rows > 0) && first.text != last.text {
			row := pair.row(&rows[i], rows[i].shown, map[dataset.Role]string{"chosen": first.text, "rejected": last.text})
			row.Set("score_chosen", float(first.sum))
			row.Set("score_rejected", float(last.sum))
			j.From("pairs", "data", rows[i].row)
			if err := pairs.Write(row); err != nil {
				return err
			}
		}
	}
	asked := float64(len(rows))
	j.Summary("score", total/asked/float64(c.N))
	j.Summary("score_best", bests/asked)
	j.Summary("pass@1", passed/asked/float64(c.N))
	j.Summary(fmt.Sprintf("pass@%d", c.N), rowsPassed/asked)
	j.Summary("ties", ties)
	j.Summary("rows_kept", float64(data.Rows()))
	j.Summary("pairs", float64(pairs.Rows()))
	if data.Rows() == 0 {
		return stages.Errorf("minimum", "no row of %d has a candidate to keep; the best of each scores %g on average", len(rows), bests/asked)
	}
	return errors.Join(data.Close(), pairs.Close())
}

// passMark is the score from which a candidate counts as right: the minimum, else that of one that every grader finds right.
func passMark(c *schemas.CurateReject) float64 {
	if c.Minimum != nil {
		return *c.Minimum
	}
	var all float64
	for _, g := range c.Graders {
		all += max(g.Weight, 0)
	}
	return all
}
