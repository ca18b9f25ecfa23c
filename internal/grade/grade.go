// Package grade scores completions.
//
//	Grader      scores a completion: 0 is wrong, 1 is right; a reward may be any finite number
//	Sum         graders by name, and the weighted sum of their scores
//	Completion  what is scored: the text that came, the prompt that it answers, and the row that both are of
//	Env         where a grader finds the files that it reads, and leaves what a program of the user's says
//	Answer      what the completion is compared with: a column of the row, or its last assistant turn
//	number      the figure that a text ends on, in \boxed{…} where there is one
//
// One grader serves eval, rejection sampling and rewards, so the three cannot disagree. Completions are a model's: they may be
// anything. What a completion does wrong scores 0; an error is the row's or the grader's own.
package grade

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/grade/expr"
	"github.com/hone-ml/hone/schemas"
)

// Completion is what is scored.
type Completion struct {
	Text   string
	Prompt dataset.Value // text, or the messages that were rendered
	Row    dataset.Row
}

// Env is what a grader needs of the stage that it serves.
type Env struct {
	File    func(field string) string // where a field's file or artifact is: "sql.database", "exec.files[0]"
	Dir     string                    // a program gets a folder of its own in it
	Log     string                    // a file for what a program writes to standard error
	Threads int                       // that a program is told of
}

// Grader scores completions of one dataset's rows. It is not safe for concurrent use.
type Grader struct {
	header *dataset.Header
	column string // compared with; the row's answer when empty
	needs  bool   // an answer is compared with
	score  func(ctx context.Context, c Completion, answer string) (float64, error)
	close  func() error
}

// Fatal is an error after which a grader scores no other row.
type Fatal struct{ Err error }

func (e *Fatal) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Fatal) Unwrap() error { return e.Err }

// OfRow is an error that the row makes, whatever the completion says: it has no answer to compare with, say.
type OfRow struct{ Err error }

func (e *OfRow) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *OfRow) Unwrap() error { return e.Err }

// New returns the grader that g names, for rows of a dataset with this header. It is to be closed.
func New(g schemas.Grader, h *dataset.Header, env Env) (*Grader, error) {
	var all []*Grader
	add := func(made *Grader, err error) error {
		all = append(all, made)
		return err
	}
	var err error
	if g.Exact != nil {
		err = errors.Join(err, add(compare(g.Exact.Column, exact), nil))
	}
	if g.Contains != nil {
		err = errors.Join(err, add(compare(g.Contains.Column, contains), nil))
	}
	if g.Regex != nil {
		err = errors.Join(err, add(newRegex(g.Regex)))
	}
	if g.Number != nil {
		err = errors.Join(err, add(compare(g.Number.Column, number), nil))
	}
	if g.JSONSchema != nil {
		err = errors.Join(err, add(newJSONSchema(g.JSONSchema)))
	}
	if g.SQL != nil {
		err = errors.Join(err, add(newSQL(g.SQL, env)))
	}
	if g.CEL != nil {
		err = errors.Join(err, add(newCEL(g.CEL)))
	}
	if g.Exec != nil {
		err = errors.Join(err, add(newProgram(g.Exec, env)))
	}
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%d graders where one is wanted", len(all))
	}
	if err != nil {
		return nil, err
	}
	all[0].header = h
	return all[0], nil
}

// Answer is what a completion of the row is compared with; reports show it beside the completion.
func (g *Grader) Answer(row dataset.Row) (string, error) { return g.header.Answer(row, g.column) }

// Answerable refuses a dataset where no row can have what the grader compares with. It is for before a model is loaded.
func Answerable(g schemas.Grader, d *dataset.Dataset) error {
	if column, compares := g.Reads(); compares {
		return d.Answerable(column)
	}
	return nil
}

// Score scores a completion. An error is the row's, an *OfRow where the completion has no part in it, or, a *Fatal, the grader's own.
func (g *Grader) Score(ctx context.Context, c Completion) (float64, error) {
	answer := ""
	if g.needs {
		var err error
		if answer, err = g.Answer(c.Row); err != nil {
			return 0, &OfRow{err}
		}
	}
	c.Text = strings.ToValidUTF8(c.Text, "�")
	x, err := g.score(ctx, c, answer)
	if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
		err = fmt.Errorf("the score is %g", x)
	}
	if err != nil && g.needs { // a completion that does not compare scores 0
		err = &OfRow{err}
	}
	return x, err
}

// Close ends what the grader holds open; a second time it does nothing. An error is a program's that did not end well.
func (g *Grader) Close() error {
	if g.close == nil {
		return nil
	}
	end := g.close
	g.close = nil
	return end()
}

// compare is a grader that holds the text against the row's answer.
func compare(column string, score func(completion, answer string) (float64, error)) *Grader {
	return &Grader{column: column, needs: true, score: func(_ context.Context, c Completion, answer string) (float64, error) {
		return score(c.Text, answer)
	}}
}

func newRegex(g *schemas.Pattern) (*Grader, error) {
	re, err := regexp.Compile(g.Pattern)
	if err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	return &Grader{score: func(_ context.Context, c Completion, _ string) (float64, error) {
		return truth(re.MatchString(strings.TrimSpace(c.Text))), nil
	}}, nil
}

func newCEL(g *schemas.CEL) (*Grader, error) {
	e, err := expr.Compile(g.Expression)
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	return &Grader{score: func(ctx context.Context, c Completion, _ string) (float64, error) {
		x, err := e.Eval(ctx, c.Text, c.Prompt, c.Row)
		if err != nil {
			return 0, fmt.Errorf("cel: %w", err)
		}
		return x, nil
	}}, nil
}
