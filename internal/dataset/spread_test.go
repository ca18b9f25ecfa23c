package dataset

import (
	"slices"
	"testing"
)

// Rows are spread over the whole, each once, and the same each time.
func TestSpread(t *testing.T) {
	for _, test := range []struct{ n, k, want int64 }{{10, 3, 3}, {10, 10, 10}, {10, 0, 10}, {10, 20, 10}, {1, 1, 1}, {0, 5, 0}, {1 << 40, 4, 4}} {
		rows := Spread(test.n, test.k)
		if int64(len(rows)) != test.want || !slices.Equal(rows, Spread(test.n, test.k)) {
			t.Errorf("%d of %d: %v", test.k, test.n, rows)
		}
		for i, row := range rows {
			from, to := int64(i)*test.n/test.want, int64(i+1)*test.n/test.want
			if row <= from || row > to {
				t.Errorf("%d of %d: row %d is not between %d and %d", test.k, test.n, row, from, to)
			}
		}
	}
}
