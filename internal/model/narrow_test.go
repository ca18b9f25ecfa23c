package model

import (
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
)

// Weights that bfloat16 holds exactly give the same logits when they are held in it, with an adapter too; others stay as they are.
func TestNarrow(t *testing.T) {
	if tensor.OnDevice() {
		t.Skip("on a device weights lie in the dtype of the products")
	}
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				m, err := Load(dir, tensor.Float32, false)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				adapters, _ := filepath.Glob(filepath.Join(dir, "adapter-*"))
				for _, a := range adapters[:min(1, len(adapters))] {
					if err := m.LoadAdapter(a, false); err != nil {
						t.Fatal(err)
					}
				}
				if m.Base.Narrow() {
					t.Fatal("weights of float32 were narrowed")
				}
				m.Base.Values.CopyFrom(m.Base.Values.To(tensor.BFloat16).To(tensor.Float32))
				m.Base.Refresh()
				few, many := []int32{3, 5, 7}, make([]int32, 40)
				for i := range many {
					many[i] = int32(i % 11)
				}
				wantFew, wantMany := logits(t, m, few), logits(t, m, many)
				if !m.Base.Narrow() {
					t.Fatal("weights of bfloat16 were not narrowed")
				}
				if got := logits(t, m, few); worst(got, wantFew) != 0 {
					t.Errorf("a few tokens: logits differ by %g", worst(got, wantFew))
				}
				if got := logits(t, m, many); worst(got, wantMany) > 1e-5 {
					t.Errorf("many tokens: logits differ by %g", worst(got, wantMany))
				}
			})
		})
	}
}
