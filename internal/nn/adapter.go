package nn

import (
	"fmt"

	"github.com/hone-ml/hone/internal/tensor"
)

// Adapter is LoRA (Hu et al. 2021) on some projections of a Linear, or DoRA (Liu et al. 2024): LoRA whose rows have a length of
// their own. Ranks may differ: A and B are padded with zeros to the largest, and what is zero stays zero in training, since each
// factor's gradient is a product with the other.
type Adapter struct {
	Targets   []Target
	Dropout   float64
	A, B      *Weight // [targets·rank, in], [Σ out, rank]
	Magnitude *Weight // [Σ out]; absent in LoRA
	rank      int64
	in        int64
	parts     []tensor.Part
	draws     *Draws

	store *Store
	norms tensor.Tensor // of the adapted rows, as the store was when it had been refreshed so often
	as    int
}

// Target is a projection with an adapter.
type Target struct {
	Index int // in Projections
	Rank  int64
	Scale float64 // alpha/rank, or alpha/√rank for rsLoRA (Kalajdzievski 2023)
}

// Draws numbers the random draws of a step's passes: the seed of a draw is that of the step and its number within it. A device draws a
// pass's numbers one after another instead, from the seed of the step and the number of the pass: what is drawn can be recorded.
type Draws struct {
	On           bool // training
	Seed         uint64
	next, passes uint64
}

// Begin starts a step whose draws depend on seed alone.
func (d *Draws) Begin(seed uint64) { d.Seed, d.next, d.passes = seed, 0, 0 }

// Pass begins a pass, before it is called or replayed.
func (d *Draws) Pass() {
	d.passes++
	if tensor.OnDevice() {
		tensor.DrawFrom(d.seed(d.passes) | 1)
	}
}

func (d *Draws) seed(of uint64) uint64 { return d.Seed*0x9e3779b97f4a7c15 + of }

// Next is the seed of the next draw, on a device 0.
func (d *Draws) Next() uint64 {
	d.next++
	if tensor.OnDevice() {
		return 0
	}
	return d.seed(d.next)
}

// At is where the next draw is; Rewind goes there, so that a recomputed layer draws what it drew before.
func (d *Draws) At() uint64 {
	if d.next > 0 && tensor.OnDevice() {
		return tensor.Drawn()
	}
	return d.next
}

// Rewind has draws go on from where At said that they were.
func (d *Draws) Rewind(at uint64) {
	if d.next > 0 && tensor.OnDevice() {
		tensor.DrawOn(at)
		return
	}
	d.next = at
}

// Adapt puts an adapter on l, with its factors, and for DoRA its magnitudes, declared in s.
func (l *Linear) Adapt(s *Store, dora bool, dropout float64, draws *Draws, targets ...Target) *Adapter {
	a := &Adapter{Targets: targets, Dropout: dropout, in: l.In, draws: draws, store: s}
	offsets := make([]int64, len(l.Projections))
	for i := 1; i < len(offsets); i++ {
		offsets[i] = offsets[i-1] + l.Projections[i-1].Out
	}
	var rows int64
	for _, t := range targets {
		a.rank = max(a.rank, t.Rank)
		out := l.Projections[t.Index].Out
		a.parts = append(a.parts, tensor.Part{From: offsets[t.Index], Rows: out, Scale: t.Scale})
		rows += out
	}
	name := l.Projections[targets[0].Index].Name
	a.A = s.Declare(Tensor{Name: fmt.Sprintf("%s.lora_A", name), Shape: []int64{int64(len(targets)) * a.rank, l.In}})
	a.B = s.Declare(Tensor{Name: fmt.Sprintf("%s.lora_B", name), Shape: []int64{rows, a.rank}})
	if dora {
		a.Magnitude = s.Declare(Tensor{Name: fmt.Sprintf("%s.lora_magnitude_vector", name), Shape: []int64{rows}})
		a.Magnitude.Decays = true // transformers' Trainer leaves out what is named a norm or a bias
	}
	a.A.Hidden, a.B.Hidden = true, true
	for i := range targets {
		A, B := a.Factors(i)
		a.A.places, a.B.places = append(a.A.places, A), append(a.B.places, B)
		if dora {
			a.Magnitude.places = append(a.Magnitude.places, a.Magnitudes(i))
		}
	}
	l.Adapter = a
	return a
}

// draw is the dropout of a pass and its seed.
func (a *Adapter) draw() (dropout float64, seed uint64) {
	if a.Dropout > 0 && a.draws.On {
		return a.Dropout, a.draws.Next()
	}
	return 0, 0
}

// factors is the adapter as the operator takes it.
func (l *Linear) factors() tensor.Adapter {
	a := l.Adapter
	f := tensor.Adapter{A: a.A.Tensor, B: a.B.Tensor, Parts: a.parts}
	if a.Magnitude != nil {
		f.Magnitudes, f.Norms = a.Magnitude.Exact, l.AdaptedNorms()
	}
	return f
}

// AdaptedNorms is the lengths of the adapted rows, W + scale·B·A: [Σ out] float32, in the order of the targets. They are computed
// anew where the adapter's store was refreshed in between: once an update, and once for all tokens that are decoded.
func (l *Linear) AdaptedNorms() tensor.Tensor {
	a := l.Adapter
	if tensor.OnDevice() { // a step is recorded once: what it reads must be computed in it
		return tensor.RowNorms(l.Weight.Tensor, tensor.Adapter{A: a.A.Exact, B: a.B.Exact, Parts: a.parts})
	}
	if !a.norms.Defined() || a.as != a.store.refreshed {
		a.norms.Free()
		a.norms = tensor.RowNorms(l.Weight.Tensor, tensor.Adapter{A: a.A.Exact, B: a.B.Exact, Parts: a.parts}).Forget()
		a.as = a.store.refreshed
	}
	return a.norms
}

// KeepLengths sets DoRA's magnitudes to the lengths that the adapted rows have: the adapter then changes nothing.
func (l *Linear) KeepLengths() {
	defer tensor.Open().Close()
	a := l.Adapter
	a.store.Values.Slice(a.Magnitude.offset, a.Magnitude.Shape...).CopyFrom(l.AdaptedNorms())
}

// Free releases what is not the store's.
func (a *Adapter) Free() {
	a.norms.Free()
	a.norms = tensor.Tensor{}
}

// Factors is where target i's A [rank, in] and B [out, rank] lie.
func (a *Adapter) Factors(i int) (A, B tensor.Place) {
	A = tensor.Place{Offset: a.A.offset + int64(i)*a.rank*a.in, Rows: a.Targets[i].Rank, Width: a.in, Columns: a.in}
	B = tensor.Place{Offset: a.B.offset + a.row(i)*a.rank, Rows: a.parts[i].Rows, Width: a.rank, Columns: a.Targets[i].Rank}
	return A, B
}

// Magnitudes is where target i's magnitudes [out] lie. They are there in DoRA.
func (a *Adapter) Magnitudes(i int) tensor.Place {
	out := a.parts[i].Rows
	return tensor.Place{Offset: a.Magnitude.offset + a.row(i), Rows: 1, Width: out, Columns: out}
}

// row is the first of target i's among the adapted rows.
func (a *Adapter) row(i int) int64 {
	var row int64
	for _, p := range a.parts[:i] {
		row += p.Rows
	}
	return row
}
