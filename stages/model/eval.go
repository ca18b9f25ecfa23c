package model

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// Score is one suite's line of a report.
type Score struct {
	Metric string  `json:"metric"` // score (0 to 1) or perplexity
	Value  float64 `json:"value"`
	Rows   int64   `json:"rows"`
	Tokens int64   `json:"tokens"`
}

// Report is report.json.
type Report struct {
	Suites   map[string]Score `json:"suites"`
	Baseline map[string]Score `json:"baseline,omitempty"`
}

// Eval is eval: each suite's rows answered and graded, or their likelihood measured. The baseline is a report of its own,
// which an internal stage made with the same suites.
func Eval(ctx context.Context, j *stages.Job) error {
	var c schemas.Eval
	if err := j.Decode(&c); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Suites)) {
		d, err := j.Dataset("suites." + name + ".data")
		if err == nil {
			if c.Suites[name].Perplexity != nil {
				err = data.Wants("perplexity", d.Format, data.Taught...)
			} else {
				err = grade.Answerable(c.Suites[name].Grader, d)
			}
			d.Close()
		}
		if err != nil {
			return stages.Errorf("suites."+name, "%w", err)
		}
	}
	s, err := OpenSpeaker(j.In("model"))
	if err != nil {
		return err
	}
	defer s.Close()
	if s.Template.Substituted {
		j.Warn("the model has no chat template: plain is used")
	}
	out := j.Out("report")
	if err := os.MkdirAll(filepath.Join(out, "samples"), 0o755); err != nil {
		return err
	}
	report := Report{Suites: map[string]Score{}}
	said := map[question]answers{}
	for _, name := range slices.Sorted(maps.Keys(c.Suites)) {
		suite, field := c.Suites[name], "suites."+name
		d, err := j.Dataset(field + ".data")
		if err != nil {
			return stages.Errorf(field, "%w", err)
		}
		var score Score
		if suite.Perplexity != nil {
			score, err = perplexity(ctx, j, s, d, &c, name)
		} else {
			score, err = graded(ctx, j, s, d, &c, name, said)
		}
		d.Close()
		if err != nil {
			return stages.Errorf(field, "%w", err)
		}
		report.Suites[name] = score
		j.Summary(name, score.Value)
	}
	if in, ok := j.Inputs["baseline"]; ok {
		var base Report
		b, err := os.ReadFile(filepath.Join(in.Path, "report.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &base); err != nil {
			return stages.Errorf("baseline", "report.json: %w", err)
		}
		report.Baseline = base.Suites
	}
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "report.json"), append(b, '\n'), 0o644)
}

// question is what decides the answers of a suite in an eval: suites that ask the same of the same rows share them.
type question struct {
	data, system string
	maxNewTokens int
}

// answers are those to all rows of a suite.
type answers struct {
	texts  []string
	tokens int64
}

// graded answers every row, unless another suite has, and scores what came.
func graded(ctx context.Context, j *stages.Job, s *Speaker, d *dataset.Dataset, c *schemas.Eval, name string, said map[question]answers) (Score, error) {
	suite := c.Suites[name]
	g, err := grade.New(suite.Grader, &d.Header, grading(j, "suites."+name, "grader-"+name+".err"))
	if err != nil {
		return Score{}, err
	}
	defer g.Close()
	field := "suites." + name + ".data"
	rows, err := s.prompts(ctx, j, field, d, suite.System, c.Date, suite.MaxNewTokens)
	if err != nil {
		return Score{}, err
	}
	asked := question{j.In(field).Path, suite.System, suite.MaxNewTokens}
	heard, ok := said[asked]
	if !ok {
		if heard, err = s.greedily(ctx, j, rows, suite.MaxNewTokens, c.Batch, name); err != nil {
			return Score{}, err
		}
		said[asked] = heard
	}
	samples := make([]*ordjson.Object, len(rows))
	var bad dataset.BadRows
	var sum float64
	for i, p := range rows {
		score, err := g.Score(ctx, grade.Completion{Text: heard.texts[i], Prompt: p.shown, Row: p.from})
		if err == nil && (score < 0 || score > 1) {
			err = fmt.Errorf("the score %g is not between 0 and 1", score)
		}
		if err != nil {
			bad.Add(unscored(j.Row(field, p.row), heard.texts[i], 0, 1, err))
			if ctx.Err() != nil || errors.As(err, new(*grade.Fatal)) {
				break
			}
			continue
		}
		sum += score
		samples[i] = ordjson.New(ordjson.Member{Key: "row", Value: number(p.row)},
			ordjson.Member{Key: "prompt", Value: p.shown},
			ordjson.Member{Key: "completion", Value: heard.texts[i]})
		if answer, err := g.Answer(p.from); err == nil {
			samples[i].Set("answer", answer)
		}
		samples[i].Set("score", float(score))
	}
	if err := errors.Join(bad.Err(), g.Close()); err != nil {
		return Score{}, err
	}
	return Score{"score", sum / float64(len(rows)), int64(len(rows)), heard.tokens}, writeSamples(j, name, samples)
}

