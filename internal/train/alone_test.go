package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
)

func toyRows(t *testing.T) []Example {
	t.Helper()
	b, err := os.ReadFile("testdata/sft/packed.json")
	if err != nil {
		t.Fatal(err)
	}
	var g trace
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return examples(g.Rows)
}

// Rows that share a bin do not see one another: loss and gradients are the sums of those of the rows alone.
func TestPackedIsAlone(t *testing.T) {
	guard(t, func() {
		rows := toyRows(t)[:6]
		pass := func(batches ...[]Example) (loss float64, gradients []float32) {
			m, err := model.Load("testdata/toy", tensor.Float32, true)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			tr := newTrainer(t, m, &m.Base, optim.Config{Kind: "adamw"}, 0)
			defer tr.Free()
			for _, b := range batches {
				sums, err := tr.NLL(b, 0.01, false)
				if err != nil {
					t.Fatal(err)
				}
				loss += sums.Loss
			}
			return loss, append(gradients, m.Base.Grads.Floats()...)
		}
		together, packed := pass(rows)
		apart, alone := pass(Unpacked(rows)...)
		if math.Abs(together-apart) > 1e-6*apart {
			t.Errorf("loss %g together, %g apart", together, apart)
		}
		var most, off float64
		for i := range packed {
			most = math.Max(most, math.Abs(float64(alone[i])))
			off = math.Max(off, math.Abs(float64(packed[i]-alone[i])))
		}
		if off > 1e-5*most || most == 0 {
			t.Errorf("gradients are up to %g, and %g apart", most, off)
		}
	})
}

// Noise of embeddings is drawn anew in each step and never when nothing is trained; with layers computed again it is the same.
func TestNoise(t *testing.T) {
	guard(t, func() {
		rows := toyRows(t)[:4]
		run := func(alpha float64, again bool) (losses [3]float64, unseen float64) {
			m, err := model.Load("testdata/toy", tensor.Float32, true)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			m.Noise = alpha
			tr := newTrainer(t, m, &m.Base, optim.Config{Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, 1)
			defer tr.Free()
			tr.Checkpointing = again
			for i := range losses {
				r, err := tr.Step(context.Background(), 2, func(k int) (float64, error) {
					sums, err := tr.NLL(rows[2*k:2*k+2], 0.01, false)
					return sums.Loss, err
				}, 0)
				if err != nil {
					t.Fatal(err)
				}
				losses[i] = r.Loss
			}
			found, err := Measure(m, rows, false)
			if err != nil {
				t.Fatal(err)
			}
			unseen = found["loss"]
			return losses, unseen
		}
		still, plain := run(0, false)
		noisy, other := run(20, false)
		again, _ := run(20, true)
		if still[0] != still[1] || noisy[0] == noisy[1] || noisy[1] == noisy[2] || noisy[0] == still[0] {
			t.Errorf("losses %v without noise, %v with it", still, noisy)
		}
		bound := 0.0
		if tensor.OnDevice() {
			bound = 1e-7 // it sums rows apart in another order than with what they share
		}
		if math.Abs(plain-other) > bound*plain {
			t.Errorf("an evaluation sees noise: %g, %g", plain, other)
		}
		for i := range noisy {
			if math.Abs(noisy[i]-again[i]) > 1e-6*noisy[i] {
				t.Errorf("losses %v, %v with layers computed again", noisy, again)
			}
		}
	})
}
