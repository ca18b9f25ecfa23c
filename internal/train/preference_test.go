package train

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// preferenceRows is a file of rows as a trainer of TRL tokenizes them.
type preferenceRows struct{ Rows, Unseen []preferenceRow }

type preferenceRow struct {
	Prompt, Chosen, Rejected, Completion, Other []int32
	Label                                       int
}

type preferenceTrace struct {
	Config struct {
		trainingFields
		Loss                               string
		Beta, LabelSmoothing, Gamma        float64
		DesirableWeight, UndesirableWeight float64
		MaxLength                          int
	}
	Rows    string
	Dropped int
	Steps   []struct {
		Loss         float64
		GradNorm     float64 `json:"grad_norm"`
		LearningRate float64 `json:"learning_rate"`
		Metrics      map[string]float64
	}
	Eval struct {
		Loss    float64
		Metrics map[string]float64
	}
	Unseen struct{ Margin float64 }
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Each trace of TRL's preference trainers on the toy model: loss, gradient norm, learning rate and metrics of every step, and
// what unseen rows are worth after the last, within 1e-3 relative.
func TestPreferenceTraces(t *testing.T) {
	paths, _ := filepath.Glob("testdata/dpo/*.json")
	traces := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if strings.HasPrefix(name, "pairs") || strings.HasPrefix(name, "labelled") {
			continue
		}
		traces++
		t.Run(name, func(t *testing.T) { guard(t, func() { prefer(t, path, name) }) })
	}
	if traces < 20 {
		t.Errorf("%d traces", traces)
	}
}

func answer(prompt, completion []int32, maxLength int) Answer {
	e := Example{IDs: slices.Concat(prompt, completion)}
	e.Trained = make([]bool, len(e.IDs))
	for i := len(prompt); i < len(e.IDs); i++ {
		e.Trained[i] = true
	}
	n := min(len(e.IDs), maxLength)
	e.IDs, e.Trained = e.IDs[:n], e.Trained[:n]
	return Answer{Example: e}
}

