package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// save plans and goes through the file's JSON.
func (b *bench) save(stages ...*pipelines.Stage) *runner.Saved {
	b.Helper()
	r := b.runner(stages...)
	plan, err := r.Plan()
	check(err)
	var saved, read runner.Saved
	check(r.Save(plan, &saved))
	text, err := json.MarshalIndent(saved, "", "  ")
	check(err)
	check(json.Unmarshal(text, &read))
	if !read.Whole() {
		b.Fatalf("not what was written:\n%s", text)
	}
	return &read
}

func (b *bench) stale(saved *runner.Saved, want string, stages ...*pipelines.Stage) {
	b.Helper()
	r := b.runner(stages...)
	plan, err := r.Plan()
	check(err)
	changes, err := r.Stale(saved, plan)
	check(err)
	said := ""
	for _, c := range changes {
		if c.Says {
			said += fmt.Sprintf("%s: %v\n", c.Field, c.New)
		} else {
			said += fmt.Sprintf("%s: %v → %v\n", c.Field, c.Old, c.New)
		}
	}
	b.want(said, want)
}

func TestStale(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"steps 3 100 out/t"}, nil)
	after := stage("b", []string{"read inputs.x out/copy"}, map[string]string{"x": "a"})

	// What an interrupted run has done of the plan is no change; that it is gone again is none to a plan that runs it.
	saved := b.save(a, after)
	b.stale(saved, "", a, after)
	b.interrupt(a)
	b.stale(saved, "", a, after)
	resuming := b.save(a, after)
	b.run(a)
	b.stale(saved, "", a, after)
	b.stale(resuming, "", a, after)
	check(os.RemoveAll(filepath.Join(b.store.Dir, "records")))
	b.stale(saved, "", a, after)
	b.stale(resuming, "a.action: was to resume, and would run: the store has its checkpoint no more\n", a, after)

	// A record that the plan reuses must be there, and be of the key; stages that then run again are named by it alone.
	b.run(a, after)
	saved = b.save(a, after)
	check(os.RemoveAll(filepath.Join(b.store.Dir, "records")))
	b.stale(saved, "a.action: was to reuse, and would run: the store has its record no more\n"+
		"b.inputs: what it reads is not there any more\n", a, after)
	b.run(a, after)

	// A field is named although its stage's key was not known.
	changed := stage("b", []string{"read inputs.x out/copied"}, map[string]string{"x": "a"})
	b.stale(saved, "b.command[0]: read inputs.x out/copy → read inputs.x out/copied\n", a, changed)
	changed = stage("b", []string{"read inputs.x out/copy"}, map[string]string{"x": "a"})
	changed.Resources.Memory = 1 << 30
	changed.Needs = []pipelines.Edge{{Kind: "files", From: "a", Port: "out"}}
	b.stale(saved, "b.needs[0]: <nil> → a.out\nb.resources.memory: <nil> → 1.073741824e+09\n", a, changed)
	b.opts.Version = "newer"
	b.stale(saved, "hone: test → newer\n", a, after)
	b.opts.Version = "test"

	// What blocked a stage and does so no more is more work.
	b.opts.Worker = func() (string, error) { return "", os.ErrNotExist }
	tune := training(3, "linear", "")
	saved = b.save(tune)
	b.want(outlook(b.plan(tune)), "tune blocked")
	b.stale(saved, "", tune)
	b.opts.Worker = os.Executable
	b.stale(saved, "tune.action: was to be blocked, and would run: nothing blocks it any more\n", tune)
	b.want(fmt.Sprint(b.plan(tune).Code()), "1")
	b.opts.Worker = func() (string, error) { return "", os.ErrNotExist }
	b.want(fmt.Sprint(b.plan(tune).Code()), "6")
}
