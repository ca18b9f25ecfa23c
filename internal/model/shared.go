package model

import (
	"slices"

	"github.com/hone-ml/hone/internal/tensor"
)

// The common beginnings of rows are computed once where that spares so large a part of all tokens: attention then gathers
// what each row sees, which costs about a twentieth of a pass.
const leastShared = 0.1

// Shared is Packed where rows that begin alike have their beginning computed once, as the answers to one prompt do: a token's
// output depends on what stands before it alone. places[i][j] is where token j of row i is among the tokens of the pass.
func (m *Model) Shared(rows [][]int32) (in Input, places [][]int64) {
	if !m.shares() {
		return apart(rows)
	}
	var heads []int // rows that share nothing with those before them
	total := 0
	for i, row := range rows {
		from, common := 0, 0
		for _, h := range heads {
			if n := alike(rows[h], row); n > common {
				from, common = h, n
			}
		}
		if common == 0 {
			heads = append(heads, i)
		}
		p := make([]int64, 0, len(row))
		if common > 0 { // the first row has none before it
			p = append(p, places[from][:common]...)
		}
		for j, id := range row[common:] {
			p = append(p, int64(len(in.IDs)))
			in.IDs, in.Positions = append(in.IDs, int64(id)), append(in.Positions, int64(common+j))
		}
		places, total = append(places, p), total+len(row)
	}
	if float64(total-len(in.IDs)) < leastShared*float64(total) {
		return apart(rows)
	}
	in.whole, in.own = slices.Concat(places...), make([]int64, len(in.IDs))
	for k, at := range slices.Backward(in.whole) {
		in.own[at] = int64(k)
	}
	in.borders = []int64{0}
	for _, row := range rows {
		in.borders = append(in.borders, in.borders[len(in.borders)-1]+int64(len(row)))
	}
	in.rows = tensor.NewRows(in.borders)
	in.gather, in.back = tensor.Of(in.whole, int64(len(in.whole))), tensor.Of(in.own, int64(len(in.own)))
	return in, places
}

// apart is Packed, with the places of its tokens.
func apart(rows [][]int32) (in Input, places [][]int64) {
	in, borders := Packed(rows)
	for i, row := range rows {
		p := make([]int64, len(row))
		for j := range p {
			p[j] = borders[i] + int64(j)
		}
		places = append(places, p)
	}
	return in, places
}

// shares reports whether a token is the same in all rows that begin alike: LongRoPE rotates by a row's length, and an adapter's dropout
// and NEFTune's noise are drawn anew for each row.
func (m *Model) shares() bool {
	return m.rope.Turn() == 0 && (m.LoRA == nil || m.LoRA.Dropout == 0) && m.Noise == 0
}

// alike is the number of tokens with which both rows begin.
func alike(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
