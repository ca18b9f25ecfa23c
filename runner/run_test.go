package runner_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

func TestSecondRunReuses(t *testing.T) {
	b := newBench(t)
	pipe := []*pipelines.Stage{
		stage("a", []string{"write out/t hello"}, nil),
		stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"}),
	}
	b.want(outlook(b.plan(pipe...)), "a run, b run")
	b.want(story(b.run(pipe...)), "a ran, b ran")
	b.want(outlook(b.plan(pipe...)), "a reuse, b reuse")
	result := b.run(pipe...)
	b.want(story(result), "a reused, b reused")
	b.want(b.artifact(result, "b", "t"), "hello\n")
}

func TestRenamedStageRunsNothing(t *testing.T) {
	b := newBench(t)
	b.run(stage("a", []string{"write out/t hello"}, nil), stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"}))
	b.want(story(b.run(stage("first", []string{"write out/t hello"}, nil), stage("then", []string{"read inputs.from out/t"}, map[string]string{"from": "first"}))),
		"first reused, then reused")
}

func TestEqualBytesStopAChange(t *testing.T) {
	b := newBench(t)
	after := stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"})
	b.run(stage("a", []string{"write out/t hello"}, nil), after)
	changed := stage("a", []string{"sleep 1", "write out/t hello"}, nil)
	b.want(outlook(b.plan(changed, after)), "a run, b run") // b's key is not known before a has run
	if p := b.plan(changed, after).Stage("b"); p.Key != nil {
		t.Fatalf("the key of a stage whose input is not made is %s", *p.Key)
	}
	b.want(story(b.run(changed, after)), "a ran, b reused")
	b.want(story(b.run(stage("a", []string{"write out/t other"}, nil), after)), "a ran, b ran")
}

func TestFailureIsolation(t *testing.T) {
	b := newBench(t)
	result := b.run(
		stage("bad", []string{"say reading rows", "error no assistant turn"}, nil),
		stage("after", []string{"read inputs.from out/t"}, map[string]string{"from": "bad"}),
		stage("later", []string{"read inputs.from out/t"}, map[string]string{"from": "after"}),
		stage("good", []string{"write out/t x"}, nil),
		stage("fine", []string{"read inputs.from out/t"}, map[string]string{"from": "good"}),
	)
	b.want(story(result), "bad failed, after skipped, later skipped, good ran, fine ran")
	b.wantCode(result, 1)
	b.want(result.Stage("bad").Error, "data.jsonl:3: no assistant turn")
	b.want(result.Stage("later").Error, "bad failed")
}

// The hub is asked for what hone.lock has no commit of while other stages run, and one that does not answer fails its stage alone.
func TestHubIsAskedWhileOthersRun(t *testing.T) {
	b := newBench(t)
	const commit = "0123456789abcdef0123456789abcdef01234567"
	ended := make(chan struct{})
	said := ""
	b.opts.Observe = func(u runner.Update) {
		if u.Stage.Name == "good" && u.Ended != nil {
			close(ended)
		}
		if u.Stage.Name == "base" && u.Event.Event == "log" {
			said = u.Event.Message
		}
	}
	b.opts.Resolve = func(_ context.Context, repo, revision string) (string, error) {
		select {
		case <-ended:
		case <-time.After(time.Minute):
			return "", fmt.Errorf("good has not run meanwhile")
		}
		if repo == "org/none" {
			return "", fmt.Errorf("hf://%s@%s: no such model", repo, revision)
		}
		return commit, nil
	}
	hub := func(name, source string) *pipelines.Stage {
		s := stage(name, []string{"write out/t x"}, nil)
		s.Sources = []pipelines.Source{{Field: "source", Written: source, Hub: source}}
		return s
	}
	result := b.run(
		hub("base", "hf://org/toy"), hub("none", "hf://org/none"),
		stage("after", []string{"read inputs.from out/t"}, map[string]string{"from": "none"}),
		stage("good", []string{"write out/t x"}, nil),
	)
	b.want(story(result), "base ran, none failed, after skipped, good ran")
	b.wantCode(result, 6)
	b.want(result.Stage("none").Error, "hf://org/none@main: no such model")
	b.want(said, "asking the hub for hf://org/toy")
	lock, err := os.ReadFile(filepath.Join(b.dir, "hone.lock"))
	check(err)
	if !strings.Contains(string(lock), commit) {
		t.Errorf("hone.lock: %s", lock)
	}
}

func TestBadEndings(t *testing.T) {
	for order, want := range map[string]string{
		"error the data is wrong": "data.jsonl:3: the data is wrong",
		"garbage":                 `not of the protocol: "Loading checkpoint shards: 100%"`,
		"long":                    "a line of more than 1048576 bytes",
		"crash":                   "the worker crashed: hangup",
		"killed":                  "the worker was killed (signal 9) when it had taken ",
		"silent":                  "the worker has said nothing for 500ms",
		"panic":                   "panic: order panic",
		"quit 0":                  "the worker ended without a result",
		"quit 3":                  "the worker ended without a result: exit status 3",
	} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			if order == "crash" && signal.Ignored(syscall.SIGHUP) {
				t.Skip("hangups are ignored here, by nohup perhaps, and the worker ends by one")
			}
			b := newBench(t)
			if order == "silent" {
				b.opts.Silence = 500 * time.Millisecond
			}
			result := b.run(stage("a", []string{"write out/t x", "say last words", order}, nil))
			b.want(story(result), "a failed")
			b.wantCode(result, 1)
			if got := result.Stage("a").Error; !strings.Contains(got, want) {
				t.Fatalf("error %q, want %q in it", got, want)
			}
			if got := result.Stage("a").Error; !strings.HasPrefix(order, "error") && order != "panic" && !strings.Contains(got, "last words") {
				t.Fatalf("error %q lacks the last lines of standard error", got)
			}
			if left, _ := os.ReadDir(filepath.Join(b.store.Dir, "tmp")); len(left) != 0 {
				t.Fatalf("left in tmp: %v", left)
			}
		})
	}
}

