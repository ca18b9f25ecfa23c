package grade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/schemas"
)

// Sum is graders by name, and the sum of their scores by weight.
type Sum struct {
	names   []string
	graders []*Grader
	weights []float64
}

// NewSum returns the graders of a field: env is asked for files below each one's name ("right.sql.database"), and its Log is
// a folder, in which each program has a file NAME.err. It is to be closed.
func NewSum(graders map[string]schemas.WeightedGrader, h *dataset.Header, env Env) (*Sum, error) {
	s := &Sum{names: slices.Sorted(maps.Keys(graders))}
	for _, name := range s.names {
		own := env
		own.File = func(field string) string { return env.File(name + "." + field) }
		own.Log = filepath.Join(env.Log, name+".err")
		g, err := New(graders[name].Grader, h, own)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), s.Close())
		}
		s.graders = append(s.graders, g)
		s.weights = append(s.weights, graders[name].Weight)
	}
	return s, nil
}

// Names of the graders, in the order of Score's scores.
func (s *Sum) Names() []string { return s.names }

// Score gives each grader's score and their weighted sum.
func (s *Sum) Score(ctx context.Context, c Completion) (scores []float64, sum float64, err error) {
	scores = make([]float64, len(s.graders))
	for i, g := range s.graders {
		if scores[i], err = g.Score(ctx, c); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.names[i], err)
		}
		sum += s.weights[i] * scores[i]
	}
	return scores, sum, nil
}

// Close closes the graders.
func (s *Sum) Close() error {
	var all error
	for i, g := range s.graders {
		if err := g.Close(); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", s.names[i], err))
		}
	}
	return all
}
