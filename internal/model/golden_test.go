package model

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

func TestMain(m *testing.M) {
	tensor.Lock()
	if _, err := tensor.Use(os.Getenv("HONE_TEST_DEVICE"), true); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// run does f on a thread of its own with a scope around it, as a worker would.
func run(t *testing.T, f func()) {
	t.Helper()
	tensor.Lock()
	defer tensor.Open().Close()
	if err := tensor.Guard(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

type expectation struct {
	Loss      float64
	Greedy    map[string][]int64
	Gradients map[string]struct {
		Norm, Sum float64
		First     []float64
	}
}

func models(t *testing.T) []string {
	dirs, err := filepath.Glob("testdata/*/expected.safetensors")
	if err != nil || len(dirs) < 16 {
		t.Fatalf("testdata: %d models, %v", len(dirs), err)
	}
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	return dirs
}

func floats(x safetensors.Tensor) []float32 {
	out := make([]float32, len(x.Data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*i:]))
	}
	return out
}

func ids(x safetensors.Tensor) []int32 {
	out := make([]int32, len(x.Data)/8)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint64(x.Data[8*i:]))
	}
	return out
}

// logits are those of whole rows without gradients.
func logits(t *testing.T, m *Model, rows ...[]int32) []float32 {
	var out []float32
	tensor.NoGrad(func() {
		in, _ := Packed(rows)
		h, err := m.Hidden(in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Logits(h).To(tensor.Float32).Floats()...)
	})
	return out
}

func worst(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	w := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if !(d <= w) { // NaN too
			w = d
		}
	}
	return w
}

func read(t *testing.T, path string) *safetensors.Checkpoint {
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// checkLogits compares with every logits.N of expected, alone and all rows behind one another in one pass.
func checkLogits(t *testing.T, m *Model, base, expected *safetensors.Checkpoint, prefix string, within float64) {
	t.Helper()
	var rows [][]int32
	var want []float32
	for _, x := range expected.Tensors() {
		n, ok := strings.CutPrefix(x.Name, prefix)
		if _, err := strconv.Atoi(n); !ok || err != nil {
			continue
		}
		in, _ := base.Tensor("ids." + n)
		row := ids(in)
		got := logits(t, m, row)
		if d := worst(got, floats(x)); d > within {
			t.Errorf("%s: logits differ by %g", x.Name, d)
		}
		rows, want = append(rows, row), append(want, floats(x)...)
	}
	if len(rows) < 3 {
		t.Fatalf("%d inputs under %s", len(rows), prefix)
	}
	if d := worst(logits(t, m, rows...), want); d > within {
		t.Errorf("rows in one pass: logits differ by %g", d)
	}
}

func TestLogits(t *testing.T) {
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				m, err := Load(dir, tensor.Float32, false)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				expected := read(t, filepath.Join(dir, "expected.safetensors"))
				checkLogits(t, m, expected, expected, "logits.", 1e-4)
				adapters, _ := filepath.Glob(filepath.Join(dir, "adapter-*"))
				for _, a := range adapters {
					with, err := Load(dir, tensor.Float32, false)
					if err != nil {
						t.Fatal(err)
					}
					defer with.Free()
					if err := with.LoadAdapter(a, false); err != nil {
						t.Fatal(err)
					}
					adapted := read(t, filepath.Join(a, "expected.safetensors"))
					checkLogits(t, with, expected, adapted, "logits.", 1e-4)
					saved := t.TempDir()
					if err := with.SaveAdapter(saved, "base"); err != nil {
						t.Fatal(err)
					}
					again, err := Load(dir, tensor.Float32, false)
					if err != nil {
						t.Fatal(err)
					}
					defer again.Free()
					if err := again.LoadAdapter(saved, false); err != nil {
						t.Fatal(err)
					}
					checkLogits(t, again, expected, adapted, "logits.", 1e-4)
					with.Merge()
					checkLogits(t, with, expected, adapted, "logits.", 1e-4)
				}
			})
		})
	}
}

// In bfloat16 every order of operations rounds differently: ours must be about as near to float32 as transformers' own.
func TestLogitsBFloat16(t *testing.T) {
	for _, name := range []string{"llama-tied", "qwen3", "gemma2", "gpt2"} {
		t.Run(name, func(t *testing.T) {
			run(t, func() {
				dir := filepath.Join("testdata", name)
				m, err := Load(dir, tensor.BFloat16, false)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				expected := read(t, filepath.Join(dir, "expected.safetensors"))
				for _, n := range []string{"7", "33"} {
					in, _ := expected.Tensor("ids." + n)
					exact, _ := expected.Tensor("logits." + n)
					theirs, ok := expected.Tensor("logits.bfloat16." + n)
					if !ok {
						t.Fatal("no bfloat16 logits")
					}
					got := distance(logits(t, m, ids(in)), floats(exact))
					if want := distance(floats(theirs), floats(exact)); got > 1.5*want {
						t.Errorf("%s tokens: %g from float32, transformers %g", n, got, want)
					}
				}
			})
		})
	}
}