// greedily has the model answer rows greedily, batch at once.
func (s *Speaker) greedily(ctx context.Context, j *stages.Job, rows []prompt, maxNewTokens, batch int, name string) (answers, error) {
	all, err := s.ask(ctx, j, asking{"answers-" + name, name + " rows", len(rows), 1, batch, func(row, _ int) *sample.Request {
		return s.Request(rows[row].ids, sample.Options{}, maxNewTokens, nil)
	}})
	if err != nil {
		return answers{}, err
	}
	var a answers
	for _, one := range all.Answers {
		a.texts = append(a.texts, s.Text(one[0]))
		a.tokens += int64(len(one[0]))
	}
	return a, nil
}

// grading is what the graders of a field find and leave in a job. log names a file or a folder of the job's log.
func grading(j *stages.Job, field, log string) grade.Env {
	return grade.Env{
		File: func(name string) string {
			name = field + "." + name
			if in, ok := j.Inputs[name]; ok {
				return in.Path
			}
			return j.File(name)
		},
		Dir: j.Dir, Log: filepath.Join(j.Job.Log, log), Threads: j.Threads,
	}
}

// perplexity is exp of the mean negative log-likelihood of what the model is to say: the assistant's turns of messages, the
// completion of prompt and completion, all of a text.
func perplexity(ctx context.Context, j *stages.Job, s *Speaker, d *dataset.Dataset, c *schemas.Eval, name string) (Score, error) {
	rows, err := encode(ctx, j, d, encoding{field: "suites." + name + ".data", dir: folder(j.In("model")), loss: data.MeasuredLoss(d.Format),
		maxLength: int(s.Model.Config.MaxPositionEmbeddings), date: c.Date})
	if err != nil {
		return Score{}, err
	}
	if rows.truncated > 0 {
		j.Warn("%s: %d rows are cut at the model's %d positions", name, rows.truncated, s.Model.Config.MaxPositionEmbeddings)
	}
	var total float64
	var tokens int64
	samples := make([]*ordjson.Object, len(rows.examples))
	scores, err := scored(ctx, j, s.Model, rows.examples, "scores-"+name, name+" rows", 1)
	if err != nil {
		return Score{}, err
	}
	for i, e := range rows.examples {
		n := e.Labels()
		total += scores[i]
		tokens += n
		samples[i] = ordjson.New(ordjson.Member{Key: "row", Value: number(e.Row)}, ordjson.Member{Key: "tokens", Value: number(n)},
			ordjson.Member{Key: "perplexity", Value: float(math.Exp(-scores[i] / float64(n)))})
	}
	value := math.Exp(-total / float64(tokens))
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return Score{}, fmt.Errorf("the perplexity is not finite")
	}
	return Score{"perplexity", value, int64(len(rows.examples)), tokens}, writeSamples(j, name, samples)
}

func number(n int64) ordjson.Number { return ordjson.Number(fmt.Sprint(n)) }

func float(x float64) ordjson.Number {
	b, _ := json.Marshal(x)
	return ordjson.Number(b)
}

// writeSamples writes a line a row.
func writeSamples(j *stages.Job, name string, samples []*ordjson.Object) error {
	f, err := os.Create(filepath.Join(j.Out("report"), "samples", name+".jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for _, s := range samples {
		w.Write(ordjson.Append(nil, s))
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
