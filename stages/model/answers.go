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

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// answer has the model of a field answer every row of a dataset n times. The model is closed when it has. Answers are kept a
// chunk of rows at a time: an interrupted stage goes on behind the last chunk.
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
	each := chunkRows(c)
	all := readChunks(j.Checkpoints, len(rows), each, c.N)
	if len(all.Answers) > 0 {
		j.GoesOn("resumed behind %d of %d rows", len(all.Answers), len(rows))
	}
	for from := len(all.Answers); from < len(rows); from = len(all.Answers) {
		next := min(from+each, len(rows))
		a, err := s.answerChunk(ctx, j, rows, from, next, c)
		if errors.Is(err, sample.ErrNotFinite) {
			err = stages.Errorf(field, "%w", err)
		}
		if err != nil {
			return nil, nil, err
		}
		if err := a.save(j.Checkpoints, next); err != nil {
			return nil, nil, err
		}
		j.Checkpoint(int64(next*c.N), asked)
		all.add(a)
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

const asked = "completions" // the unit of progress and of checkpoints

// chunk is the answers of some rows, in tokens, and how long they took.
type chunk struct {
	Answers [][][]int32 `json:"answers"` // [rows][n]
	Seconds float64     `json:"seconds"`
}

func (a *chunk) add(next *chunk) {
	a.Answers = append(a.Answers, next.Answers...)
	a.Seconds += next.Seconds
}

// chunkRows is the rows of a chunk: some minutes of work, and enough that the end of a chunk, where places fall empty, costs
// little. It follows from the config alone: which sequences are decoded together touches the last bits of numbers, and a resumed
// stage gives what an uninterrupted one gives.
func chunkRows(c *schemas.Answering) int { return max(32*c.Batch/c.N, 1) }

// answerChunk answers the rows from up to next.
func (s *Speaker) answerChunk(ctx context.Context, j *stages.Job, rows []prompt, from, next int, c *schemas.Answering) (*chunk, error) {
	a := &chunk{Answers: make([][][]int32, next-from)}
	done := int64(from * c.N)
	var requests []*sample.Request
	for i := range a.Answers {
		a.Answers[i] = make([][]int32, c.N)
		for k := range c.N {
			r := s.Request(rows[from+i].ids, options(c.Sampling, uint64((from+i)*c.N+k)), c.MaxNewTokens, c.Stop)
			r.Done = func(tokens []int32) error {
				a.Answers[i][k] = tokens
				done++
				j.Progress(done, int64(len(rows)*c.N), asked)
				return nil
			}
			requests = append(requests, r)
		}
	}
	start := time.Now()
	err := sample.Generate(ctx, s.Model, requests, c.Batch)
	a.Seconds = time.Since(start).Seconds()
	return a, err
}

// chunkFile is the chunk that ends before row next.
func chunkFile(dir string, next int) string {
	return filepath.Join(dir, fmt.Sprintf("answers-%09d.json", next))
}

func (a *chunk) save(dir string, next int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return train.Durable(chunkFile(dir, next), func(w io.Writer) error { return json.NewEncoder(w).Encode(a) })
}

// readChunks reads the chunks that an earlier attempt kept, up to the first that is missing or no chunk of so many rows.
func readChunks(dir string, rows, each, n int) *chunk {
	all := &chunk{}
	for from := 0; from < rows; from = len(all.Answers) {
		next := min(from+each, rows)
		b, err := os.ReadFile(chunkFile(dir, next))
		a := &chunk{}
		if err != nil || json.Unmarshal(b, a) != nil || !a.holds(next-from, n) {
			break
		}
		all.add(a)
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