func TestHostileOutputs(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	check(os.WriteFile(outside, []byte("mine"), 0o644))
	for name, c := range map[string]struct{ order, want string }{
		"link outside":  {"link out/t " + outside, "out/out: t: a link that leads outside the artifact; write the file itself"},
		"link nowhere":  {"link out/t gone", "out/out: t: a link that leads nowhere"},
		"link above":    {"link out/t ../../job.json", "out/out: t: a link that leads outside the artifact; write the file itself"},
		"link to dir":   {"link out/t .", "out/out: t: a link that leads outside the artifact; write the file itself"},
		"named pipe":    {"fifo out/t", "out/out: t: a named pipe cannot be part of an artifact"},
		"nothing there": {"sleep 1", "out/out: nothing was written"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			result := b.run(stage("a", []string{c.order}, nil))
			b.want(result.Stage("a").Error, c.want)
			b.wantCode(result, 1)
		})
	}
	t.Run("a hard link to a user's file is copied", func(t *testing.T) {
		b := newBench(t)
		mine := filepath.Join(b.dir, "mine")
		check(os.WriteFile(mine, []byte("mine\n"), 0o644))
		pipe := stage("a", []string{"hardlink out/t " + mine}, nil)
		b.run(pipe)
		check(os.WriteFile(mine, []byte("else\n"), 0o644)) // still writable, and not the store's
		b.want(b.artifact(b.run(pipe), "a", "t"), "mine\n")
	})
	t.Run("a link inside becomes a file", func(t *testing.T) {
		b := newBench(t)
		b.want(b.artifact(b.run(stage("a", []string{"write out/t x", "link out/u t"}, nil)), "a", "u"), "x\n")
	})
}

