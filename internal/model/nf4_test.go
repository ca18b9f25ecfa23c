package model

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/tensor"
)

// What bitsandbytes makes of a matrix in NF4, to the bit.
func TestNF4(t *testing.T) {
	run(t, func() {
		f := read(t, "testdata/nf4.safetensors")
		for _, name := range []string{"ragged", "wide", "bfloat16", "steps", "divided"} {
			dtype := tensor.Float32
			if name == "bfloat16" {
				dtype = tensor.BFloat16
			}
			for kind, double := range map[string]bool{"dense": false, "double": true} {
				source, _ := f.Tensor(name + ".source")
				want, ok := f.Tensor(name + "." + kind)
				if !ok {
					t.Fatalf("no %s.%s", name, kind)
				}
				rows, in := source.Shape[0], source.Shape[1]
				w := tensor.NF4(dtype, double, in, rows)
				w.Pack(0, tensor.Of(floats(source), rows, in))
				got := w.Unpack(0, rows, 0, in).To(tensor.Float32).Floats()
				for i, v := range floats(want) {
					if got[i] != v {
						t.Errorf("%s.%s: element %d of row %d is %g, bitsandbytes %g", name, kind, int64(i)%in, int64(i)/in, got[i], v)
						break
					}
				}
			}
		}
	})
}

// A model whose linear layers are in NF4 is the one with the weights that they unpack to, of every architecture: logits, and with an
// adapter a step's loss and gradients.
func TestNF4Models(t *testing.T) {
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				packed, err := LoadNF4(dir, tensor.Float32, true)
				if err != nil {
					t.Fatal(err)
				}
				defer packed.Free()
				dense, err := Load(dir, tensor.Float32, false)
				if err != nil {
					t.Fatal(err)
				}
				defer dense.Free()
				before := bytes.Clone(dense.Base.Values.Bytes())
				for i, l := range packed.Linears() {
					w, own := l.Weight, dense.Linears()[i].Weight
					if !w.Packed {
						t.Fatalf("%s is not packed", l.Projections[0].Name)
					}
					dense.Base.Values.Slice(own.PartAt(0), w.Shape...).CopyFrom(w.Tensor.Unpack(0, w.Shape[0], 0, w.Shape[1]))
				}
				dense.Base.Refresh()
				if bytes.Equal(before, dense.Base.Values.Bytes()) || packed.Parameters() != dense.Parameters() {
					t.Fatal("nothing was rounded, or weights are lost")
				}
				f := read(t, filepath.Join(dir, "expected.safetensors"))
				x, _ := f.Tensor("ids.33")
				if d := worst(logits(t, packed, ids(x)), logits(t, dense, ids(x))); d > 1e-4 {
					t.Errorf("logits differ by %g", d)
				}
				var losses []float64
				var gradients [][]float32
				for _, m := range []*Model{packed, dense} {
					if err := m.Adapt(&LoRA{Rank: 2, Alpha: 2, DoRA: true, AllLinear: true}, 1, true); err != nil {
						t.Fatal(err)
					}
					losses = append(losses, step(t, m, ids(x), 8))
					gradients = append(gradients, m.Adapter.Grads.Floats())
				}
				if d := worst(gradients[0], gradients[1]); d > 1e-5 || losses[0]-losses[1] > 1e-5 || losses[1]-losses[0] > 1e-5 {
					t.Errorf("losses %g and %g, gradients differ by %g", losses[0], losses[1], d)
				}
			})
		})
	}
}
