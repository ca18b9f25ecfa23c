package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/runner/store"
)

// trained trains a whole model, an adapter, a preference, and an adapter on its own answers, with every draw that a resume must
// repeat, and goes on with the first two.
const trained = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "trained"
stages: {
	base: {kind: "model.load", source: _toy}
	rows: {kind: "data.load", source: _rows}
	_train: {
		kind:         "train.sft"
		model:        stages.base.out.model
		data:         stages.rows.out.data
		learningRate: 1e-2
		maxSteps:     14
		batch: {rows: 3, accumulate: 2}
	}
	full: _train & {schedule: {kind: "cosine", warmup: 3}, saveEvery: 1, saveTotalLimit: 2, logEvery: 1}
	lora: _train & {lora: {rank: 4, dropout: 0.3, dora: true}, seed: 7, packing: true, maxLength: 128, saveEvery: 2, logEvery: 3}
	pairs: {kind: "data.load", source: _pairs}
	prefer: {
		kind: "train.dpo", model: stages.base.out.model, data: stages.pairs.out.data, learningRate: 1e-3, maxSteps: 9, seed: 3
		batch: {rows: 3, accumulate: 2}, saveEvery: 1, logEvery: 2
	}
	rl: {
		kind:  "train.grpo"
		model: stages.base.out.model
		data:  stages.rows.out.data
		rewards: short: cel: expression: "1.0 / double(1 + size(completion))"
		learningRate: 1e-2, maxSteps: 9, iterations: 2, beta: 0.1, generations: 3, maxNewTokens: 6
		batch: {rows: 2, accumulate: 2}
		lora: {rank: 4, dropout: 0.2, quantize: "nf4", doubleQuantize: true}
		saveEvery: 1, logEvery: 2
	}
	merged: {kind: "model.merge", model: stages.lora.out.model}
	score: {kind: "eval", model: stages.merged.out.model, baseline: stages.full.out.model, suites: loss: {data: stages.rows.out.data, perplexity: {}}}
	ship: {kind: "export", model: stages.lora.out.model}
}
_toy:  string @tag(toy)
_rows: string @tag(rows)
_pairs: string @tag(pairs)
`

// steps are those that each training of it logs.
var steps = map[string][]int{"full": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, "lora": {3, 6, 9, 12, 14}, "prefer": {2, 4, 6, 8, 9}, "rl": {2, 4, 6, 8, 9}}

// training is the pipeline in a folder with a store.
type training struct {
	*testing.T
	dir string
}

func newTraining(t *testing.T, pipeline string) *training {
	t.Helper()
	if _, err := exec.LookPath(os.Getenv("HONE_WORKER")); err != nil {
		t.Skip("HONE_WORKER names no hone-worker")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.cue"), []byte(pipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	return &training{t, dir}
}

func (t *training) store() string { return filepath.Join(t.dir, "store") }

// command is hone in a process group of its own.
func (t *training) command(args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	toy, err := filepath.Abs("../../internal/train/testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	rows, pairs := filepath.Join(filepath.Dir(toy), "messages.jsonl"), filepath.Join(filepath.Dir(toy), "pairs.jsonl")
	cmd = exec.Command("hone", append(args, "-t", "toy="+toy, "-t", "rows="+rows, "-t", "pairs="+pairs, "--store", t.store(), "--threads", "1")...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "REAL_WORKER="+os.Getenv("HONE_WORKER")) // the one on PATH is the scripts'
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// hone wants exit code 0 and gives standard output.
func (t *training) hone(args ...string) []byte {
	t.Helper()
	cmd, stdout, stderr := t.command(args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("hone %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout.Bytes()
}

// made is what a finished run leaves: the hashes of all artifacts by stage and port, and the metrics of each training and
// of each step of it, but those of the clock. The other value is which stages have resumed.
func (t *training) made() (made map[string]any, resumed map[string]bool) {
	t.Helper()
	var show struct {
		Stages []struct {
			Name   string
			Record *store.Record
		}
	}
	if err := json.Unmarshal(t.hone("show", "--json"), &show); err != nil {
		t.Fatal(err)
	}
	made, resumed = map[string]any{}, map[string]bool{}
	for _, s := range show.Stages {
		if s.Record == nil {
			t.Fatalf("%s has no record", s.Name)
		}
		for port, out := range s.Record.Outputs {
			made[s.Name+"."+port] = out.Hash
		}
		resumed[s.Name] = s.Record.Resumed
		if steps[s.Name] != nil {
			made[s.Name+" metrics"] = s.Record.Metrics
		}
	}
	for stage, want := range steps {
		var logged []map[string]any
		var at []int
		for line := range bytes.Lines(t.hone("log", stage, "--json")) {
			var metrics map[string]any
			if err := json.Unmarshal(line, &metrics); err != nil {
				t.Fatal(err)
			}
			at = append(at, int(metrics["step"].(float64)))
			delete(metrics, "time")
			delete(metrics, "tokens_per_second")
			logged = append(logged, metrics)
		}
		if d := cmp.Diff(want, at); d != "" {
			t.Errorf("steps in the log of %s: want -, got +\n%s", stage, d)
		}
		made[stage+" logged"] = logged
	}
	return made, resumed
}

// whole is what the pipeline makes undisturbed.
func whole(t *testing.T) map[string]any {
	t.Helper()
	undisturbed := newTraining(t, trained)
	undisturbed.hone("run")
	made, resumed := undisturbed.made()
	if len(made) < 12 || resumed["full"] || resumed["lora"] || resumed["rl"] {
		t.Fatalf("%d things made, resumed %v", len(made), resumed)
	}
	return made
}

// same compares with what whole made.
func (t *training) same(want map[string]any) (resumed map[string]bool) {
	t.Helper()
	got, resumed := t.made()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("undisturbed -, disturbed +\n%s", d)
	}
	st, err := store.Open(t.store())
	if err != nil {
		t.Fatal(err)
	}
	if found, err := st.Fsck(); err != nil || len(found.Problems) > 0 {
		t.Errorf("the store is damaged: %v %v", err, found.Problems)
	}
	return resumed
}

// find is the files in the state folders of stages that are not done.
func (t *training) find(pattern string) []string {
	paths, _ := filepath.Glob(filepath.Join(t.store(), "checkpoints", "*", "*", "state", pattern))
	return paths
}

// until waits for what happens while cmd runs, and reports whether it did before cmd ended.
func until(ended <-chan error, happens func() bool) bool {
	for {
		select {
		case <-ended:
			return false
		default:
		}
		if happens() {
			return true
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// A training that is killed at any moment, within a step, within the writing of a checkpoint or between both, and with
// its runner or orphaned, makes the bits of one that is not.
func TestTrainingKilled(t *testing.T) {
	want := whole(t)
	for _, group := range []bool{true, false} {
		t.Run(fmt.Sprintf("group=%v", group), func(t *testing.T) {
			disturbed := newTraining(t, trained)
			kills := 0
			for ; kills < 9; kills++ {
				cmd, _, _ := disturbed.command("run")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait(); close(ended) }()
				pattern, more := "writing-*", 1
				if kills%2 == 0 {
					pattern, more = "step-*.json", 1+rand.IntN(3)
				}
				before := disturbed.find(pattern)
				if !until(ended, func() bool {
					return len(slices.DeleteFunc(disturbed.find(pattern), func(path string) bool { return slices.Contains(before, path) })) >= more
				}) {
					break
				}
				if kills%2 == 0 {
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
				}
				pid := cmd.Process.Pid
				if group {
					pid = -pid
				}
				syscall.Kill(pid, syscall.SIGKILL)
				<-ended
			}
			disturbed.hone("run")
			if resumed := disturbed.same(want); kills < 3 || !resumed["full"] && !resumed["lora"] && !resumed["rl"] {
				t.Errorf("%d kills, resumed: %v", kills, resumed)
			}
			t.Logf("%d kills", kills)
		})
	}
}

// Interrupted, a training saves and ends with 130 well within ten seconds. The next run goes on from there, or from the
// checkpoint before where that one is damaged meanwhile.
func TestTrainingInterrupted(t *testing.T) {
	want := whole(t)
	disturbed := newTraining(t, trained)
	for _, spoil := range []bool{false, true} {
		cmd, stdout, stderr := disturbed.command("run", "--stage", "full")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait(); close(ended) }()
		newest := ""
		if before := disturbed.find("step-*.json"); len(before) > 0 {
			newest = before[len(before)-1]
		}
		if !until(ended, func() bool {
			now := disturbed.find("step-*.json")
			return len(now) > 1 && now[len(now)-1] > newest
		}) {
			t.Fatalf("ended before it was interrupted\n%s%s", stdout, stderr)
		}
		began := time.Now()
		cmd.Process.Signal(os.Interrupt)
		var exit *exec.ExitError
		if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != 130 {
			t.Fatalf("%v, want exit code 130\n%s%s", err, stdout, stderr)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("ended after %v", took)
		}
		if said := string(disturbed.hone("plan")); !regexp.MustCompile(`(?m)^> full .* resume +interrupted at step \d+ of \d+, saved at \d+$`).MatchString(said) {
			t.Errorf("plan says\n%s", said)
		}
		states := disturbed.find("step-*.bin")
		if len(states) < 2 {
			t.Fatalf("checkpoints left: %v", states)
		}
		if spoil {
			b, err := os.ReadFile(states[len(states)-1])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(states[len(states)-1], b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var result struct {
		Stages []struct{ Name, Status string }
	}
	if err := json.Unmarshal(disturbed.hone("run", "--json"), &result); err != nil {
		t.Fatal(err)
	}
	for _, s := range result.Stages {
		if s.Name == "full" && s.Status != "resumed" {
			t.Errorf("full is %s, want resumed", s.Status)
		}
	}
	if resumed := disturbed.same(want); !resumed["full"] {
		t.Error("the record of full does not say that it was resumed")
	}
}
