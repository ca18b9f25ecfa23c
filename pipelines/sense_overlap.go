package pipelines

import (
	"slices"
	"strings"
)

// senseOverlap advises where a model is judged by the rows that it was trained on: by an eval of it, or of what came of it, or by the
// training itself. Rows that reach both on different ways are for vet --data to find.
func (c *compiler) senseOverlap(g *Graph) {
	for _, s := range g.Stages {
		if s.Internal {
			continue
		}
		var judged []Input
		for _, in := range s.Inputs {
			if s.Kind == "eval" && strings.HasPrefix(in.Field, "suites.") || in.Field == "eval.data" {
				judged = append(judged, in)
			}
		}
		if len(judged) == 0 {
			continue
		}
		for _, t := range g.trainings(s) {
			for _, in := range judged {
				if slices.ContainsFunc(t.Inputs, func(rows Input) bool { return rows.Field == "data" && g.sameRows(rows.Edge, in.Edge) }) {
					c.advice = append(c.advice, Error{Pos: s.At(in.Field), Path: "stages." + s.Name + "." + in.Field,
						Msg: t.Name + " is trained on these rows: how well they are known says little of others (curate.split holds some back)"})
				}
			}
		}
	}
}

// trainings is the stages that trained the model of s, s itself among them.
func (g *Graph) trainings(s *Stage) (all []*Stage) {
	seen := map[string]bool{}
	var visit func(s *Stage)
	visit = func(s *Stage) {
		if s == nil || seen[s.Name] {
			return
		}
		seen[s.Name] = true
		if strings.HasPrefix(s.Kind, "train.") || s.Kind == "model.pretrain" {
			all = append(all, s)
		}
		for _, in := range s.Inputs {
			if in.Field == "model" || strings.HasPrefix(in.Field, "models") {
				visit(g.Stage(in.Edge.From))
			}
		}
	}
	visit(s)
	return all
}

// sameRows says whether two edges carry the same rows: they are one, or two stages load one file and do nothing else to it.
func (g *Graph) sameRows(a, b Edge) bool {
	if a.From == b.From && a.Port == b.Port {
		return true
	}
	x, y := g.Stage(a.From), g.Stage(b.From)
	return x != nil && y != nil && x.Kind == "data.load" && y.Kind == "data.load" && string(x.Config) == string(y.Config)
}