func TestDamageIsFoundBeforeUse(t *testing.T) {
	for name, damage := range map[string]func(path string){
		"bytes changed, size and time kept": func(path string) {
			info, err := os.Stat(path)
			check(err)
			check(os.Chmod(path, 0o644))
			check(os.WriteFile(path, []byte("HELLO\n"), 0o644))
			check(os.Chmod(path, 0o444))
			check(os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		"cut short":   func(path string) { check(os.Truncate(path, 2)) },
		"gone":        func(path string) { check(os.Remove(path)) },
		"folder gone": func(path string) { check(os.RemoveAll(filepath.Dir(path))) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a := stage("a", []string{"write out/t hello"}, nil)
			first := b.run(a)
			hash := first.Stage("a").Artifacts["out"].Hash
			damage(filepath.Join(b.store.Tree(hash), "t"))
			if strings.Contains(name, "gone") { // the object has another name still: nothing runs for it
				damage(filepath.Join(b.store.Dir, "objects", store.Sum([]byte("hello\n"))))
			}
			result := b.run(a, stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"}))
			b.want(story(result), "a ran, b ran")
			b.wantCode(result, 0)
			b.want(b.artifact(result, "b", "t"), "hello\n")
			b.want(result.Stage("a").Artifacts["out"].Hash, hash)
			if notes := fmt.Sprint(result.Stage("a").Notes); !strings.Contains(notes, "made again") {
				t.Fatalf("nothing said of the damage: %s", notes)
			}
		})
	}
}

func TestNotReproducible(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"random out/t"}, nil)
	first := b.run(a).Stage("a").Artifacts["out"].Hash
	b.opts.Force = []string{"a"}
	again := b.run(a).Stage("a")
	b.want(again.Artifacts["out"].Hash, first) // the first stays while it is there
	if !strings.Contains(fmt.Sprint(again.Notes), "not reproducible") {
		t.Fatalf("notes %v", again.Notes)
	}
}

// What is made again with other bytes has its readers run again, and those that were reused before look once more.
func TestDamageThatComesBackOtherwise(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"random out/t"}, nil)
	reader := stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"})
	first := b.run(a, reader)
	path := filepath.Join(b.store.Tree(first.Stage("a").Artifacts["out"].Hash), "t")
	text := b.artifact(first, "a", "t")
	info, err := os.Stat(path)
	check(err)
	check(os.Chmod(path, 0o644))
	check(os.WriteFile(path, []byte(strings.ToUpper(text)), 0o644))
	check(os.Chmod(path, 0o444))
	check(os.Chtimes(path, info.ModTime(), info.ModTime()))
	b.want(outlook(b.plan(a, reader)), "a reuse, b reuse") // reading alone would tell
	late := stage("c", []string{"read inputs.from out/other"}, map[string]string{"from": "a"})
	result := b.run(a, reader, late)
	b.want(story(result), "a ran, b ran, c ran")
	b.wantCode(result, 0)
	b.want(b.artifact(result, "b", "t"), b.artifact(result, "c", "other"))
	if notes := fmt.Sprint(result.Stage("a").Notes); !strings.Contains(notes, "not reproducible") || !strings.Contains(notes, "damaged") {
		t.Fatalf("notes %s", notes)
	}
}

func TestForceRunsAgain(t *testing.T) {
	b := newBench(t)
	count := filepath.Join(b.dir, "count")
	a := stage("a", []string{"count " + count, "write out/t x"}, nil)
	after := stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"})
	b.run(a, after)
	b.opts.Force = []string{"a"}
	b.want(story(b.run(a, after)), "a ran, b reused")
	b.want(fmt.Sprint(b.lines("count")), "2")
}

func TestSourceBytesAreTheKey(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "data.txt")
	check(os.WriteFile(file, []byte("one"), 0o644))
	pipe := func(file string) *pipelines.Stage {
		return withFile(stage("a", []string{"source files[0] out/t"}, nil), file)
	}
	b.run(pipe(file))
	moved := filepath.Join(b.dir, "elsewhere", "data.txt")
	check(os.Mkdir(filepath.Dir(moved), 0o755))
	check(os.Rename(file, moved))
	b.want(story(b.run(pipe(moved))), "a reused")
	check(os.WriteFile(moved, []byte("two"), 0o644)) // the same size, the same second
	plan := b.plan(pipe(moved))
	b.want(outlook(plan), "a run")
	b.want(plan.Stages[0].Why[0].Field, "files[0]")
	b.want(b.artifact(b.run(pipe(moved)), "a", "t"), "two")
}

func TestSourceThatChangesUnderAStage(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "data.txt")
	check(os.WriteFile(file, []byte("one"), 0o644))
	result := b.run(withFile(stage("a", []string{"source files[0] out/t", "touch " + file + " two"}, nil), file))
	b.want(result.Stage("a").Error, "data.txt: changed while the stage ran; run again")
	b.wantCode(result, 1)
}

func TestTwoRunsMakeAKeyOnce(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"count " + filepath.Join(b.dir, "count"), "sleep 200", "write out/t x"}, nil)
	var wg sync.WaitGroup
	stories := make([]string, 3)
	for i := range stories {
		wg.Go(func() { stories[i] = story(b.run(a)) })
	}
	wg.Wait()
	b.want(fmt.Sprint(b.lines("count")), "1")
	ran := 0
	for _, s := range stories {
		if s == "a ran" {
			ran++
		}
	}
	b.want(fmt.Sprint(ran), "1")
}

