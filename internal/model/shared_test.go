package model

import (
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
)

// Rows that begin alike have the logits that they have apart, and the gradients add up to the same.
func TestShared(t *testing.T) {
	rows := [][]int32{{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 9}, {11, 12, 13, 14}, {1, 2, 3, 4, 5, 6, 7, 8}, {11, 12, 13, 15, 16}, {1, 2, 3}}
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				m, err := Load(dir, tensor.Float32, true)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				pass := func(in Input, places [][]int64) (out, grads []float32) {
					m.Base.Grads.PutFloats(make([]float32, m.Base.Size))
					var at []int64
					for _, p := range places {
						at = append(at, p...)
					}
					err := m.WithHidden(in, false, func(h tensor.Tensor) {
						z := m.Logits(h.Rows(tensor.Of(at, int64(len(at)))))
						out = z.Floats()
						weights := make([]float32, len(out))
						for i := range weights {
							weights[i] = float32(i%7) - 3
						}
						tensor.BackwardFrom([]tensor.Tensor{z}, []tensor.Tensor{tensor.Of(weights, z.Shape()...)})
					})
					if err != nil {
						t.Fatal(err)
					}
					return out, m.Base.Grads.Floats()
				}
				in, places := m.Shared(rows)
				if want := 8 + 1 + 4 + 0 + 2 + 0; m.shares() && len(in.IDs) != want {
					t.Fatalf("%d tokens are computed, %d are enough", len(in.IDs), want)
				}
				got, gotGrads := pass(in, places)
				got, gotGrads = append([]float32(nil), got...), append([]float32(nil), gotGrads...)
				want, wantGrads := pass(apart(rows))
				if d := worst(got, want); d > 1e-4 {
					t.Errorf("logits differ by %g", d)
				}
				largest := float32(0)
				for _, g := range wantGrads {
					largest = max(largest, g, -g)
				}
				if d := worst(gotGrads, wantGrads); d > 1e-4*float64(largest) {
					t.Errorf("gradients differ by %g of %g", d, largest)
				}
			})
		})
	}
}
