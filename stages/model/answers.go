package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

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
	all, err := s.ask(ctx, j, asking{"answers", "completions", len(rows), c.N, c.Batch, func(row, k int) *sample.Request {
		return s.Request(rows[row].ids, options(c.Sampling, uint64(row*c.N+k)), c.MaxNewTokens, c.Stop)
	}})
	if errors.Is(err, sample.ErrNotFinite) {
		err = stages.Errorf(field, "%w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	texts := make([][]string, len(rows))
	tokens := 0
	for i, answers := range all.Answers {
		for _, answer := range answers {
			text := s.Tokenizer.DecodeSkipSpecial(answer)
			if at := cut(text, c.Stop); at >= 0 {
				text = text[:at]
			}
			texts[i] = append(texts[i], strings.TrimSpace(text))
			tokens += len(answer)
		}
	}
	j.Summary("seconds", all.Seconds)
	j.Summary("rows", float64(len(rows)))
	j.Summary("tokens", float64(tokens))
	return rows, texts, nil
}

// asking is what a model is to answer: rows of n answers each, batch of them decoded at once.
type asking struct {
	name           string // of the files that keep answers
	unit           string // of progress and checkpoints
	rows, n, batch int
	request        func(row, k int) *sample.Request
}

// chunk is the answers of some rows, in tokens, and how long they took.
type chunk struct {
	Answers [][][]int32 `json:"answers"` // [rows][n]
	Seconds float64     `json:"seconds"`
}

func (a *chunk) add(next *chunk) {
	a.Answers = append(a.Answers, next.Answers...)
	a.Seconds += next.Seconds
}

// ask has the model answer. Answers are kept a chunk of rows at a time: an interrupted stage goes on behind the last chunk.
func (s *Speaker) ask(ctx context.Context, j *stages.Job, a asking) (*chunk, error) {
	all := a.kept(j.Checkpoints)
	if len(all.Answers) > 0 {
		j.GoesOn("resumed behind %d of %d %s", len(all.Answers)*a.n, a.rows*a.n, a.unit)
	}
	for from := len(all.Answers); from < a.rows; from = len(all.Answers) {
		next, err := s.askChunk(ctx, j, a, from, a.next(from))
		if err != nil {
			return nil, err
		}
		if err := a.keep(j.Checkpoints, from, next); err != nil {
			return nil, err
		}
		all.add(next)
		j.Checkpoint(int64(len(all.Answers)*a.n), a.unit)
	}
	return all, nil
}

// next is where the chunk ends that begins at row from: some minutes of work, and enough that the end of a chunk, where places
// fall empty, costs little. It follows from the config alone: which sequences are decoded together touches the last bits of
// numbers, and a resumed stage gives what an uninterrupted one gives.
func (a *asking) next(from int) int { return min(from+max(32*a.batch/a.n, 1), a.rows) }

// askChunk answers the rows from … to.
func (s *Speaker) askChunk(ctx context.Context, j *stages.Job, a asking, from, to int) (*chunk, error) {
	c := &chunk{Answers: make([][][]int32, to-from)}
	done := int64(from * a.n)
	var requests []*sample.Request
	for i := range c.Answers {
		c.Answers[i] = make([][]int32, a.n)
		for k := range a.n {
			r := a.request(from+i, k)
			r.Done = func(tokens []int32) error {
				c.Answers[i][k] = tokens
				done++
				j.Progress(done, int64(a.rows*a.n), a.unit)
				return nil
			}
			requests = append(requests, r)
		}
	}
	start := time.Now()
	err := sample.Generate(ctx, s.Model, requests, a.batch)
	c.Seconds = time.Since(start).Seconds()
	return c, err
}

// file is the chunk that ends before row next.
func (a *asking) file(dir string, next int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%09d.json", a.name, next))
}

func (a *asking) keep(dir string, from int, c *chunk) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Stream(a.file(dir, a.next(from)), 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(c) })
}

// kept is what an earlier attempt kept, up to the first chunk that is missing or none of these rows.
func (a *asking) kept(dir string) *chunk {
	all := &chunk{}
	for from := 0; from < a.rows; from = len(all.Answers) {
		next := a.next(from)
		b, err := os.ReadFile(a.file(dir, next))
		c := &chunk{}
		if err != nil || json.Unmarshal(b, c) != nil || !c.holds(next-from, a.n) {
			break
		}
		all.add(c)
	}
	return all
}

func (a *chunk) holds(rows, n int) bool {
	for _, answers := range a.Answers {
		if len(answers) != n {
			return false
		}
	}
	return len(a.Answers) == rows
}
