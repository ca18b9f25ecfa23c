package tensor

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The values of the sixteen codes as bitsandbytes publishes them (bitsandbytes/functional.py, get_4bit_type("nf4")).
var nf4 = []float32{-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
	0.5626170039176941, 0.7229568362236023, 1.0}

// Each value of the table is kept as it is, and halfway to the next one a weight goes to the nearer.
func TestNF4Levels(t *testing.T) { twice(t, testNF4Levels) }

func testNF4Levels(t *testing.T) {
	guarded(t, func() {
		var x, want []float32
		for i, v := range nf4 {
			x, want = append(x, v), append(want, v)
			if i > 0 {
				middle := (nf4[i-1] + v) / 2
				x = append(x, middle*(1-1e-6*sign(middle)), middle*(1+1e-6*sign(middle)))
				want = append(want, nf4[i-1], v)
			}
		}
		for _, dtype := range []Dtype{Float32, Float64, BFloat16} {
			for _, scale := range []float32{1, 0.125} {
				scaled := make([]float32, len(x))
				for i, v := range x {
					scaled[i] = scale * v
				}
				n := int64(len(x))
				w := NF4(dtype, false, n, 1)
				w.Pack(0, Of(scaled, 1, n))
				got := w.Unpack(0, 1, 0, n).To(Float32).Floats()
				exact := Of(want, n).To(dtype).To(Float32).Floats()
				for i, v := range exact {
					if got[i] != v*scale {
						t.Errorf("%s: %g is %g, want %g", dtype, scaled[i], got[i], v*scale)
					}
				}
			}
		}
	})
}

func sign(x float32) float32 { return float32(math.Copysign(1, float64(x))) }

// A block of zeros, and the columns of rows whose blocks begin anywhere, are what the whole is; the error is within half the
// greatest distance of two levels, with scales that are quantised too.
func TestNF4Blocks(t *testing.T) { twice(t, testNF4Blocks) }

func testNF4Blocks(t *testing.T) {
	guarded(t, func() {
		const in = 83
		outs := []int64{50, 1, 400}
		r := rand.New(rand.NewPCG(17, 18))
		for _, double := range []bool{false, true} {
			w := NF4(Float32, double, in, outs...)
			var dense []float32
			for i, out := range outs {
				x := normal(r, out, in).To(Float32)
				if i == 0 {
					_ = x.EditFloats(func(x []float32) error { clear(x[:3*64]); return nil })
				}
				w.Pack(i, x)
				dense = append(dense, x.Floats()...)
			}
			all := w.Unpack(0, 451, 0, in).Floats()
			for i, v := range dense {
				if limit := 0.153*4.2 + 1e-3; math.Abs(float64(v-all[i])) > limit || v == 0 && !double && all[i] != 0 {
					t.Fatalf("double %v: element %d: %g of %g", double, i, all[i], v)
				}
			}
			for _, b := range [][4]int64{{0, 451, 0, 1}, {49, 3, 7, 60}, {450, 1, 82, 1}, {3, 200, 13, 70}, {0, 0, 0, 0}} {
				for i, v := range w.Unpack(b[0], b[1], b[2], b[3]).Contiguous().Floats() {
					if want := all[(b[0]+int64(i)/b[3])*in+b[2]+int64(i)%b[3]]; v != want {
						t.Fatalf("double %v, block %v: element %d is %g, in the whole %g", double, b, i, v, want)
					}
				}
			}
		}
	})
}

// The composite unpacks the same weights, to the bit.
func TestNF4Composite(t *testing.T) {
	if OnDevice() {
		t.Skip("there are no kernels on a device")
	}
	guarded(t, func() {
		for _, double := range []bool{false, true} {
			for _, dtype := range []Dtype{Float32, BFloat16} {
				r := rand.New(rand.NewPCG(21, 22))
				w := NF4(dtype, double, 83, 50, 1, 400)
				for i, out := range []int64{50, 1, 400} {
					w.Pack(i, normal(r, out, 83).To(Float32))
				}
				unpacked := func() []float32 { return w.Unpack(3, 440, 5, 70).Contiguous().To(Float32).Floats() }
				want := unpacked()
				useComposites(true)
				got := unpacked()
				useComposites(false)
				for i, v := range got {
					if v != want[i] {
						t.Fatalf("double %v, %s: element %d is %g, want %g", double, dtype, i, v, want[i])
					}
				}
			}
		}
	})
}

// Products with a packed weight, forward and back, are those with what it unpacks to, at one row, few and many, when the weight
// takes several blocks each way; so are LoRA's and DoRA's.
func TestNF4Products(t *testing.T) { twice(t, testNF4Products) }

func testNF4Products(t *testing.T) {
	guarded(t, func() {
		const in, out = 1200, 2500
		r := rand.New(rand.NewPCG(19, 20))
		w := NF4(Float32, true, in, 1000, 1500)
		for i, rows := range []int64{1000, 1500} {
			w.Pack(i, normal(r, rows, in).To(Float32))
		}
		dense := w.Unpack(0, out, 0, in)
		bias, a, b := normal(r, out).To(Float32), normal(r, 4, in).To(Float32), normal(r, 2000, 2).To(Float32)
		low := Adapter{A: a, B: b, Parts: []Part{{From: 0, Rows: 1000, Scale: 0.5}, {From: 1500, Rows: 1000, Scale: 2}}}
		long := low
		long.Magnitudes, long.Norms = normal(r, 2000).To(Float32), RowNorms(w, low)
		near(t, "norms", long.Norms.Floats(), RowNorms(dense, low).Floats())
		for _, rows := range []int64{1, 9, 70} {
			x, dy := normal(r, rows, in).To(Float32), normal(r, rows, out).To(Float32)
			for name, f := range map[string]func(x, w Tensor) Tensor{
				"linear":       func(x, w Tensor) Tensor { return Linear(x, w, bias, Float32) },
				"lora":         func(x, w Tensor) Tensor { return LoRA(x, w, bias, low, 0, 0, Float32) },
				"dora":         func(x, w Tensor) Tensor { return LoRA(x, w, bias, long, 0, 0, Float32) },
				"dora dropped": func(x, w Tensor) Tensor { return LoRA(x, w, Tensor{}, long, 0.2, 3, Float32) },
			} {
				var y, dx [2][]float32
				for i, weight := range []Tensor{w, dense} {
					leaf := x.Clone().RequireGrad()
					got := f(leaf, weight)
					BackwardFrom([]Tensor{got}, []Tensor{dy})
					y[i], dx[i] = got.Floats(), leaf.Gradient().Contiguous().Floats()
				}
				near(t, name, y[0], y[1])
				near(t, name+" back", dx[0], dx[1])
			}
		}
	})
}

// near wants got within rounding of want, of the order of its greatest element.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	var top, worst float64
	for i, v := range want {
		top, worst = math.Max(top, math.Abs(float64(v))), math.Max(worst, math.Abs(float64(v-got[i])))
	}
	if len(got) != len(want) || !(worst <= 2e-6*top) {
		t.Errorf("%s: %g apart, the greatest is %g", what, worst, top)
	}
}