func TestTwinsInOnePipelineRunOnce(t *testing.T) {
	b := newBench(t)
	orders := []string{"count " + filepath.Join(b.dir, "count"), "sleep 50", "write out/t x"}
	b.run(stage("a", orders, nil), stage("b", orders, nil))
	b.want(fmt.Sprint(b.lines("count")), "1")
}

func TestInterruptAndResume(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"steps 20 20 out/t"}, nil)
	never := stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"})
	ctx, cancel := context.WithCancel(context.Background())
	b.opts.Observe = func(u runner.Update) {
		if u.Event.Event == "checkpoint" && u.Event.Step >= 3 {
			cancel()
		}
	}
	result, err := b.runner(a, never).Run(ctx)
	check(err)
	b.wantCode(result, 130)
	b.want(story(result), "a failed, b skipped")
	said := result.Stage("a")
	if where := regexp.MustCompile(`^interrupted at step \d+ of 20, saved at \d+`); !said.Interrupted ||
		!regexp.MustCompile(where.String()+`: the next run goes on from there$`).MatchString(said.Error) {
		t.Errorf("interrupted %v: %s", said.Interrupted, said.Error)
	} else if plan := b.plan(a, never); outlook(plan) != "a resume, b run" || fmt.Sprint(plan.Stages[0].Why[0].New) != where.FindString(said.Error) {
		t.Errorf("%s, %v", outlook(plan), plan.Stages[0].Why)
	}
	b.opts.Observe = nil
	b.opts.Threads = 1 // other threads, other bits: the attempt is no start, and the plan says with what it is one
	const remedy = "; --device cpu --threads 2 goes on from there; with --device cpu --threads 1 the bits would differ: --force a begins anew"
	if plan := b.plan(a, never); outlook(plan) != "a blocked, b blocked" || !strings.HasSuffix(fmt.Sprint(plan.Stages[0].Why[0].New), remedy) {
		t.Errorf("%s, %v", outlook(plan), plan.Stages[0].Why)
	}
	result = b.run(a, never)
	b.want(story(result), "a failed, b skipped")
	b.wantCode(result, 6)
	if said := result.Stage("a").Error; !strings.HasPrefix(said, "interrupted at step ") || !strings.HasSuffix(said, remedy) {
		t.Errorf("said %q", said)
	}
	b.opts.Threads = 2
	result = b.run(a, never)
	b.want(story(result), "a resumed, b ran")
	var want strings.Builder
	for i := range 20 {
		fmt.Fprintf(&want, "step %d\n", i)
	}
	b.want(b.artifact(result, "b", "t"), want.String())
	r := b.runner(a, never)
	plan, err := r.Plan()
	check(err)
	dir := r.LogDir(plan.Stage("a"))
	log, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	check(err)
	b.want(fmt.Sprint(strings.Count(string(log), "\n")), "20") // both attempts' steps, each once
	if left, _ := os.ReadDir(filepath.Join(b.store.Dir, "checkpoints")); len(left) != 0 {
		t.Fatalf("checkpoints left after success: %v", left)
	}
}

// interrupt runs a stage until it has a checkpoint.
func (b *bench) interrupt(s *pipelines.Stage) {
	ctx, cancel := context.WithCancel(context.Background())
	b.opts.Observe = func(u runner.Update) {
		if u.Event.Event == "checkpoint" {
			cancel()
		}
	}
	_, err := b.runner(s).Run(ctx)
	check(err)
	b.opts.Observe = nil
}

