package confidence

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s: %.6f, want %.6f", what, got, want)
	}
}

// From published tables: Student's t at 97.5%.
func TestQuantile(t *testing.T) {
	for freedom, want := range map[int]float64{1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 29: 2.0452, 120: 1.9799} {
		within := 0.001 * want
		if freedom == 3 {
			within = 0.01
		}
		near(t, "t", quantile(freedom), want, within)
	}
}

// Wilson's interval of 81 in 263 is 0.2553 to 0.3662 (Newcombe 1998, table I); of none in 20 it begins at 0 and ends at 0.1611; of
// all it is the mirror image.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		successes, n int
		low, high    float64
	}{{81, 263, 0.2553, 0.3662}, {0, 20, 0, 0.1611}, {20, 20, 0.8389, 1}, {1, 1, 0.2065, 1}} {
		got, ok := Share(c.successes, c.n)
		if !ok {
			t.Fatal(c)
		}
		near(t, "low", got.Low, c.low, 5e-5)
		near(t, "high", got.High, c.high, 5e-5)
	}
	if _, ok := Share(0, 0); ok {
		t.Error("of no rows")
	}
}

// 1, 2, 3, 4: mean 2.5, deviation 1.291, t 3.182: 2.5 ± 2.054.
func TestMean(t *testing.T) {
	got, ok := Mean([]float64{1, 2, 3, 4})
	if !ok {
		t.Fatal()
	}
	near(t, "low", got.Low, 0.4457, 0.01)
	near(t, "high", got.High, 4.5543, 0.01)
	if _, ok := Mean([]float64{1}); ok {
		t.Error("of one row")
	}
	if _, ok := Mean([]float64{0.5, 0.5}); ok {
		t.Error("of equal rows")
	}
}

// In so many of a thousand draws the interval holds the truth: about 950.
func TestCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const draws, rows = 1000, 60
	share, ratio := 0, 0
	for range draws {
		right := 0
		var sums, sizes []float64
		for range rows {
			if r.Float64() < 0.3 {
				right++
			}
			n := float64(1 + r.IntN(40)) // tokens, each of a loss of 2 on average
			sizes = append(sizes, n)
			sums = append(sums, n*(2+0.5*r.NormFloat64()))
		}
		if i, _ := Share(right, rows); i.Low <= 0.3 && 0.3 <= i.High {
			share++
		}
		if i, _ := Ratio(sums, sizes); i.Low <= 2 && 2 <= i.High {
			ratio++
		}
	}
	for what, held := range map[string]int{"share": share, "ratio": ratio} {
		if held < 920 || held > 975 {
			t.Errorf("%s: %d of %d", what, held, draws)
		}
	}
}