func distance(a, b []float32) float64 {
	var d, n float64
	for i := range a {
		d += float64(a[i]-b[i]) * float64(a[i]-b[i])
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}

// The loss and every parameter's gradient of one step, with the labels of the first tokens masked.
func TestGradients(t *testing.T) {
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				m, err := Load(dir, tensor.Float32, true)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				var want expectation
				b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(b, &want); err != nil {
					t.Fatal(err)
				}
				x, _ := read(t, filepath.Join(dir, "expected.safetensors")).Tensor("ids.33")
				row := ids(x)
				loss := step(t, m, row, 8)
				if math.Abs(loss-want.Loss) > 1e-5*want.Loss {
					t.Errorf("loss %g, want %g", loss, want.Loss)
				}
				grads := m.Base.Grads.Floats()
				seen := 0
				_ = m.Base.Each(func(p nn.Tensor, offset int64) error {
					w, ok := want.Gradients[p.Name]
					if !ok {
						t.Errorf("no expectation for %s", p.Name)
						return nil
					}
					seen++
					n := int64(1)
					for _, s := range p.Shape {
						n *= s
					}
					g := grads[offset : offset+n]
					var squares float64
					for _, v := range g {
						squares += float64(v) * float64(v)
					}
					if norm := math.Sqrt(squares); math.Abs(norm-w.Norm) > 1e-4*w.Norm+1e-7 {
						t.Errorf("%s: gradient norm %g, want %g", p.Name, norm, w.Norm)
					}
					for i, f := range w.First {
						at := i
						if p.Transposed { // First is the start of the checkpoint's first row
							at *= int(p.Shape[1])
						}
						if math.Abs(float64(g[at])-f) > 1e-4*w.Norm+1e-7 {
							t.Errorf("%s[%d]: gradient %g, want %g", p.Name, i, g[at], f)
						}
					}
					return nil
				})
				if seen != len(want.Gradients) {
					t.Errorf("%d gradients compared, %d expected", seen, len(want.Gradients))
				}
			})
		})
	}
}

// Layers computed again in the backward pass give the gradients that kept ones give, of two rows at once.
func TestRecompute(t *testing.T) {
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				m, err := Load(dir, tensor.Float32, true)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				f := read(t, filepath.Join(dir, "expected.safetensors"))
				long, _ := f.Tensor("ids.33")
				short, _ := f.Tensor("ids.7")
				var gradients [2][]float32
				for i, again := range []bool{false, true} {
					m.Base.Grads.PutFloats(nil)
					in, _ := Packed([][]int32{ids(long), ids(short)})
					labels := tensor.Of(in.IDs, 40)
					err := m.WithHidden(in, again, func(h tensor.Tensor) {
						loss, _, _ := tensor.CrossEntropy(h, m.Head(), tensor.Labels{IDs: labels, Weights: tensor.Of(make([]float32, 40), 40).Add(tensor.Of([]float32{0.1}))}, 16)
						loss.Backward()
					})
					if err != nil {
						t.Fatal(err)
					}
					gradients[i] = append(gradients[i], m.Base.Grads.Floats()...)
				}
				if d := worst(gradients[0], gradients[1]); d > 1e-5 {
					t.Errorf("gradients differ by %g", d)
				}
			})
		})
	}
}

// Mixed precision reaches every layer: the loss is near float32's, with an adapter too.
func TestStepBFloat16(t *testing.T) {
	for _, dir := range models(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run(t, func() {
				var want expectation
				b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(b, &want); err != nil {
					t.Fatal(err)
				}
				x, _ := read(t, filepath.Join(dir, "expected.safetensors")).Tensor("ids.33")
				for _, full := range []bool{true, false} {
					m, err := Load(dir, tensor.BFloat16, full)
					if err != nil {
						t.Fatal(err)
					}
					if !full {
						if err := m.Adapt(&LoRA{Rank: 2, Alpha: 2, AllLinear: true}, 1, true); err != nil {
							t.Fatal(err)
						}
					}
					if loss := step(t, m, ids(x), 8); math.Abs(loss-want.Loss) > 2e-2*want.Loss {
						t.Errorf("full %v: loss %g, in float32 %g", full, loss, want.Loss)
					}
					m.Free()
				}
			})
		})
	}
}

// step computes the mean loss over the labels from position masked on and its gradients.
func step(t *testing.T, m *Model, row []int32, masked int) float64 {
	in, _ := Packed([][]int32{row})
	h, err := m.Hidden(in)
	if err != nil {
		t.Fatal(err)
	}
	var at, labels []int64
	for i := max(masked, 1); i < len(row); i++ {
		at, labels = append(at, int64(i-1)), append(labels, int64(row[i]))
	}
	weights := make([]float32, len(labels))
	for i := range weights {
		weights[i] = 1 / float32(len(labels))
	}
	n := int64(len(labels))
	loss, _, _ := tensor.CrossEntropy(h.Rows(tensor.Of(at, n)), m.Head(), tensor.Labels{IDs: tensor.Of(labels, n), Weights: tensor.Of(weights, n)}, 10)
	loss.Backward()
	return loss.Scalar()
}
