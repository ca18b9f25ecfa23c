package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// An interrupted training is gone on from at a greater length too. Where that cannot be, plan says why, and how far the other came.
func TestInterruptedTrainingMadeLonger(t *testing.T) {
	for schedule, want := range map[string]string{"constant": "tune resume, tune resumed", "linear": "tune run, tune ran"} {
		b := newBench(t)
		b.opts.Worker = os.Executable
		b.interrupt(training(20, schedule, ""))
		for _, steps := range []int{30, 10} {
			p := b.plan(training(steps, schedule, "")).Stages[0]
			why, err := json.Marshal(p.Why)
			check(err)
			words := []string{fmt.Sprintf(`"field":"maxSteps","old":20,"new":%d`, steps), "interrupted at step ", " of 20"}
			if steps < 20 {
				words = append(words, "begins anew: a shorter training goes on from no longer one")
			} else if schedule == "linear" {
				words = append(words, "begins anew for its schedule.kind, linear: ")
			}
			for _, w := range words {
				if !strings.Contains(string(why), w) {
					t.Errorf("%s, %d steps: %s says nothing of %q: %s", schedule, steps, p.Action, w, why)
				}
			}
		}
		b.want(outlook(b.plan(training(10, schedule, ""))), "tune run")
		s := training(30, schedule, "")
		before := outlook(b.plan(s))
		result := b.run(s)
		b.want(before+", "+story(result), want)
		b.want(fmt.Sprint(strings.Count(b.artifact(result, "tune", "t"), "\n")), "30")
		log, err := os.ReadFile(filepath.Join(b.runner(s).LogDir(b.plan(s).Stage("tune")), "metrics.jsonl"))
		check(err)
		b.want(fmt.Sprint(strings.Count(string(log), "\n")), "30")
		b.want(outlook(b.plan(training(20, schedule, ""))), "tune resume") // its own checkpoint is still there
	}
}

// With other threads a longer training can go on from neither a finished nor an interrupted one, and says so instead of beginning anew.
func TestLongerWithOtherThreads(t *testing.T) {
	const remedy = `; --device cpu --threads 2 goes on from there; with --device cpu --threads 1 the bits would differ: --force tune begins anew`
	for began, want := range map[string]string{
		"finished":    `a shorter one is done \(maxSteps 200\)`,
		"interrupted": `interrupted at step \d+ of 200(, saved at \d+)?`,
	} {
		b := newBench(t)
		b.opts.Worker = os.Executable
		if began == "finished" {
			b.want(story(b.run(training(200, "constant", ""))), "tune ran")
		} else {
			b.interrupt(training(200, "constant", ""))
		}
		longer := training(220, "constant", "")
		b.opts.Threads = 1
		p := b.plan(longer).Stages[0]
		said := fmt.Sprintf("%s %s: %s", p.Action, p.Why[0].Field, p.Why[0].New)
		if !regexp.MustCompile("^blocked checkpoint: " + want + remedy + "$").MatchString(said) {
			t.Errorf("%s: %s", began, said)
		}
		result := b.run(longer)
		b.wantCode(result, 6)
		b.want("blocked checkpoint: "+result.Stages[0].Error, said)
		b.want(outlook(b.plan(training(3, "constant", ""))), "tune run") // it could go on from there nowhere
		b.want(outlook(b.plan(training(220, "linear", ""))), "tune run")

		b.opts.Threads = 2
		b.want(outlook(b.plan(longer)), "tune resume")
		b.opts.Threads, b.opts.Force = 1, []string{"tune"}
		b.want(story(b.run(longer)), "tune ran")
		b.opts.Force = nil
		b.want(outlook(b.plan(training(230, "constant", ""))), "tune resume") // from its own
	}
}
