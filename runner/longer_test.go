package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

func training(steps int, schedule string, change string) *pipelines.Stage {
	config := fmt.Sprintf(`{"maxSteps": %d, "schedule": {"kind": %q, "warmup": 0, "minimum": 0}%s}`, steps, schedule, change)
	return &pipelines.Stage{Name: "tune", Kind: "train.sft", Config: json.RawMessage(config), Outputs: []pipelines.Output{{Port: "out", Kind: "model"}}}
}

// A training that only grows goes on from the last state of the shorter one; one that shrinks, or differs, begins anew.
func TestLongerTraining(t *testing.T) {
	b := newBench(t)
	b.opts.Worker = os.Executable
	made := 0
	b.opts.Observe = func(u runner.Update) {
		if u.Event.Event == "checkpoint" {
			made++
		}
	}
	run := func(steps int, schedule, change, want string, checkpoints int) {
		t.Helper()
		made = 0
		s := training(steps, schedule, change)
		before := outlook(b.plan(s))
		result := b.run(s)
		b.want(before+", "+story(result), want)
		b.want(fmt.Sprint(made), fmt.Sprint(checkpoints))
		b.want(fmt.Sprint(strings.Count(b.artifact(result, "tune", "t"), "\n")), fmt.Sprint(steps))
		plan := b.plan(s)
		log, err := os.ReadFile(filepath.Join(b.runner(s).LogDir(plan.Stage("tune")), "metrics.jsonl"))
		check(err)
		b.want(fmt.Sprint(strings.Count(string(log), "\n")), fmt.Sprint(steps))
	}
	run(5, "constant", "", "tune run, tune ran", 5)
	run(8, "constant", "", "tune resume, tune resumed", 3)
	run(9, "constant", "", "tune resume, tune resumed", 1)
	run(6, "constant", "", "tune run, tune ran", 6)
	_, err := b.store.GC(false) // keeps what the last run could grow from
	check(err)
	run(12, "constant", "", "tune resume, tune resumed", 3) // of the longest
	run(12, "constant", `, "seed": 1`, "tune run, tune ran", 12)
	run(12, "linear", "", "tune run, tune ran", 12)
	run(14, "linear", "", "tune run, tune ran", 14)

	says := func(schedule string, action runner.Action, words ...string) {
		t.Helper()
		p := b.plan(training(20, schedule, "")).Stages[0]
		why, err := json.Marshal(p.Why)
		check(err)
		for _, w := range append(words, `"field":"maxSteps"`) {
			if p.Action != action || !strings.Contains(string(why), w) {
				t.Errorf("%s: %s: %s", schedule, p.Action, why)
			}
		}
	}
	says("constant", runner.Resume)
	says("linear", runner.Run, `"field":"schedule.kind","old":null,"new":"begins anew for its schedule.kind, linear: `, "constant goes on from the last")
	_, err = b.store.GC(false)
	check(err)
	b.want(outlook(b.plan(training(20, "constant", ""))), "tune run")
}
