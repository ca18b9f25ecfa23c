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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/runner/store"
)

// trained trains a whole model, an adapter, a preference, and an adapter on its own answers, with every draw that a resume must
// repeat, and goes on with the first two. It is for a model of any size: _scale is of the rates, _batch of the steps, of which there
// are _steps.
const trained = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "trained"
stages: {
	base: {kind: "model.load", source: _model}
	rows: {kind: "data.load", source: _rows}
	_train: {
		kind:         "train.sft"
		model:        stages.base.out.model
		data:         stages.rows.out.data
		learningRate: 1e-2 * _scale
		batch: {rows: _batch, accumulate: 2}
	}
	full: _train & {maxSteps: _steps, schedule: {kind: "cosine", warmup: 3}, saveEvery: 1, saveTotalLimit: 2, logEvery: 1}
	lora: _train & {maxSteps: 2 * _steps, lora: {rank: 4, dropout: 0.3, dora: true}, seed: 7, packing: true, maxLength: 128, saveEvery: 2, logEvery: 3}
	pairs: {kind: "data.load", source: _pairs}
	prefer: {
		kind: "train.dpo", model: stages.base.out.model, data: stages.pairs.out.data, learningRate: 1e-3 * _scale, maxSteps: _steps, seed: 3
		batch: {rows: _batch, accumulate: 2}, saveEvery: 1, logEvery: 2
	}
	rl: {
		kind:  "train.grpo"
		model: stages.base.out.model
		data:  stages.rows.out.data
		rewards: short: cel: expression: "1.0 / double(1 + size(completion))"
		learningRate: 1e-2 * _scale, maxSteps: _steps, iterations: 2, beta: 0.1, generations: 3, maxNewTokens: 6
		batch: {rows: 1, accumulate: 2}
		lora: {rank: 4, dropout: 0.2, quantize: "nf4", doubleQuantize: true}
		saveEvery: 1, logEvery: 2
	}
	merged: {kind: "model.merge", model: stages.lora.out.model}
	score: {kind: "eval", model: stages.merged.out.model, baseline: stages.full.out.model, suites: loss: {data: stages.rows.out.data, perplexity: {}}}
	ship: {kind: "export", model: stages.lora.out.model}
}
_model: string @tag(model)
_rows:  string @tag(rows)
_pairs: string @tag(pairs)
_scale: number @tag(scale,type=number)
_batch: int @tag(batch,type=int)
_steps: int @tag(steps,type=int)
`

// trainings are the stages of it that train: how many steps lie between two that are logged, and between two that are saved.
var trainings = map[string]struct{ logged, saved int }{"full": {1, 1}, "lora": {3, 2}, "prefer": {2, 1}, "rl": {2, 1}}

// subject is a model that the pipeline is of, with what suits its size, and how long a step of it takes at least.
type subject struct {
	model                 string
	scale                 float64
	batch, steps, threads int
	step                  time.Duration
}

// total is how many steps a stage makes.
func (s subject) total(stage string) int {
	if stage == "lora" {
		return 2 * s.steps
	}
	return s.steps
}

func toySubject(t *testing.T) subject {
	t.Helper()
	toy, err := filepath.Abs("../../internal/train/testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	return subject{toy, 1, 3, 60, 1, 2 * time.Millisecond}
}

// training is the pipeline in a folder with a store.
type training struct {
	*testing.T
	subject
	dir string
}

func newTraining(t *testing.T, of subject) *training {
	t.Helper()
	if _, err := exec.LookPath(os.Getenv("HONE_WORKER")); err != nil {
		t.Skip("HONE_WORKER names no hone-worker")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.cue"), []byte(trained), 0o644); err != nil {
		t.Fatal(err)
	}
	return &training{t, of, dir}
}

func (t *training) store() string { return filepath.Join(t.dir, "store") }

// command is hone in a process group of its own.
func (t *training) command(args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	data := filepath.Dir(toySubject(t.T).model)
	args = append(args, "--store", t.store(), "--threads", strconv.Itoa(t.threads), "-t", "model="+t.model,
		"-t", "rows="+filepath.Join(data, "messages.jsonl"), "-t", "pairs="+filepath.Join(data, "pairs.jsonl"),
		"-t", fmt.Sprint("scale=", t.scale), "-t", fmt.Sprint("batch=", t.batch), "-t", fmt.Sprint("steps=", t.steps))
	cmd = exec.Command("hone", args...)
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
		if _, ok := trainings[s.Name]; ok {
			made[s.Name+" metrics"] = s.Record.Metrics
		}
	}
	for stage, every := range trainings {
		var want []int
		for step := every.logged; step < t.total(stage); step += every.logged {
			want = append(want, step)
		}
		want = append(want, t.total(stage))
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
func whole(t *testing.T, of subject) map[string]any {
	t.Helper()
	undisturbed := newTraining(t, of)
	undisturbed.hone("run")
	made, resumed := undisturbed.made()
	for stage := range trainings {
		if resumed[stage] {
			t.Fatalf("resumed %v", resumed)
		}
	}
	if len(made) < 12 {
		t.Fatalf("%d things made", len(made))
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

// seed draws where trainings are killed; HONE_SEED repeats it.
var seed = sync.OnceValue(func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("HONE_SEED"), 10, 64); err == nil {
		return n
	}
	return rand.Uint64()
})

// kill has a stage run and kills it, by turns with its runner or orphaned, at ten random steps: at a moment after the step is saved,
// and by turns in the middle of the next checkpoint.
func (t *training) kill(stage string) {
	t.Helper()
	every := trainings[stage].saved
	others := map[string]bool{} // folders of the states of stages killed before
	for _, path := range t.find("*") {
		others[filepath.Dir(path)] = true
	}
	random := rand.New(rand.NewPCG(seed(), 0))
	saves := t.total(stage) / every
	at := random.Perm(max(10, min(saves-1, saves*9/10)))[:10] // none of the last: the stage may have ended before it is seen
	slices.Sort(at)
	t.Logf("HONE_SEED=%d: %s is killed after saves %v of every %d steps, counted from 0", seed(), stage, at, every)
	for i, k := range at {
		cmd, stdout, stderr := t.command("run", "--stage", stage)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait(); close(ended) }()
		saved := func() bool {
			return slices.ContainsFunc(t.find("step-*.json"), func(path string) bool {
				return !others[filepath.Dir(path)] && filepath.Base(path) >= fmt.Sprintf("step-%012d.json", (k+1)*every)
			})
		}
		middle, before := i%2 == 1, t.find(".writing-*")
		writing := func() bool {
			return slices.ContainsFunc(t.find(".writing-*"), func(path string) bool { return !slices.Contains(before, path) })
		}
		if !until(ended, func() bool { return saved() && (!middle || writing()) }) {
			t.Fatalf("%s ended before kill %d\n%s%s", stage, i+1, stdout, stderr)
		}
		if !middle {
			time.Sleep(time.Duration(random.Int64N(int64(t.step))))
		}
		pid := cmd.Process.Pid
		if i/2%2 == 0 {
			pid = -pid
		}
		syscall.Kill(pid, syscall.SIGKILL)
		<-ended
	}
}

// A training that is killed at any moment, within a step, within the writing of a checkpoint or between both, and with
// its runner or orphaned, makes the bits of one that is not.
func TestTrainingKilled(t *testing.T) {
	killed := func(t *testing.T, of subject) {
		want := whole(t, of)
		disturbed := newTraining(t, of)
		for stage := range trainings {
			disturbed.kill(stage)
		}
		disturbed.hone("run")
		resumed := disturbed.same(want)
		for stage := range trainings {
			if !resumed[stage] {
				t.Errorf("%s was not resumed", stage)
			}
		}
	}
	t.Run("toy", func(t *testing.T) { killed(t, toySubject(t)) })
	t.Run("SmolLM2", func(t *testing.T) {
		smollm2 := os.Getenv("HONE_SMOLLM2")
		if os.Getenv("HONE_LONG") == "" || smollm2 == "" {
			t.Skip("HONE_LONG is not set, or HONE_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct")
		}
		killed(t, subject{smollm2, 0.01, 1, 12, 2, time.Second})
	})
}

// Interrupted, a training saves and ends with 130 well within ten seconds. The next run goes on from there, or from the
// checkpoint before where that one is damaged meanwhile.
func TestTrainingInterrupted(t *testing.T) {
	want := whole(t, toySubject(t))
	disturbed := newTraining(t, toySubject(t))
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
		if said := string(disturbed.hone("plan")); !regexp.MustCompile(`(?m)^> full .* resume +interrupted at step \d+ of \d+,\s+saved at \d+$`).MatchString(said) {
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
