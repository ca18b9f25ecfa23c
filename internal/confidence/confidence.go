// Package confidence gives 95% confidence intervals of what an eval measures. They tell what another draw of rows from where these
// came from would give; rows that are not drawn alike, and the seed of a training, they know nothing of.
package confidence

import "math"

// Interval is where a value lies with 95% confidence.
type Interval struct{ Low, High float64 }

const z = 1.959963984540054 // of the normal distribution, 97.5%

// Share is the interval of a share, successes of n: Wilson 1927, which holds for few rows and near 0 and 1 too.
func Share(successes, n int) (Interval, bool) {
	if n <= 0 {
		return Interval{}, false
	}
	m, p := float64(n), float64(successes)/float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Interval{max(0, middle-half), min(1, middle+half)}, true
}

// Mean is the interval of the mean of values, by Student's t; as of Ratio.
func Mean(values []float64) (Interval, bool) {
	ones := make([]float64, len(values))
	for i := range ones {
		ones[i] = 1
	}
	return Ratio(values, ones)
}

// Ratio is the interval of Σsums/Σsizes over rows, such as the loss of a token: the ratio estimator's linearised variance (Cochran
// 1977, 6.4), by Student's t; none of fewer than two rows, nor of rows that are all alike, which tell nothing of how others differ.
func Ratio(sums, sizes []float64) (Interval, bool) {
	n := len(sums)
	if n < 2 || len(sizes) != n {
		return Interval{}, false
	}
	var sum, size float64
	for i := range sums {
		sum, size = sum+sums[i], size+sizes[i]
	}
	if !(size > 0) {
		return Interval{}, false
	}
	r, squares := sum/size, 0.0
	for i := range sums {
		d := sums[i] - r*sizes[i]
		squares += d * d
	}
	half := quantile(n-1) * math.Sqrt(squares*float64(n)/float64(n-1)) / size
	return Interval{r - half, r + half}, half > 0 && !math.IsInf(half, 0)
}

// quantile is the 97.5% quantile of Student's t: exact for one and two degrees of freedom, above by Cornish and Fisher's expansion
// (Abramowitz and Stegun 26.7.5), within a thousandth from four on and a hundredth at three.
func quantile(freedom int) float64 {
	switch v := float64(freedom); freedom {
	case 1:
		return math.Tan(math.Pi * 0.475)
	case 2:
		const p = 0.975
		return (2*p - 1) / math.Sqrt(2*p*(1-p))
	default:
		z2 := z * z
		return z * (1 + (z2+1)/(4*v) + ((5*z2+16)*z2+3)/(96*v*v) + (((3*z2+19)*z2+17)*z2-15)/(384*v*v*v) +
			((((79*z2+776)*z2+1482)*z2-1920)*z2-945)/(92160*v*v*v*v))
	}
}
