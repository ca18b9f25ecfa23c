package main

import (
	"strings"
	"testing"

	"github.com/hone-ml/hone/runner"
)

// A reason that is a sentence is told whole, in lines that fit, and not as if a field had changed.
func TestPlanFits(t *testing.T) {
	var b strings.Builder
	if err := printPlan(&b, &runner.Plan{Pipeline: "try", Stages: []*runner.StagePlan{
		{Name: "base", Kind: "model.load", Action: runner.Reuse},
		{Name: "tune", Kind: "train.sft", Action: runner.Run, Why: []runner.Change{
			{Field: "maxSteps", Old: 10, New: 20, Pos: "pipeline.cue:12:3"},
			{Field: "schedule.kind", Says: true, New: "begins anew for its schedule.kind, linear: the learning rate of a step " +
				"depends on how many there are; constant goes on from the last"},
		}},
	}}, ""); err != nil {
		t.Fatal(err)
	}
	want := `= base  model.load  reuse
+ tune  train.sft   run  maxSteps 10 → 20  pipeline.cue:12:3
                         begins anew for its schedule.kind, linear: the
                           learning rate of a step depends on how many there
                           are; constant goes on from the last

try: 1 reuse, 1 run
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
