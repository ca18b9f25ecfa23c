package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hone-ml/hone/pipelines"
)

// What a smoke made or left unfinished is nothing to a run, not even where it might go on from it, and what it found made by a
// run it reuses. A stage of which it reduces nothing is the run's.
func TestSmokeIsApart(t *testing.T) {
	b := newBench(t)
	b.opts.Worker = os.Executable
	load := &pipelines.Stage{Name: "base", Kind: "model.load", Config: json.RawMessage(`{"source":"x","seed":0,"dtype":"auto"}`), Outputs: []pipelines.Output{{Port: "model", Kind: "model"}}}
	tune := training(9, "constant", `, "learningRate": 1`)
	edge := pipelines.Edge{Kind: "model", From: "base", Port: "model"}
	tune.Inputs = []pipelines.Input{{Field: "model", Edge: edge}}
	after := stage("after", []string{"read inputs.a out/copy"}, map[string]string{"a": "tune"})
	smoke := func(want string) {
		t.Helper()
		b.opts.Smoke = true
		defer func() { b.opts.Smoke = false }()
		result := b.run(load, tune, after)
		b.wantCode(result, 0)
		b.want(story(result), want)
		b.want(b.artifact(result, "after", "copy"), "step 0\nstep 1\n")
	}
	smoke("base ran, tune ran, after ran")
	b.want(outlook(b.plan(load, tune, after)), "base reuse, tune run, after run")
	smoke("base reused, tune reused, after reused")

	result := b.run(load, tune, after)
	b.want(story(result), "base reused, tune ran, after ran")
	b.want(fmt.Sprint(strings.Count(b.artifact(result, "after", "copy"), "\n")), "9")
	smoke("base reused, tune reused, after reused")

	freed, err := b.store.GC(false)
	check(err)
	b.want(fmt.Sprint(len(freed.Trees)), "2")
	b.want(outlook(b.plan(load, tune, after)), "base reuse, tune reuse, after reuse")
	smoke("base reused, tune ran, after ran")
}

// A smoke that was interrupted is gone on from by smokes alone.
func TestInterruptedSmoke(t *testing.T) {
	b := newBench(t)
	b.opts.Worker = os.Executable
	s := stage("slow", []string{"steps 2 400 out/t"}, nil)
	b.opts.Smoke = true
	b.interrupt(s)
	b.want(outlook(b.plan(s)), "slow resume")
	b.opts.Smoke = false
	b.want(outlook(b.plan(s)), "slow run")
}