// A stage whose checkpoints are all of no use begins from nothing: it ran, whatever lies there.
func TestUselessCheckpointIsNotResumed(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"steps 10 20 out/t"}, nil)
	b.interrupt(a)
	found, err := filepath.Glob(filepath.Join(b.store.Dir, "checkpoints", "*", "*", "state", "trace"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	check(os.WriteFile(found[0], nil, 0o644))
	b.want(outlook(b.plan(a)), "a resume")
	result := b.run(a)
	b.want(story(result), "a ran")
	if record := b.plan(a).Stages[0].Record; record == nil || record.Resumed {
		t.Errorf("record %+v", record)
	}
}

var atStep = regexp.MustCompile(`of step \d+`) // how far it came until it was interrupted

func TestOtherNumericsDoNotResume(t *testing.T) {
	b := newBench(t)
	a := stage("a", []string{"steps 10 20 out/t"}, nil)
	b.interrupt(a)
	t.Setenv("FAKE_ISA", "another")
	for range 2 { // the checkpoint stays
		result := b.run(a)
		b.want(story(result), "a failed")
		b.wantCode(result, 6)
		if said := atStep.ReplaceAllString(result.Stages[0].Error, "of step N"); !strings.Contains(said, "the checkpoint of step N was made with cpu, 2 threads; here it is cpu, another, 2 threads, and the bits would differ: run it there, or begin anew with --force a") {
			t.Errorf("said %q", said)
		}
	}
	b.opts.Threads = 1 // forced, it begins anew beside the checkpoint, which stays
	b.opts.Force = []string{"a"}
	ctx, cancel := context.WithCancel(context.Background())
	b.opts.Observe = func(u runner.Update) {
		if u.Event.Event == "checkpoint" {
			cancel()
		}
	}
	_, err := b.runner(a).Run(ctx)
	check(err)
	b.opts.Observe, b.opts.Force, b.opts.Threads = nil, nil, 2
	t.Setenv("FAKE_ISA", "")
	b.want(story(b.run(a)), "a resumed")
	b.opts.Force = []string{"a"}
	t.Setenv("FAKE_ISA", "another")
	b.want(story(b.run(a)), "a ran")
}

func TestOnlyAStageAndWhatItNeeds(t *testing.T) {
	b := newBench(t)
	b.opts.Stages = []string{"b"}
	result := b.run(
		stage("a", []string{"write out/t x"}, nil),
		stage("other", []string{"error never"}, nil),
		stage("b", []string{"read inputs.from out/t"}, map[string]string{"from": "a"}),
	)
	b.want(story(result), "a ran, b ran")
}

// busiest is how many stages were at work at once, at most. All of them succeed.
func (b *bench) busiest(pipe ...*pipelines.Stage) int {
	var mu sync.Mutex
	now, most := 0, 0
	b.opts.Observe = func(u runner.Update) {
		mu.Lock()
		defer mu.Unlock()
		if u.Event.Event == "planned" {
			now++
			most = max(most, now)
		}
		if u.Event.Event == "placed" { // then the disk is at work
			now--
		}
	}
	b.wantCode(b.run(pipe...), 0)
	return most
}

func independent(n int, resources pipelines.Resources) (pipe []*pipelines.Stage) {
	for i := range n {
		s := stage(fmt.Sprintf("s%d", i), []string{"sleep 200", fmt.Sprintf("write out/t %d", i)}, nil)
		s.Resources = resources
		pipe = append(pipe, s)
	}
	return pipe
}

func TestIndependentStagesRunSideBySide(t *testing.T) {
	b := newBench(t)
	b.want(fmt.Sprint(b.busiest(independent(6, pipelines.Resources{})...)), "4") // -j 4
}

func TestReservedResourcesMakeStagesWait(t *testing.T) {
	for what, resources := range map[string]pipelines.Resources{
		"memory": {Memory: 1 << 60}, // more than there is: each has the machine to itself
		"cpus":   {CPUs: 1 << 20},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t)
			b.want(fmt.Sprint(b.busiest(independent(3, resources)...)), "1")
		})
	}
}

func TestMissingWorkerIsTheEnvironments(t *testing.T) {
	b := newBench(t)
	b.opts.Worker = func() (string, error) { return "", fmt.Errorf("no hone-worker") }
	merge := &pipelines.Stage{
		Name: "m", Kind: "model.merge", Config: []byte(`{"model": {"kind": "adapter", "from": "a", "port": "out"}}`),
		Outputs: []pipelines.Output{{Port: "model", Kind: "model"}},
		Inputs:  []pipelines.Input{{Field: "model", Edge: pipelines.Edge{Kind: "adapter", From: "a", Port: "out"}}},
	}
	pipe := []*pipelines.Stage{stage("a", []string{"write out/t x"}, nil), merge}
	b.want(outlook(b.plan(pipe...)), "a run, m blocked")
	result := b.run(pipe...)
	b.want(story(result), "a ran, m failed")
	b.wantCode(result, 6)
}
