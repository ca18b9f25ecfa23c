package dataset

import "math/rand/v2"

// Spread picks k of n rows, which count from one, in ascending order: one by chance in each of k stretches of equal length. The same
// n and k give the same rows. All are picked where k is 0 or not below n.
func Spread(n, k int64) []int64 {
	if k <= 0 || k > n {
		k = n
	}
	chance := rand.New(rand.NewPCG(uint64(n), uint64(k)))
	rows := make([]int64, k)
	for i := range k {
		from, to := i*n/k, (i+1)*n/k
		rows[i] = 1 + from + chance.Int64N(to-from)
	}
	return rows
}
