package tensor

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Lock()
	if _, err := Use(os.Getenv("HONE_TEST_DEVICE"), true); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func guarded(t *testing.T, f func()) {
	t.Helper()
	Lock()
	defer Open().Close()
	if err := Guard(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func normal(r *rand.Rand, shape ...int64) Tensor {
	x := make([]float64, product(shape))
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return Of(x, shape...)
}

type operator struct {
	name   string
	shapes [][]int64
	f      func(in []Tensor) []Tensor
}

// operators is every operator with a backward pass of our own.
func operators() []operator {
	positions := Of([]int64{0, 1, 2, 0, 1}, 5).Forget()
	cos, sin := make([]float32, 8*2), make([]float32, 8*2)
	for i := range cos {
		angle := float64(i/2) * math.Pow(10, -float64(i%2))
		cos[i], sin[i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	c, s := Of(cos, 8, 2).Forget(), Of(sin, 8, 2).Forget()
	none := Tensor{}
	frozen, norms := normal(rand.New(rand.NewPCG(11, 12)), 9, 6).Forget(), normal(rand.New(rand.NewPCG(13, 14)), 7).Forget()
	packed := func(to Dtype) Tensor {
		w := NF4(to, true, 6, 4, 5)
		w.Pack(0, frozen.Narrow(0, 0, 4).Contiguous().To(Float32))
		w.Pack(1, frozen.Narrow(0, 4, 5).Contiguous().To(Float32))
		return w
	}
	doraOn := func(in []Tensor) Adapter { // norms count as constants
		return Adapter{A: in[2], B: in[3], Magnitudes: in[4], Norms: norms.To(in[0].Dtype()), Parts: []Part{{From: 0, Rows: 4, Scale: 1.5}, {From: 6, Rows: 3, Scale: -0.5}}}
	}
	all := []operator{
		{"rmsnorm", [][]int64{{5, 6}, {6}}, func(in []Tensor) []Tensor {
			_, y := RMSNorm(in[0], none, in[1], 1e-5, 0, in[0].Dtype())
			return []Tensor{y}
		}},
		{"rmsnorm shifted, a head at a time", [][]int64{{5, 2, 6}, {6}}, func(in []Tensor) []Tensor {
			_, y := RMSNorm(in[0], none, in[1], 1e-5, 1, in[0].Dtype())
			return []Tensor{y}
		}},
		{"residual and rmsnorm", [][]int64{{5, 6}, {5, 6}, {6}}, func(in []Tensor) []Tensor {
			sum, y := RMSNorm(in[0], in[1], in[2], 1e-5, 0, in[0].Dtype())
			return []Tensor{sum, y}
		}},
		{"embedding", [][]int64{{7, 6}}, func(in []Tensor) []Tensor {
			return []Tensor{Embedding(in[0], Of([]int64{3, 0, 3, 6, 1}, 5), -1)}
		}},
		{"split and rope, part of a head", [][]int64{{5, 3 * 6}}, func(in []Tensor) []Tensor {
			p := Split(in[0], 12, 6)
			return []Tensor{Rope(p[0], c, s, positions, 2), p[1]}
		}},
		{"layernorm", [][]int64{{5, 6}, {6}, {6}}, func(in []Tensor) []Tensor {
			_, y := LayerNorm(in[0], none, in[1], in[2], 1e-5, in[0].Dtype())
			return []Tensor{y}
		}},
		{"residual and layernorm", [][]int64{{5, 6}, {5, 6}, {6}, {6}}, func(in []Tensor) []Tensor {
			sum, y := LayerNorm(in[0], in[1], in[2], in[3], 1e-5, in[0].Dtype())
			return []Tensor{sum, y}
		}},
		{"geglu", [][]int64{{5, 8}}, func(in []Tensor) []Tensor { return []Tensor{GeGLU(in[0])} }},
		{"gelu", [][]int64{{5, 8}}, func(in []Tensor) []Tensor { return []Tensor{GELU(in[0])} }},
		{"swiglu", [][]int64{{5, 8}}, func(in []Tensor) []Tensor { return []Tensor{SwiGLU(in[0])} }},
		{"linear", [][]int64{{5, 6}, {4, 6}, {4}}, func(in []Tensor) []Tensor { return []Tensor{Linear(in[0], in[1], in[2], in[1].Dtype())} }},
		{"lora on the first and last of three projections", [][]int64{{5, 6}, {9, 6}, {9}, {4, 6}, {7, 2}}, func(in []Tensor) []Tensor {
			parts := []Part{{From: 0, Rows: 4, Scale: 1.5}, {From: 6, Rows: 3, Scale: -0.5}}
			return []Tensor{LoRA(in[0], in[1], in[2], Adapter{A: in[3], B: in[4], Parts: parts}, 0, 0, in[1].Dtype())}
		}},
		{"lora with dropout", [][]int64{{5, 6}, {9, 6}, {9}, {4, 6}, {7, 2}}, func(in []Tensor) []Tensor {
			return []Tensor{LoRA(in[0], in[1], in[2], Adapter{A: in[3], B: in[4], Parts: []Part{{From: 0, Rows: 4, Scale: 1.5}, {From: 6, Rows: 3, Scale: -0.5}}}, 0.3, 9, in[0].Dtype())}
		}},
		{"dora on the first and last of three projections", [][]int64{{5, 6}, {9}, {4, 6}, {7, 2}, {7}}, func(in []Tensor) []Tensor {
			return []Tensor{LoRA(in[0], frozen.To(in[0].Dtype()), in[1], doraOn(in), 0, 0, in[0].Dtype())}
		}},
		{"dora with dropout", [][]int64{{5, 6}, {9}, {4, 6}, {7, 2}, {7}}, func(in []Tensor) []Tensor {
			return []Tensor{LoRA(in[0], frozen.To(in[0].Dtype()), in[1], doraOn(in), 0.3, 9, in[0].Dtype())}
		}},
		{"attention of two rows, heads in groups", [][]int64{{5, 4, 8}, {5, 2, 8}, {5, 2 * 8}}, func(in []Tensor) []Tensor {
			return []Tensor{Attention(in[0], in[1], in[2], NewRows([]int64{0, 3, 5}), Scoring{Scale: 0.3})}
		}},
		{"attention in a window, one row shorter than it", [][]int64{{9, 4, 4}, {9, 2, 4}, {9, 2 * 4}}, func(in []Tensor) []Tensor {
			return []Tensor{Attention(in[0], in[1], in[2], NewRows([]int64{0, 3, 9}), Scoring{Scale: 0.3, Window: 3})}
		}},
		{"attention with capped scores", [][]int64{{5, 4, 4}, {5, 2, 4}, {5, 2, 4}}, func(in []Tensor) []Tensor {
			return []Tensor{Attention(in[0], in[1], in[2], NewRows([]int64{0, 3, 5}), Scoring{Scale: 0.9, Cap: 1.5})}
		}},
		{"attention in a window with capped scores, over several blocks", [][]int64{{67, 2, 2}, {67, 1, 2}, {67, 1, 2}}, func(in []Tensor) []Tensor {
			return []Tensor{Attention(in[0], in[1], in[2], NewRows([]int64{0, 67}), Scoring{Scale: 0.9, Cap: 2, Window: 5})}
		}},
	}
	all = append(all, operator{"a linear layer in NF4", [][]int64{{5, 6}, {9}}, func(in []Tensor) []Tensor {
		return []Tensor{Linear(in[0], packed(in[0].Dtype()), in[1], in[0].Dtype())}
	}}, operator{"dora with dropout on a layer in NF4", [][]int64{{5, 6}, {9}, {4, 6}, {7, 2}, {7}}, func(in []Tensor) []Tensor {
		return []Tensor{LoRA(in[0], packed(in[0].Dtype()), in[1], doraOn(in), 0.3, 9, in[0].Dtype())}
	}})
	for _, cap := range []float64{0, 3} {
		labels, weights := []int64{2, 0, 9, 4, 4}, []float64{0.5, 1, 0.25, 2, 0}
		shapes := [][]int64{{5, 6}, {10, 6}}
		all = append(all, operator{fmt.Sprintf("cross entropy in chunks, cap %g", cap), shapes, func(in []Tensor) []Tensor {
			loss, _, _ := CrossEntropy(in[0], Head{in[1], cap}, Labels{IDs: Of(labels, 5), Weights: Of(weights, 5).To(in[0].Dtype())}, 2)
			return []Tensor{loss}
		}}, operator{fmt.Sprintf("log probs in chunks, tempered, cap %g", cap), shapes, func(in []Tensor) []Tensor {
			logp, _ := LogProbs(in[0], Head{in[1], cap}, Of([]int64{2, 0, 9, 4, 4}, 5), 0.7, 2, false)
			return []Tensor{logp}
		}})
	}
	return all
}

// twice runs f with kernels of our own and with the composites that a device takes where it has none.
func twice(t *testing.T, f func(t *testing.T)) {
	if !OnDevice() || plugin() == nil {
		t.Run("kernels", f)
	}
	t.Run("composites", func(t *testing.T) {
		useComposites(true)
		defer useComposites(false)
		f(t)
	})
}

// Every operator in float64 against central differences: the gradient of Σ c·outᵢ for random c and every element of every input.
func TestGradients(t *testing.T) {
	twice(t, func(t *testing.T) {
		for _, o := range operators() {
			t.Run(o.name, func(t *testing.T) { guarded(t, func() { check64(t, o.shapes, o.f) }) })
		}
	})
}

// A composite computes what the kernel does, forward and backward, and in mixed precision.
func TestComposites(t *testing.T) {
	if OnDevice() && plugin() != nil {
		t.Skip("there are no kernels for a device")
	}
	all := append(operators(), operator{"mixed rmsnorm", [][]int64{{5, 32}, {5, 32}, {32}}, func(in []Tensor) []Tensor {
		sum, y := RMSNorm(in[0], in[1].To(BFloat16), in[2], 1e-5, 0, BFloat16)
		return []Tensor{sum, y.To(Float32)}
	}}, operator{"mixed layernorm", [][]int64{{5, 32}, {5, 32}, {32}, {32}}, func(in []Tensor) []Tensor {
		sum, y := LayerNorm(in[0], in[1].To(BFloat16), in[2], in[3], 1e-5, BFloat16)
		return []Tensor{sum, y.To(Float32)}
	}}, operator{"statistics of log probs", [][]int64{{5, 6}, {10, 6}}, func(in []Tensor) []Tensor {
		logp, stats := LogProbs(in[0], Head{Weight: in[1]}, Of([]int64{2, 0, 9, 4, 4}, 5), 0.7, 2, true)
		return []Tensor{logp, stats}
	}})
	for _, o := range all {
		if strings.Contains(o.name, "dropout") {
			continue // the draws are of another generator
		}
		t.Run(o.name, func(t *testing.T) {
			guarded(t, func() {
				compute := func() (values [][]float32) {
					r := rand.New(rand.NewPCG(1, 2))
					var in, outs, gradients []Tensor
					for _, shape := range o.shapes {
						in = append(in, normal(r, shape...).To(Float32).RequireGrad())
					}
					for _, out := range o.f(in) {
						values = append(values, out.Contiguous().Floats())
						if len(outs) == 0 || o.name != "statistics of log probs" {
							outs, gradients = append(outs, out), append(gradients, weights(r, out).To(Float32))
						}
					}
					BackwardFrom(outs, gradients)
					for _, x := range in {
						values = append(values, x.Gradient().Contiguous().Floats())
					}
					return values
				}
				want := compute()
				useComposites(true)
				defer useComposites(false)
				got, bound := compute(), 1e-5
				if strings.HasPrefix(o.name, "mixed") {
					bound = 1e-2
				}
				for k := range want {
					for i, w := range want[k] {
						if g := got[k][i]; !(math.Abs(float64(g-w)) <= bound*(1+math.Abs(float64(w)))) {
							t.Fatalf("output or gradient %d, element %d: composite %g, kernel %g", k, i, g, w)
						}
					}
				}
			})
		})
	}
}

// weights is a gradient at out: random, or one for a loss.
func weights(r *rand.Rand, out Tensor) Tensor {
	if len(out.Shape()) == 0 {
		return Of([]float64{1})
	}
	return normal(r, out.Shape()...)
}

// Both ways to a log-likelihood agree, and its companions are what their names say.
func TestLogProbs(t *testing.T) { twice(t, testLogProbs) }

func testLogProbs(t *testing.T) {
	guarded(t, func() {
		const rows, dim, vocabulary, scale = 5, 6, 37, 0.6
		r := rand.New(rand.NewPCG(9, 10))
		x, head, labels := normal(r, rows, dim).To(Float32), normal(r, vocabulary, dim).To(Float32), []int64{3, 36, 0, 17, 8}
		clear(x.Floats()[dim : 2*dim]) // all tokens as likely: the first counts
		z := Linear(x, head, Tensor{}, x.Dtype()).Floats()
		labels[2] = int64(argmax(z[2*vocabulary : 3*vocabulary]))
		got, stats := LogProbs(x, Head{Weight: head}, Of(labels, rows), scale, 2, true)
		_, plain, same := CrossEntropy(x.Mul(Of([]float32{scale})), Head{Weight: head}, Labels{IDs: Of(labels, rows), Weights: Zeros(Float32, rows)}, 128)
		for i := range rows {
			row := z[i*vocabulary : (i+1)*vocabulary]
			var sum, entropy, mean float64
			for _, v := range row {
				sum += math.Exp(scale * float64(v))
				mean += float64(v) / vocabulary
			}
			for _, v := range row {
				p := math.Exp(scale*float64(v)) / sum
				entropy -= p * math.Log(p)
			}
			hit := 0.0
			if labels[i] == int64(argmax(row)) {
				hit = 1
			}
			want := map[string][2]float64{
				"logp":      {float64(got.Floats()[i]), float64(plain.Floats()[i])},
				"entropy":   {float64(stats.Floats()[i*TokenStats+Entropy]), entropy},
				"likeliest": {float64(stats.Floats()[i*TokenStats+Likeliest]), hit},
				"mean":      {float64(stats.Floats()[i*TokenStats+MeanLogit]), mean},
			}
			if !OnDevice() { // which leaves them out where nobody reads them
				want["entropy of the other way"] = [2]float64{float64(same.Floats()[2*i+Entropy]), entropy}
				want["likeliest of the other way"] = [2]float64{float64(same.Floats()[2*i+Likeliest]), hit}
			}
			for name, v := range want {
				if math.Abs(v[0]-v[1]) > 1e-5*(1+math.Abs(v[1])) {
					t.Errorf("row %d: %s is %g, want %g", i, name, v[0], v[1])
				}
			}
		}
	})
}

// Dynamic fine-tuning is cross entropy whose weights are the labels' probabilities times what they were, as constants.
func TestDynamicFineTuning(t *testing.T) { twice(t, testDynamicFineTuning) }

func testDynamicFineTuning(t *testing.T) {
	guarded(t, func() {
		const rows, dim, vocabulary = 5, 6, 37
		r := rand.New(rand.NewPCG(11, 12))
		x, head, labels := normal(r, rows, dim), normal(r, vocabulary, dim), []int64{3, 36, 0, 17, 8}
		pass := func(weights []float64, dft bool) (loss float64, dx, dhead, logp []float64) {
			x, head := x.Clone().RequireGrad(), head.Clone().RequireGrad()
			l, p, _ := CrossEntropy(x, Head{Weight: head}, Labels{IDs: Of(labels, rows), Weights: Of(weights, rows), DFT: dft}, 2)
			l.Backward()
			return l.Scalar(), x.Gradient().Doubles(), head.Gradient().Doubles(), p.Doubles()
		}
		weights := []float64{0.5, 1, 0.25, 2, 0}
		got, gotX, gotHead, logp := pass(weights, true)
		for i := range weights {
			weights[i] *= math.Exp(logp[i])
		}
		want, wantX, wantHead, _ := pass(weights, false)
		for _, v := range [][2][]float64{{{got}, {want}}, {gotX, wantX}, {gotHead, wantHead}} {
			for i := range v[0] {
				if math.Abs(v[0][i]-v[1][i]) > 1e-12 {
					t.Fatalf("%g, want %g", v[0][i], v[1][i])
				}
			}
		}
	})
}

func argmax(x []float32) (best int) {
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func check64(t *testing.T, shapes [][]int64, f func([]Tensor) []Tensor) {
	r := rand.New(rand.NewPCG(1, 2))
	var in []Tensor
	for _, shape := range shapes {
		in = append(in, normal(r, shape...).RequireGrad())
	}
	outs := f(in)
	var at []Tensor
	for _, o := range outs {
		at = append(at, weights(r, o))
	}
	BackwardFrom(outs, at)
	value := func() (total float64) {
		defer Open().Close()
		NoGrad(func() {
			for i, o := range f(in) {
				total += o.Contiguous().Mul(at[i]).Sum().Scalar()
			}
		})
		return total
	}
	const h = 1e-5
	for k, x := range in {
		got, data := x.Gradient().Contiguous().Doubles(), slices.Clone(x.Doubles())
		for i := range data {
			moved := func(by float64) float64 {
				defer x.Put(bytesOf(slices.Clone(data)))
				there := slices.Clone(data)
				there[i] += by
				x.Put(bytesOf(there))
				return value()
			}
			up, down := moved(h), moved(-h)
			if want := (up - down) / (2 * h); math.Abs(got[i]-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("input %d, element %d: gradient %.9g, differences %.9g", k, i, got[i], want)
			}
		}
	}
}

// The row of the padding token gets no gradient, the others theirs.
func TestEmbeddingPadding(t *testing.T) { twice(t, testEmbeddingPadding) }

func testEmbeddingPadding(t *testing.T) {
	guarded(t, func() {
		w := Zeros(Float32, 4, 2).RequireGrad()
		Embedding(w, Of([]int64{2, 1, 2, 3}, 4), 2).Sum().Backward()
		want := []float32{0, 0, 1, 1, 0, 0, 1, 1}
		for i, g := range w.Gradient().Floats() {
			if g != want[i] {
				t.Errorf("element %d: %g, want %g", i, g, want[i])
			}
		}
	})
}

// The update against torch.optim.AdamW's formula in double, over elements that are no multiple of anything.
func TestAdamW(t *testing.T) { twice(t, testAdamW) }

func testAdamW(t *testing.T) {
	guarded(t, func() {
		r := rand.New(rand.NewPCG(3, 4))
		const n = 70001
		data := make([][]float32, 4)
		for k := range data {
			data[k] = make([]float32, n)
			for i := range data[k] {
				data[k][i] = float32(r.NormFloat64())
			}
		}
		for i := range data[3] {
			data[3][i] *= data[3][i]
		}
		w, g, m, v := Of(data[0], n), Of(data[1], n), Of(data[2], n), Of(data[3], n)
		const rate, scale = 1e-2, 0.5
		u := AdamW{Rate: 1, Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-8, Decay: 0.1}
		u.Update(w, g, m, v, control(rate, scale, 3))
		for i := range n {
			grad := float64(data[1][i]) * scale
			m1 := u.Beta1*float64(data[2][i]) + (1-u.Beta1)*grad
			v1 := u.Beta2*float64(data[3][i]) + (1-u.Beta2)*grad*grad
			want := float64(data[0][i])*(1-rate*u.Decay) -
				rate*(m1/(1-math.Pow(u.Beta1, 3)))/(math.Sqrt(v1/(1-math.Pow(u.Beta2, 3)))+u.Epsilon)
			if got := float64(w.Floats()[i]); math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
				t.Fatalf("element %d: %g, want %g", i, got, want)
			}
			if g.Floats()[i] != 0 {
				t.Fatalf("element %d: the gradient is left", i)
			}
		}
	})
}

// control is what an update reads of its step.
func control(rate, scale, age float64) Tensor {
	c := NewControl()
	c.CopyFrom(Of([]float64{rate, scale, age, 0}, Controls))
	return c
}

// rules is an update of each kind, of w and g with three buffers of state, elements of a matrix whose rows stand apart.
func rules(place Place) map[string]func(w, g, control Tensor, state []Tensor) {
	all := place.Rows * place.Width
	return map[string]func(w, g, control Tensor, state []Tensor){
		"adamw": func(w, g, control Tensor, state []Tensor) {
			AdamW{Rate: 1, Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-8, Decay: 0.1}.Update(w, g, state[0], state[1], control)
		},
		"lion": func(w, g, control Tensor, state []Tensor) {
			Lion{Rate: 2, Beta1: 0.9, Beta2: 0.99, Decay: 0.1}.Update(w, g, state[0], control)
		},
		"adafactor": func(w, g, control Tensor, state []Tensor) {
			Adafactor{Rate: 0.5, Decay: 0.1}.Matrix(w, g, state[1].Slice(0, place.Rows), state[1].Slice(place.Rows, place.Columns), control, place)
		},
		"adafactor of a vector": func(w, g, control Tensor, state []Tensor) {
			Adafactor{Rate: 1, Decay: 0.1}.Vector(w, g, state[1].Slice(0, all-5), control, 5)
		},
		"muon": func(w, g, control Tensor, state []Tensor) {
			Muon{Rate: 3, Stretch: 0.2, Momentum: 0.95, Decay: 0.1}.Update(w, g, state[0].Slice(0, place.Rows, place.Columns), control, place)
		},
	}
}

// updated is w, g and state after an update with numbers drawn from a seed.
func updated(f func(w, g, control Tensor, state []Tensor), n int64, control Tensor) (values [][]float32) {
	r := rand.New(rand.NewPCG(5, 6))
	x := []Tensor{normal(r, n).To(Float32), normal(r, n).To(Float32), normal(r, n).To(Float32), Of(ones(int(n)), n)}
	f(x[0], x[1], control, x[2:])
	for _, t := range x {
		values = append(values, t.Floats())
	}
	return values
}

// The composite of each rule moves weights and state as the kernel does, and leaves no gradient.
func TestUpdateComposites(t *testing.T) {
	if OnDevice() {
		t.Skip("there are no kernels on a device")
	}
	guarded(t, func() {
		place := Place{Offset: 16, Rows: 40, Width: 9, Columns: 7}
		for name, f := range rules(place) {
			n := place.Rows*place.Width + 16
			want := updated(f, n, control(1e-2, 0.5, 0.3+map[bool]float64{true: 2.7}[name == "adamw"]))
			useComposites(true)
			got := updated(f, n, control(1e-2, 0.5, 0.3+map[bool]float64{true: 2.7}[name == "adamw"]))
			useComposites(false)
			moved := false
			for k := range want {
				for i, w := range want[k] {
					if g := got[k][i]; math.Abs(float64(g-w)) > 2e-6*(1+math.Abs(float64(w))) {
						t.Fatalf("%s: buffer %d, element %d: composite %g, kernel %g", name, k, i, g, w)
					}
					moved = moved || k == 1 && w == 0
				}
			}
			if !moved {
				t.Errorf("%s: gradients are left", name)
			}
		}
	})
}

// A device's step, which reads nothing back, is an update clipped by the norm; where a number is not finite no weight moves.
func TestClip(t *testing.T) {
	guarded(t, func() {
		if !OnDevice() {
			useComposites(true)
			defer useComposites(false)
		}
		place := Place{Rows: 30, Width: 10, Columns: 10}
		n := place.Rows * place.Width
		for name, f := range rules(place) {
			var norm float64
			updated(func(_, g, _ Tensor, _ []Tensor) { norm = math.Sqrt(SumSquares(g)) }, n, Tensor{})
			want := updated(f, n, control(1e-2, 0.5/(norm+1e-6), 0.5))
			stats := Of([]float32{2, 0, 0}, StepStats)
			clipped := func(w, g, control Tensor, state []Tensor) {
				Clip(g, control, stats, 0.5)
				f(w, g, control, state)
			}
			got := updated(clipped, n, control(1e-2, 1, 0.5))
			for k := range want {
				for i, w := range want[k] {
					if g := got[k][i]; math.Abs(float64(g-w)) > 2e-6*(1+math.Abs(float64(w))) {
						t.Fatalf("%s: buffer %d, element %d: %g, want %g", name, k, i, g, w)
					}
				}
			}
			if s := stats.Floats(); s[StepLoss] != 2 || math.Abs(float64(s[StepNorm])-norm) > 1e-4 || s[StepBad] != 0 {
				t.Errorf("%s: stats %v, norm %g", name, s, norm)
			}
			still := updated(func(_, _, _ Tensor, _ []Tensor) {}, n, Tensor{})
			for _, loss := range []float32{float32(math.NaN()), 2} { // and it stays so
				stats.Narrow(0, 0, 1).CopyFrom(Of([]float32{loss}, 1))
				for i, w := range updated(clipped, n, control(1e-2, 1, 0.5))[0] {
					if w != still[0][i] {
						t.Fatalf("%s: element %d moved from %g to %g", name, i, still[0][i], w)
					}
				}
				if stats.Floats()[StepBad] == 0 {
					t.Errorf("%s: a loss that is not a number was passed over", name)
				}
			}
		}
	})
}

// A few rows take our kernel, many the library's: the results agree, and a row's does not depend on its company.
func TestSkinnyRows(t *testing.T) {
	if OnDevice() {
		t.Skip("of the processor alone")
	}
	guarded(t, func() {
		r := rand.New(rand.NewPCG(5, 6))
		const in, out = 83, 71 // neither a multiple of a tile
		w := normal(r, out, in).To(Float32)
		all := normal(r, 40, in).To(Float32)
		NoGrad(func() {
			want := Linear(all, w, Tensor{}, w.Dtype()).Floats() // above the bound: the library's GEMM
			var first []float32
			for rows := int64(1); rows <= 32; rows++ {
				got := Linear(all.Narrow(0, 0, rows).Contiguous(), w, Tensor{}, w.Dtype()).Floats()
				for i, x := range got {
					if math.Abs(float64(x-want[i])) > 1e-4 {
						t.Fatalf("%d rows, element %d: %g, library %g", rows, i, x, want[i])
					}
				}
				if rows == 1 {
					first = append(first, got...)
				}
				for i, x := range first {
					if got[i] != x {
						t.Fatalf("the first of %d rows: element %d is %g, alone %g", rows, i, got[i], x)
					}
				}
			}
		})
	})
}

// A frozen weight that is held in bfloat16 beside float32 gives what its values in float32 give: bit for bit in a few rows.
func TestNarrowWeight(t *testing.T) {
	if OnDevice() {
		t.Skip("on a device weights lie in the dtype of the products")
	}
	guarded(t, func() {
		r := rand.New(rand.NewPCG(9, 6))
		const in, out = 83, 71
		narrow := normal(r, out, in).To(BFloat16)
		wide := narrow.To(Float32)
		for _, rows := range []int64{1, 2, 3, 7, 32, 33} {
			x, labels := normal(r, rows, in).To(Float32), make([]int64, rows)
			both := func(f func(x, w Tensor) Tensor) (values, grads [2][]float32) {
				for i, w := range []Tensor{narrow, wide} {
					leaf := Leaf(Of(x.Floats(), x.Count()), 0, Zeros(Float32, x.Count()), rows, in)
					y := f(leaf, w)
					values[i] = y.Floats()
					BackwardFrom([]Tensor{y}, []Tensor{Of(values[0], y.Shape()...)})
					grads[i] = leaf.Gradient().Floats()
				}
				return
			}
			check := func(name string, exact bool, f func(x, w Tensor) Tensor) {
				values, grads := both(f)
				for i := range values[0] {
					if d := math.Abs(float64(values[0][i] - values[1][i])); d > 1e-5 || exact && d != 0 {
						t.Fatalf("%s, %d rows: element %d is off by %g", name, rows, i, d)
					}
				}
				for i := range grads[0] {
					if d := math.Abs(float64(grads[0][i] - grads[1][i])); d > 1e-3 {
						t.Fatalf("%s, %d rows: gradient %d is off by %g", name, rows, i, d)
					}
				}
			}
			check("linear", rows <= 32, func(x, w Tensor) Tensor { return Linear(x, w, Tensor{}, Float32) })
			check("log probs", false, func(x, w Tensor) Tensor {
				logp, _ := LogProbs(x, Head{Weight: w}, Of(labels, rows), 1, 5, false)
				return logp
			})
		}
	})
}

// DoRA by its definition: a linear layer whose adapted rows are magnitude/‖w + scale·b·a‖ times w + scale·b·a, the others as they
// are. Rows are so many that their norms are computed a block at a time.
func TestDoRA(t *testing.T) {
	if OnDevice() {
		t.Skip("rows are changed in place")
	}
	guarded(t, func() {
		const rows, in, rank, out, from, adapted = 7, 1 << 12, 2, 700, 100, 520
		r := rand.New(rand.NewPCG(15, 16))
		x, w, bias := normal(r, rows, in), normal(r, out, in), normal(r, out)
		a, b, m := normal(r, rank, in), normal(r, adapted, rank), normal(r, adapted)
		low := Adapter{A: a, B: b, Parts: []Part{{From: from, Rows: adapted, Scale: 0.7}}, Magnitudes: m}
		low.Norms = RowNorms(w, low)
		sum := w.Clone()
		own := sum.Narrow(0, from, adapted)
		own.CopyFrom(own.Add(b.MatMul(a).Mul(Of([]float64{0.7}))))
		values, magnitudes, norms := sum.Doubles(), m.Doubles(), low.Norms.Doubles()
		for i := range adapted {
			row, squares := values[(from+i)*in:][:in], 0.0
			for _, v := range row {
				squares += v * v
			}
			if norm := math.Sqrt(squares); math.Abs(norms[i]-norm) > 1e-9*norm {
				t.Fatalf("row %d: norm %g, want %g", i, norms[i], norm)
			}
			for k := range row {
				row[k] *= magnitudes[i] / norms[i]
			}
		}
		got, want := LoRA(x, w, bias, low, 0, 0, Float64).Doubles(), x.MatMul(sum.Transpose()).Add(bias).Doubles()
		for i, v := range want {
			if math.Abs(got[i]-v) > 1e-9*(1+math.Abs(v)) {
				t.Fatalf("element %d: %g, want %g", i, got[i], v)
			}
		}
	})
}

// Attention over a cache, token by token, is attention over the row: of two rows, one a token behind the other.
func TestCache(t *testing.T) { twice(t, testCache) }

func testCache(t *testing.T) {
	for _, test := range []struct {
		width int64
		Scoring
	}{{8, Scoring{Scale: 0.2}}, {64, Scoring{Scale: 0.2}}, {80, Scoring{Scale: 0.2}}, {8, Scoring{0.9, 3, 0}}, {8, Scoring{0.9, 0, 1.5}}, {80, Scoring{0.2, 5, 2}}} {
		for dtype, bound := range map[Dtype]float64{Float32: 1e-5, BFloat16: 2e-2} {
			t.Run(fmt.Sprint(test, dtype), func(t *testing.T) {
				guarded(t, func() {
					width := test.width
					r := rand.New(rand.NewPCG(7, 8))
					const n, heads, kv = 9, 4, 2
					q, k, v := normal(r, n, heads, width).To(dtype), normal(r, n, kv, width).To(dtype), normal(r, n, kv, width).To(dtype)
					want := Attention(q, k, v, NewRows([]int64{0, n}), test.Scoring).To(Float32).Floats()
					keys, values := Zeros(dtype, 3, kv, 12, width), Zeros(dtype, 3, kv, 12, width)
					const first = 4
					CacheWrite(k, v, keys, values, []int64{2}, []int64{0, first})
					CacheWrite(k, v, keys, values, []int64{0}, []int64{0, first - 1})
					for i := int64(first); i < n; i++ {
						of := func(x Tensor) Tensor { return x.Rows(Of([]int64{i, i - 1}, 2)) }
						got := AttendCache(of(q), of(k), of(v), keys, values, NewPlaces([]int64{2, 0}, []int64{i + 1, i}, keys), test.Scoring).To(Float32).Floats()
						for x, g := range got {
							row, at := int64(x)/(heads*width), int64(x)%(heads*width)
							if w := want[(i-row)*heads*width+at]; math.Abs(float64(g-w)) > bound {
								t.Fatalf("token %d, element %d: %g, over the row %g", i-row, at, g, w)
							}
						}
					}
				})
			})
		}
	}
}

// Dropout's draw is the same forward and backward, depends on its seed, and keeps as many as it should.
func TestDropout(t *testing.T) { twice(t, testDropout) }

func testDropout(t *testing.T) {
	guarded(t, func() {
		const rows, in, p = 50, 64, 0.25
		x := Of(ones(rows*in), rows, in).RequireGrad()
		identity := make([]float32, in*in)
		for i := range in {
			identity[i*in+i] = 1
		}
		w, a, b := Zeros(Float32, in, in), Of(identity, in, in), Of(identity, in, in)
		adapter := Adapter{A: a, B: b, Parts: []Part{{Rows: in, Scale: 1}}}
		y := LoRA(x, w, Tensor{}, adapter, p, 11, x.Dtype())
		y.Sum().Backward()
		kept, got, again, other := 0, y.Floats(), x.Gradient().Floats(), LoRA(x, w, Tensor{}, adapter, p, 12, x.Dtype()).Floats()
		same := 0
		for i, v := range got {
			if v != 0 {
				kept++
				if math.Abs(float64(v)-1/(1-p)) > 1e-6 {
					t.Fatalf("kept element %g", v)
				}
			}
			if again[i] != v {
				t.Fatalf("element %d: forward %g, backward %g", i, v, again[i])
			}
			if (other[i] != 0) == (v != 0) {
				same++
			}
		}
		if share := float64(kept) / (rows * in); math.Abs(share-(1-p)) > 0.03 {
			t.Errorf("kept %g of the elements", share)
		}
		if same == rows*in {
			t.Error("another seed drew the same")
		}
	})
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// What libtorch throws is an error that names the operator.
func TestErrors(t *testing.T) {
	if OnDevice() {
		t.Skip("of the processor alone")
	}
	Lock()
	defer Open().Close()
	for name, f := range map[string]func(){
		"linear": func() { Linear(Zeros(Float32, 2, 3), Zeros(Float32, 4, 5), Tensor{}, Float32) },
		"swiglu": func() { // and not that a scope within another was left open
			defer Open().Close()
			Open()
			SwiGLU(Zeros(Float32, 2, 3))
		},
		"cross entropy": func() {
			CrossEntropy(Zeros(Float32, 1, 3), Head{Weight: Zeros(Float32, 4, 3)}, Labels{IDs: Of([]int64{9}, 1), Weights: Zeros(Float32, 1)}, 8)
		},
		"matmul": func() { Zeros(Float32, 2, 3).MatMul(Zeros(Float32, 2, 3)) },
	} {
		err := Guard(func() error { f(); return nil })
		var e *Error
		if !errors.As(err, &e) || e.Op != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
