// Package grade scores completions.
//
//	Grader    scores one completion of one row: 0 is wrong, 1 is right
//	answer    what the completion is compared with: a column of the row, or its last assistant turn
//	number    the figure that a text ends on, in \boxed{…} where there is one
//
// One grader serves eval and, later, rejection sampling and rewards, so the three cannot disagree.
package grade

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
)

// Grader scores completions of one dataset's rows. It is safe for concurrent use.
type Grader struct {
	header *dataset.Header
	column string // compared with; the row's answer when empty
	needs  bool   // an answer is compared with
	score  func(completion, answer string) (float64, error)
}

// New returns the grader that g names, for rows of a dataset with this header.
func New(g schemas.Grader, h *dataset.Header) (*Grader, error) {
	var all []*Grader
	if g.Exact != nil {
		all = append(all, &Grader{column: g.Exact.Column, needs: true, score: exact})
	}
	if g.Contains != nil {
		all = append(all, &Grader{column: g.Contains.Column, needs: true, score: contains})
	}
	if g.Regex != nil {
		re, err := regexp.Compile(g.Regex.Pattern)
		if err != nil {
			return nil, fmt.Errorf("regex: %w", err)
		}
		all = append(all, &Grader{score: func(completion, _ string) (float64, error) {
			return truth(re.MatchString(strings.TrimSpace(completion))), nil
		}})
	}
	if g.Number != nil {
		all = append(all, &Grader{column: g.Number.Column, needs: true, score: number})
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%d graders where one is wanted", len(all))
	}
	all[0].header = h
	return all[0], nil
}

// Score scores a completion of the row. An error is the row's: it has no answer to compare with.
func (g *Grader) Score(completion string, row dataset.Row) (float64, error) {
	if !g.needs {
		return g.score(completion, "")
	}
	answer, err := g.Answer(row)
	if err != nil {
		return 0, err
	}
	return g.score(completion, answer)
}

// Answer returns what a completion of the row is compared with: the column that the grader names; else the column
// with the role or the name answer; else the row's own completion or last assistant turn.
func (g *Grader) Answer(row dataset.Row) (string, error) {
	if g.column != "" {
		return column(row, g.column)
	}
	return Answer(g.header, row)
}

// Answer is Grader.Answer for a grader that names no column, and what reports show beside a completion.
func Answer(h *dataset.Header, row dataset.Row) (string, error) {
	name, ok := h.Columns["answer"]
	if !ok {
		name = "answer"
	}
	if v, there := row.Get(name); there && v != nil || ok {
		return column(row, name)
	}
	switch h.Format {
	case dataset.Messages:
		return lastAssistant(h.Get(row, "messages"))
	case dataset.PromptCompletion:
		v := h.Get(row, "completion")
		if s, ok := v.(string); ok {
			return s, nil
		}
		return lastAssistant(v)
	}
	return "", errors.New("no column answer to compare with")
}

func column(row dataset.Row, name string) (string, error) {
	v, ok := row.Get(name)
	if !ok {
		return "", fmt.Errorf("no column %s to compare with", name)
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case ordjson.Number:
		return string(v), nil
	case bool:
		return fmt.Sprint(v), nil
	case nil:
		return "", fmt.Errorf("column %s is null: nothing to compare with", name)
	}
	return "", fmt.Errorf("column %s is neither text nor a number", name)
}

func lastAssistant(v dataset.Value) (string, error) {
	turns, _ := v.([]dataset.Value)
	if len(turns) > 0 {
		turn, _ := turns[len(turns)-1].(*ordjson.Object)
		if turn != nil {
			if role, _ := turn.Text("role"); role == "assistant" {
				content, _ := turn.Get("content")
				return contentText(content)
			}
		}
	}
	return "", errors.New("neither a column answer nor a last assistant turn to compare with")
}

// contentText is a turn's text: the content, or its parts of type text.
func contentText(v dataset.Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []dataset.Value:
		var b strings.Builder
		for _, part := range v {
			if o, ok := part.(*ordjson.Object); ok {
				s, _ := o.Text("text")
				b.WriteString(s)
			}
		}
		return b.String(), nil
	}
	return "", errors.New("the last assistant turn has no text to compare with")
}

// exact is 1 where completion and answer are the same text, outer white space aside.
func exact(completion, answer string) (float64, error) {
	return truth(strings.TrimSpace(completion) == strings.TrimSpace(answer)), nil
}

// contains is 1 where the answer, outer white space aside, stands somewhere in the completion.
func contains(completion, answer string) (float64, error) {
	answer = strings.TrimSpace(answer)
	if answer == "" {
		return 0, errors.New("the answer is empty: every completion contains it")
	}
	return truth(strings.Contains(completion, answer)), nil
}

// number is 1 where completion and answer end on the same number.
func number(completion, answer string) (float64, error) {
	want, ok := findNumber(answer)
	if !ok {
		return 0, fmt.Errorf("no number in the answer %.60q", answer)
	}
	got, ok := findNumber(completion)
	return truth(ok && equal(got, want)), nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
