package pipelines

import (
	"bytes"
	"slices"

	"github.com/hone-ml/hone/schemas"
)

// Smoke is the graph of `hone run --smoke`: every stage reduced to a few rows and two steps as schemas.Smoke says. Stages of
// which nothing is reduced, and that read only such stages, are those of the graph itself, and so are their keys.
func (g *Graph) Smoke() (*Graph, error) {
	few := *g
	few.Stages = make([]*Stage, len(g.Stages))
	apart := map[string]bool{}
	for i, s := range g.Stages { // a stage stands after those that it reads
		config, rows, err := schemas.Smoke(s.Kind, s.Config)
		if err != nil {
			return nil, err
		}
		reduced := *s
		reduced.Config, reduced.Rows = config, rows
		apart[s.Name] = rows > 0 || !bytes.Equal(config, s.Config) || slices.ContainsFunc(s.Edges(), func(e Edge) bool { return apart[e.From] })
		reduced.Apart = apart[s.Name]
		few.Stages[i] = &reduced
	}
	return &few, nil
}
