package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// gateAdvice tells of gates that hold less than they did: one that was loosened or is gone, and what waits for one no longer.
func gateAdvice(changes []pipelines.StageChange, old, now *pipelines.Graph, after *side) (advice []finding) {
	for _, c := range changes {
		switch {
		case c.Old == nil:
		case c.New == nil:
			if bounds := gateBounds(c.Old); bounds != nil {
				advice = append(advice, finding{Path: "stages." + c.Old.Name + ".gate", Message: "the stage is gone, and its gate with it: " + strings.Join(bounds, ", ")})
			}
		default:
			advice = append(advice, loosened(&c, after)...)
		}
	}
	return append(advice, ungated(changes, old, now, after)...)
}

// gateBounds is the bounds of a stage's gate: farm.minimum 0.8.
func gateBounds(s *pipelines.Stage) (bounds []string) {
	for _, f := range s.Fields {
		if bound, ok := strings.CutPrefix(f.Path, "gate."); ok && !s.Internal {
			bounds = append(bounds, fmt.Sprintf("%s %v", bound, f.Value))
		}
	}
	return bounds
}

// loosened tells of the bounds of one gate.
func loosened(c *pipelines.StageChange, after *side) (advice []finding) {
	for _, f := range c.Fields {
		bound, ok := strings.CutPrefix(f.Field, "gate.")
		if !ok || f.Old == nil {
			continue
		}
		name := bound[strings.LastIndexByte(bound, '.')+1:]
		old, _ := f.Old.(float64)
		now, is := f.New.(float64)
		var what string
		switch lower := name == "minimum"; {
		case f.New == nil:
			what = fmt.Sprintf("the gate's bound of %v is gone", f.Old)
		case is && (lower && now < old || !lower && now > old):
			what = fmt.Sprintf("the gate is loosened: %v, and %v before", f.New, f.Old)
		default:
			continue
		}
		advice = append(advice, finding{after.pos(f.NewPos), "stages." + c.Name() + "." + f.Field, what})
	}
	return advice
}

// ungated tells of the stages that waited for a gate, themselves or by a stage before them, and do so no longer: of those that follow from
// one another the first.
func ungated(changes []pipelines.StageChange, old, now *pipelines.Graph, after *side) (advice []finding) {
	if !slices.ContainsFunc(changes, func(c pipelines.StageChange) bool { return c.Differs() }) {
		return nil
	}
	was := map[string]string{} // by the name before: the name now
	for _, c := range changes {
		if c.Old != nil && c.New != nil {
			was[c.Old.Name] = c.New.Name
		}
	}
	for _, gated := range old.Stages {
		if gateBounds(gated) == nil {
			continue
		}
		before, waits := waiting(old, gated.Name), map[string]bool{}
		if name, kept := was[gated.Name]; kept {
			waits = waiting(now, name)
		}
		lost, told := map[string]bool{}, false
		for _, c := range changes { // what a stage follows from comes before it
			if c.Old == nil || c.New == nil || !before[c.Old.Name] || waits[c.New.Name] {
				continue
			}
			lost[c.New.Name] = true
			if c.New.Internal || slices.ContainsFunc(c.New.Edges(), func(e pipelines.Edge) bool { return lost[e.From] }) {
				continue
			}
			told = true
			advice = append(advice, finding{after.pos(c.New.Pos), "stages." + c.New.Name + ".needs", "no longer waits for the gate of " + gated.Name})
		}
		if name, kept := was[gated.Name]; kept && len(before) > 0 && len(waits) == 0 && !told {
			advice = append(advice, finding{after.pos(now.Stage(name).Pos), "stages." + name + ".gate", "nothing waits for this gate any more"})
		}
	}
	return advice
}

// waiting is the stages that a failing gate blocks: those that need its report, and what follows from them.
func waiting(g *pipelines.Graph, gate string) map[string]bool {
	blocked := map[string]bool{}
	for _, s := range g.Stages {
		needs := slices.ContainsFunc(s.Needs, func(e pipelines.Edge) bool { return e.From == gate })
		if needs || slices.ContainsFunc(s.Edges(), func(e pipelines.Edge) bool { return blocked[e.From] }) {
			blocked[s.Name] = true
		}
	}
	return blocked
}

// judged is what gates say of a stage as it is now: that its own fails or cannot be judged, or that one blocks it.
func judged(s *runner.StagePlan) (lines []string) {
	for _, f := range s.Failures {
		lines = append(lines, "gate fails: "+f.String())
	}
	for _, c := range s.Why {
		if c.Says && (s.Gated() || s.Action == runner.Reuse && c.Field == "gate") {
			lines = append(lines, reason(s, c))
		}
	}
	return lines
}
