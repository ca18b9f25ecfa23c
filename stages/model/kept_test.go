package model

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// goesOn does a stage undisturbed, and once more, interrupted at its first checkpoint and then gone on with: it wants the same bytes
// in a port. It returns what was kept in each of the three, as "64 completions".
func goesOn(t *testing.T, start func() *job.Job, port string) (whole, first, second []string) {
	t.Helper()
	kept := func(r stagetest.Result) (at []string) {
		for _, e := range r.Events {
			if e.Event == "checkpoint" {
				at = append(at, fmt.Sprint(e.Step, " ", e.Unit))
			}
		}
		return at
	}
	undisturbed := do(t, start())
	j := start()
	interrupted := untilKept(t, j)
	if interrupted.Code != 130 {
		t.Fatalf("exit %d: %+v", interrupted.Code, interrupted.Last())
	}
	next := start()
	next.Checkpoints, next.Log = j.Checkpoints, j.Log
	again := do(t, next)
	resumed := func(e job.Event) bool { return e.Event == "resumed" }
	if slices.ContainsFunc(undisturbed.Events, resumed) || !slices.ContainsFunc(again.Events, resumed) {
		t.Error("the last alone is resumed")
	}
	if digest(t, undisturbed.Out(port)) != digest(t, again.Out(port)) {
		t.Error("it gave other bytes")
	}
	if a, b := undisturbed.Last().Values["tokens"], again.Last().Values["tokens"]; a != b {
		t.Errorf("%g tokens, then %g", a, b)
	}
	return kept(undisturbed), kept(interrupted), kept(again)
}

// untilKept does a job and interrupts it at its first checkpoint.
func untilKept(t *testing.T, j *job.Job) stagetest.Result {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out bytes.Buffer
	code := stages.Run(ctx, stagetest.Write(t, j), Stages(), nil, writer(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte(`"checkpoint"`)) {
			interrupt()
		}
		return out.Write(b)
	}))
	return stagetest.Result{Code: code, Events: stagetest.Events(t, out.Bytes()), Job: j}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func numbered(t *testing.T, row string) job.Input {
	var all []string
	for i := range 70 {
		all = append(all, fmt.Sprintf(row, i))
	}
	return lines(t, all...)
}

// always keeps scores after each pass.
func always(t *testing.T) {
	was := keepScores
	keepScores = 0
	t.Cleanup(func() { keepScores = was })
}

func TestGenerateGoesOn(t *testing.T) {
	data := numbered(t, `{"prompt": "Which is larger, %d or 9?"}`)
	whole, first, second := goesOn(t, func() *job.Job {
		j := stagetest.New(t, "generate", `{"model": {"kind": "model", "from": "m", "port": "model"}, "data": {"kind": "dataset", "from": "d", "port": "data"},
			"maxNewTokens": 5, "batch": 2, "n": 2, "seed": 3, "temperature": 1, "date": "2024-07-26"}`, map[string]string{"data": "dataset"})
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		return j
	}, "data")
	all := []string{"64 completions", "128 completions", "140 completions"}
	if d := cmp.Diff([][]string{all, all[:1], all[1:]}, [][]string{whole, first, second}); d != "" {
		t.Error(d)
	}
}

// A chunk that is damaged is made anew, and what stands behind it too.
func TestGenerateGoesOnBehindDamage(t *testing.T) {
	dir := t.TempDir()
	a := asking{name: "answers", rows: 70, n: 2, batch: 2}
	for from := 0; from < 70; from = a.next(from) {
		answers := make([][][]int32, a.next(from)-from)
		for i := range answers {
			answers[i] = [][]int32{{1}, {2}}
		}
		if err := a.keep(dir, from, &chunk{Answers: answers}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.kept(dir).Answers); n != 70 {
		t.Fatalf("%d rows were kept", n)
	}
	if err := os.WriteFile(a.file(dir, 64), []byte(`{"answers": [[[1]]]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := len(a.kept(dir).Answers); n != 32 {
		t.Errorf("%d rows are whole", n)
	}
}

func TestEvalGoesOn(t *testing.T) {
	always(t)
	graded, text := numbered(t, `{"prompt": "Which is larger, %d or 9?", "answer": "9"}`), numbered(t, `{"text": "The larger of %[1]d and 9 is not known, nor is that of 8 and %[1]d."}`)
	for _, order := range []struct{ graded, text, first string }{{"a", "b", "32 a rows"}, {"b", "a", ""}} { // suites are measured by name
		config := fmt.Sprintf(`{"model": {"kind": "model", "from": "m", "port": "model"}, "batch": 1, "date": "2024-07-26", "suites": {
			%q: {"data": {"kind": "dataset", "from": "d", "port": "data"}, "exact": {}, "maxNewTokens": 5},
			%q: {"data": {"kind": "dataset", "from": "t", "port": "data"}, "perplexity": {}}}}`, order.graded, order.text)
		whole, first, second := goesOn(t, func() *job.Job {
			j := stagetest.New(t, "eval", config, map[string]string{"report": "report"})
			j.Inputs["model"], j.Inputs["suites."+order.graded+".data"], j.Inputs["suites."+order.text+".data"] = toy(t), graded, text
			return j
		}, "report")
		if len(whole) < 4 || order.first != "" && whole[0] != order.first || !slices.Equal(whole, union(first, second)) {
			t.Errorf("%q; interrupted %q, then %q", whole, first, second)
		}
	}
}

func TestReferenceGoesOn(t *testing.T) {
	always(t)
	data := numbered(t, `{"prompt": "Which is larger, %[1]d or 9?", "chosen": "The larger of the two numbers is 9.", "rejected": "The larger of the two is %[1]d."}`)
	c := dpoConfig(nil)
	config := encoded(t, c.ReferenceOf())
	whole, first, second := goesOn(t, func() *job.Job {
		j := stagetest.New(t, schemas.Reference, config, map[string]string{"logps": "files"})
		j.Inputs["model"], j.Inputs["data"] = toy(t), data
		return j
	}, "logps")
	if len(whole) < 3 || !slices.Equal(whole, union(first, second)) {
		t.Errorf("%q; interrupted %q, then %q", whole, first, second)
	}
}

// union is what was kept before and after an interruption: each once.
func union(first, second []string) []string {
	return slices.Compact(slices.Concat(first, second))
}
