package model

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
)

// grpoTrace is a trace of TRL's GRPOTrainer with the completions fixed, as bench/golden/grpo.py says.
type grpoTrace struct {
	Config  json.RawMessage
	Weights map[string]float64
	Prompts []struct {
		IDs         []int32
		Completions []struct {
			IDs     []int32
			Rewards map[string]float64
		}
	}
	Steps []struct {
		Loss         float64
		GradNorm     float64 `json:"grad_norm"`
		LearningRate float64 `json:"learning_rate"`
		Metrics      map[string]float64
	}
	Unseen struct {
		Loss float64
		Rows []struct {
			IDs     []int32
			Trained []int
		}
	}
}

// Where nine groups of ten have no answer that is better than another, over five logged steps, one line says so.
func TestEqualRewardsAreSaid(t *testing.T) {
	for of10, want := range map[int]string{
		10: "for 20 steps all answers to 100% of the prompts have had the same reward, 0.25 of late",
		9:  "for 20 steps all answers to 90% of the prompts have had the same reward, 0.25 of late",
		8:  "",
	} {
		var said []string
		p := &policy{
			config: &schemas.TrainGRPO{Training: schemas.Training{LogEvery: 4}, Generations: 8, Temperature: 1, Iterations: 2},
			warn:   func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
		}
		for round := range 60 {
			zero := 1.0
			if round%10 >= of10 { // ten rounds of two steps are five logged ones
				zero = 0
			}
			p.watch(map[string]float64{"frac_reward_zero_std": zero, "reward": 0.25})
			if round < 9 && said != nil {
				t.Fatalf("%d of 10: said after %d rounds", of10, round+1)
			}
		}
		if want == "" && said == nil {
			continue
		}
		if len(said) != 1 || !strings.HasPrefix(said[0], want) || want == "" || !strings.Contains(said[0], "temperature is 1") {
			t.Errorf("%d of 10: said %q", of10, said)
		}
	}
}

// Each trace of TRL on the toy model: loss, gradient norm and every metric of a step, and the loss of unseen rows after the last.
func TestGRPOTraces(t *testing.T) {
	paths, _ := filepath.Glob("testdata/grpo/*.json")
	if len(paths) < 8 {
		t.Fatalf("%d traces", len(paths))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			tensor.Lock()
			defer tensor.Open().Close()
			if err := tensor.Guard(func() error { followGRPO(t, name); return nil }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// replayed trains the toy on a trace's completions, step by step.
func replayed(t *testing.T, name string, dtype tensor.Dtype) (g grpoTrace, m *model.Model, steps []outcome) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/grpo", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	var c schemas.TrainGRPO
	if err := json.Unmarshal(g.Config, &c); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(trainData, "toy")
	m, err = model.Load(dir, dtype, c.LoRA == nil)
	if err != nil {
		t.Fatal(err)
	}
	store := &m.Base
	if c.LoRA != nil {
		if err := m.LoadAdapter(filepath.Join("testdata/grpo", name+"-init"), true); err != nil {
			t.Fatal(err)
		}
		store = &m.Adapter
	}
	start, err := model.Load(dir, dtype, false)
	if err != nil {
		t.Fatal(err)
	}
	defer start.Free()
	p := &policy{
		config: &c, warn: t.Logf, ends: map[int32]bool{2: true},
		loss: loss.Policy{Kind: c.Loss, Sequence: c.Ratio == "sequence", Low: c.Epsilon, High: c.High(), Beta: c.Beta, MaxTokens: c.MaxNewTokens},
		answers: func(_ context.Context, _ *model.Model, _ int64, items []int) (all [][]int32, err error) {
			for _, item := range items {
				for _, x := range g.Prompts[item].Completions {
					all = append(all, x.IDs)
				}
			}
			return all, nil
		},
		rewards: func(_ context.Context, items []int, _ [][]int32) (sums []float64, byName map[string][]float64, err error) {
			byName = map[string][]float64{}
			for _, item := range items {
				for _, x := range g.Prompts[item].Completions {
					var sum float64
					for reward, score := range x.Rewards {
						sum += g.Weights[reward] * score
						byName[reward] = append(byName[reward], score)
					}
					sums = append(sums, sum)
				}
			}
			return sums, byName, nil
		},
	}
	if c.Beta > 0 {
		p.reference = func(batch []train.Example) ([]float32, error) {
			l, err := train.Evaluate(start, batch, 1/c.Temperature)
			return l.LogProbs, err
		}
	}
	for _, x := range g.Prompts {
		p.prompts = append(p.prompts, prompt{ids: x.IDs})
	}
	order := &train.Order{Examples: len(p.prompts), Rows: c.Batch.Rows, Accumulate: c.Batch.Accumulate, Repeat: c.Iterations}
	optimizer, err := optim.New(optim.Config{Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, store)
	if err != nil {
		t.Fatal(err)
	}
	defer optimizer.Free()
	tr := &train.Trainer{Model: m, Store: store, Optimizer: optimizer, Clip: c.Clip}
	for i, want := range g.Steps {
		r, err := p.step(context.Background(), tr, order.Step(int64(i)), want.LearningRate)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, r)
	}
	return g, m, steps
}

func followGRPO(t *testing.T, name string) {
	g, m, steps := replayed(t, name, tensor.Float32)
	defer m.Free()
	for i, want := range g.Steps {
		r := steps[i]
		// Terms of order one cancel in the loss: what float32 leaves of their sum counts, not the sum.
		nearly(t, i+1, "loss", r.Loss, want.Loss, 2e-6)
		nearly(t, i+1, "grad_norm", r.GradNorm, want.GradNorm, 0)
		for metric, v := range want.Metrics {
			got, ok := r.metrics[metric]
			if !ok {
				t.Errorf("step %d: no %s", i+1, metric)
			}
			nearly(t, i+1, metric, got, v, 1e-6)
		}
	}
	var unseen []train.Example
	for i, row := range g.Unseen.Rows {
		e := train.Example{IDs: row.IDs, Trained: make([]bool, len(row.IDs)), Row: int64(i)}
		for k, on := range row.Trained {
			e.Trained[k] = on == 1
		}
		unseen = append(unseen, e)
	}
	found, err := train.Measure(m, unseen, false)
	if err != nil {
		t.Fatal(err)
	}
	nearly(t, len(g.Steps), "loss of unseen rows", found["loss"], g.Unseen.Loss, 0)
}

// near holds a number within a thousandth of TRL's, or within so much of it.
func nearly(t *testing.T, step int, what string, got, want, within float64) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= 1e-3*math.Abs(want)+within) {
		t.Errorf("step %d: %s %.7g, TRL %.7g: %.1e apart", step, what, got, want, d)
	}
}
