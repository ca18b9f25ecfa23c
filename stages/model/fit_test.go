package model

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// A training that is killed after its last checkpoint, before its model is kept, gives the same bytes and the same summary
// without another step.
func TestResumedAtTheEnd(t *testing.T) {
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	config := sftConfig(func(c *schemas.TrainSFT) { c.SaveEvery, c.LogEvery = 4, 5 })
	start := func(state, log string) *job.Job {
		j := stagetest.New(t, "train.sft", config, map[string]string{"model": "model"})
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		if state != "" {
			j.Checkpoints, j.Log = state, log
		}
		return j
	}
	first := start("", "")
	want := do(t, first)
	again := start(first.Checkpoints, first.Log)
	got := do(t, again)
	for _, e := range got.Events {
		if e.Event == "metric" || e.Event == "checkpoint" {
			t.Errorf("%s of step %d", e.Event, e.Step)
		}
	}
	if d := cmp.Diff(want.Last().Values, got.Last().Values); d != "" {
		t.Errorf("summary: first -, again +\n%s", d)
	}
	if _, ok := want.Last().Values["loss"]; !ok {
		t.Errorf("summary %v", want.Last().Values)
	}
	if digest(t, want.Out("model")) != digest(t, got.Out("model")) {
		t.Error("the model is another one")
	}
}