// referred fills in the references.
func referred(t *testing.T, m *model.Model, answers ...*Answer) {
	examples := make([]Example, len(answers))
	for i, a := range answers {
		examples[i] = a.Example
	}
	scores, err := Score(m, examples, nil, func([]float64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		a.Reference = scores[i]
	}
}

func prefer(t *testing.T, path, name string) {
	var g preferenceTrace
	readJSON(t, path, &g)
	c := g.Config
	m, err := model.Load("testdata/toy", tensor.Float32, c.LoRA == nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	store := &m.Base
	if c.LoRA != nil {
		if err := m.LoadAdapter(filepath.Join("testdata/dpo", name+"-init"), true); err != nil {
			t.Fatal(err)
		}
		store = &m.Adapter
	}
	var file preferenceRows
	readJSON(t, filepath.Join("testdata/dpo", g.Rows+".json"), &file)
	read := func(rows []preferenceRow, maxLength int) (pairs []Pair, judged []Judged) {
		for _, r := range rows {
			if len(r.Prompt) >= maxLength {
				continue
			}
			if r.Chosen == nil {
				judged = append(judged, Judged{Answer: answer(r.Prompt, r.Completion, maxLength), Desirable: r.Label == 1, Other: answer(r.Prompt, r.Other, maxLength)})
			} else {
				pairs = append(pairs, Pair{answer(r.Prompt, r.Chosen, maxLength), answer(r.Prompt, r.Rejected, maxLength)})
			}
		}
		return pairs, judged
	}
	pairs, judged := read(file.Rows, c.MaxLength)
	if len(file.Rows)-len(pairs)-len(judged) != g.Dropped {
		t.Errorf("%d rows are left of %d, TRL drops %d", len(pairs)+len(judged), len(file.Rows), g.Dropped)
	}
	heldPairs, heldJudged := read(file.Unseen, c.MaxLength)
	if c.Loss == "kto" { // the margin is of pairs all the same
		readJSON(t, "testdata/dpo/pairs.json", &file)
	}
	unseen, _ := read(file.Unseen, 512)
	var all []*Answer
	for _, list := range [][]Judged{judged, heldJudged} {
		for i := range list {
			all = append(all, &list[i].Answer, &list[i].Other)
		}
	}
	for _, list := range [][]Pair{pairs, heldPairs, unseen} {
		for i := range list {
			all = append(all, &list[i].Chosen, &list[i].Rejected)
		}
	}
	p := loss.Preference{Kind: c.Loss, Beta: c.Beta, LabelSmoothing: c.LabelSmoothing, Gamma: c.Gamma}
	if !p.ReferenceFree() {
		referred(t, m, all...)
	}

	kto := loss.KTO{Beta: c.Beta, Desirable: c.DesirableWeight, Undesirable: c.UndesirableWeight}
	tr := newTrainer(t, m, store, c.Optimizer, c.Clip)
	norms := 1e-3
	if c.Loss == "discopop" { // its slope turns within a twentieth of the margin, and so multiplies what differs
		norms = 3e-3
	}
	order := &Order{Examples: len(pairs) + len(judged), Rows: c.Batch.Rows, Accumulate: c.Batch.Accumulate}
	for i, want := range g.Steps {
		share, err := c.Schedule.At(int64(i), *c.MaxSteps)
		if err != nil {
			t.Fatal(err)
		}
		micro := order.Step(int64(i))
		metrics, counts := map[string]float64{}, map[string]float64{}
		r, err := tr.Step(context.Background(), len(micro), func(k int) (float64, error) {
			var value float64
			var found map[string]float64
			var err error
			if c.Loss == "kto" {
				value, found, err = tr.KTO(pick(judged, micro[k]), kto, 1/float64(len(micro)))
			} else {
				value, found, err = tr.Preference(pick(pairs, micro[k]), p, 1/float64(len(micro)))
			}
			for name, v := range found {
				metrics[name] += v
				counts[name]++
			}
			return value, err
		}, share*c.LearningRate)
		if err != nil {
			t.Fatal(err)
		}
		near(t, i+1, "loss", r.Loss, want.Loss, 1e-3)
		near(t, i+1, "grad_norm", r.GradNorm, want.GradNorm, norms)
		near(t, i+1, "learning_rate", share*c.LearningRate, want.LearningRate, 1e-6)
		for name, n := range counts {
			metrics[name] /= n
		}
		sameMetrics(t, fmt.Sprintf("step %d", i+1), metrics, want.Metrics)
	}
	got, err := Averaged(context.Background(), len(heldPairs)+len(heldJudged), 4, func(from, to int) (map[string]float64, error) { // EVAL of dpo.py
		if c.Loss == "kto" {
			return MeasureKTO(m, heldJudged[from:to], kto)
		}
		return MeasurePreference(m, heldPairs[from:to], p)
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, len(g.Steps), "eval_loss", got["loss"], g.Eval.Loss, 1e-3)
	sameMetrics(t, "eval", got, g.Eval.Metrics)
	after := slices.Clone(unseen)
	var examples []*Answer
	for i := range after {
		examples = append(examples, &after[i].Chosen, &after[i].Rejected)
	}
	referred(t, m, examples...)
	var margin float64
	for i, x := range after {
		chosen, rejected := p.Rewards(loss.Pair{
			Chosen:   loss.Answer{LogProb: x.Chosen.Reference, Reference: unseen[i].Chosen.Reference, Tokens: int(x.Chosen.Labels())},
			Rejected: loss.Answer{LogProb: x.Rejected.Reference, Reference: unseen[i].Rejected.Reference, Tokens: int(x.Rejected.Labels())},
		})
		margin += (chosen - rejected) / float64(len(after))
	}
	near(t, len(g.Steps), "reward margin of unseen pairs", margin, g.Unseen.Margin, 1e-3)
}

// sameMetrics holds what TRL logs beside a loss.
func sameMetrics(t *testing.T, at string, got, want map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s: no metric %s", at, name)
		}
		if name == "rewards/accuracies" && math.Abs(want["rewards/margins"]) < 1e-4 {
			continue // of margins that are zero but for rounding
		}
		// A reward is the difference of two sums of dozens of f32 log-likelihoods: near zero it has no digits of its own.
		if got, want := got[name], want[name]; math.Abs(got-want) > 1e-3*math.Abs(want)+5e-5 {
			t.Errorf("%s: %s %.6g, TRL %.6g", at, name, got, want)
		}
	}
}

func pick[T any](items []T, at []int) (out []T) {
	for _, i := range at {
		out = append(out, items[i])
	}
	return out
}
