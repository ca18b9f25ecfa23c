package model

import (
	"math"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
)

// What freezes names is frozen, and what it names wrongly is said.
func TestFreeze(t *testing.T) {
	for _, c := range []struct {
		Freeze
		frozen, trained string // parts of names
		want            string // of the error
	}{
		{Freeze: Freeze{Layers: 1}, frozen: "layers.0. embed_tokens", trained: "layers.1. model.norm"},
		{Freeze: Freeze{Parameters: []string{"k_proj", "norm"}}, frozen: "k_proj norm", trained: "q_proj embed_tokens mlp"},
		{Freeze: Freeze{Layers: 99}, want: "layers: 99 of the model's"},
		{Freeze: Freeze{Parameters: []string{"nothing", "mlp"}}, want: `parameters: "nothing" is in no name`},
		{Freeze: Freeze{Parameters: []string{"."}}, want: "nothing is left to train"},
		{Freeze: Freeze{Parameters: []string{"("}}, want: "parameters: error parsing regexp"},
	} {
		m, err := Load("../train/testdata/toy", tensor.Float32, true)
		if err != nil {
			t.Fatal(err)
		}
		err = m.Freeze(c.Freeze)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v, want %s", c.Freeze, err, c.want)
			}
			m.Free()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		has := func(name, parts string) bool {
			for _, part := range strings.Fields(parts) {
				if strings.Contains(name, part) {
					return true
				}
			}
			return false
		}
		for _, w := range m.Base.Weights {
			for i, p := range w.Parts {
				if frozen := w.Frozen(i); frozen && !has(p.Name, c.frozen) || !frozen && has(p.Name, c.frozen) && !has(p.Name, c.trained) {
					t.Errorf("%+v: %s frozen is %v", c.Freeze, p.Name, frozen)
				}
			}
		}
		if n := m.Trained(); n <= 0 || n >= m.Parameters() {
			t.Errorf("%+v: %d of %d weights are trained", c.Freeze, n, m.Parameters())
		}
		m.Free()
	}
}

// The noise of a row is uniform within ±alpha/√(tokens·hidden) of the row.
func TestNoise(t *testing.T) {
	in, _ := Packed([][]int32{make([]int32, 100), make([]int32, 4)})
	const hidden, alpha = 32, 5.0
	m := &Model{Config: &Config{HiddenSize: hidden}, Noise: alpha}
	m.Draws.On = true
	m.Draws.Begin(7)
	if tensor.OnDevice() {
		in.bound = tensor.Of(m.bounds(in), 104, 1)
	}
	values := m.noise(in).Floats()
	for _, row := range []struct{ from, tokens int }{{0, 100}, {100, 4}} {
		bound := alpha / math.Sqrt(float64(row.tokens*hidden))
		var sum, squares, most float64
		part := values[row.from*hidden : (row.from+row.tokens)*hidden]
		for _, v := range part {
			sum, squares, most = sum+float64(v), squares+float64(v)*float64(v), math.Max(most, math.Abs(float64(v)))
		}
		n := float64(len(part))
		if most > bound || most < 0.95*bound || math.Abs(sum/n) > 4*bound/math.Sqrt(3*n) || math.Abs(squares/n-bound*bound/3) > 0.2*bound*bound/3 {
			t.Errorf("%d tokens: most %g of %g, mean %g, variance %g", row.tokens, most, bound, sum/n, squares/n)
		}
	}
}
