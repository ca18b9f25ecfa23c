// Package nn is the layers of a decoder over internal/tensor, bound to the names of a checkpoint.
//
//	Weight     a matrix or vector that the model uses; one or several checkpoint tensors behind one another
//	Store      all weights of a model, declared first, then laid out in flat buffers
//	Linear     a projection; several that share an input are one weight (q, k and v; gate and up)
//	Adapter    LoRA or DoRA on a Linear
//
// Flat buffers are why an update is one pass, a checkpoint one write and a gradient norm one sum; every weight starts at a
// multiple of 64 bytes, because bits depend on alignment where one row is multiplied.
package nn

import (
	"slices"

	"github.com/hone-ml/hone/internal/tensor"
)

// Tensor names one tensor of a checkpoint.
type Tensor struct {
	Name       string
	Shape      []int64 // as it is computed with
	Transposed bool    // the checkpoint holds its transpose, as GPT-2's does
	Init       Init
}

// Init is the values of a tensor in a fresh model.
type Init int

// The values of fresh tensors.
const (
	Normal   Init = iota // around zero, with the deviation that config.json says
	Residual             // the same, with the deviation divided by √(2·layers) (Radford et al. 2019)
	Ones
	Zeros
)

// Stored is the tensor's shape in the checkpoint.
func (t Tensor) Stored() []int64 {
	if t.Transposed {
		return []int64{t.Shape[1], t.Shape[0]}
	}
	return t.Shape
}

func (t Tensor) count() int64 {
	n := int64(1)
	for _, s := range t.Shape {
		n *= s
	}
	return n
}

// Weight is Parts along the first dimension, in one piece of memory.
type Weight struct {
	Parts  []Tensor
	Shape  []int64
	Tensor tensor.Tensor // what products take; set by Store.Allocate
	Exact  tensor.Tensor // what norms and look-ups take: float32 where the store has it so
	Rate   float64       // learns at so many times the learning rate; 0 is once
	Hidden bool          // a matrix between layers: neither the embedding nor the head
	Decays bool          // though it is a vector
	Packed bool          // held in NF4 apart from the buffers: Tensor alone, no Exact

	offset int64
	places []tensor.Place // of an adapter's factors
	frozen []bool         // of its parts; absent, all are trained
}

// Frozen reports whether part i is not trained.
func (w *Weight) Frozen(i int) bool { return w.frozen != nil && w.frozen[i] }

// Places is where the matrices lie that a checkpoint knows apart: its parts, or an adapter's factors. A vector is one row.
func (w *Weight) Places() []tensor.Place {
	if w.places != nil {
		return w.places
	}
	places := make([]tensor.Place, len(w.Parts))
	for i, p := range w.Parts {
		columns := p.Shape[len(p.Shape)-1]
		places[i] = tensor.Place{Offset: w.PartAt(i), Rows: p.count() / columns, Width: columns, Columns: columns}
	}
	return places
}

// PartAt is the offset in elements of part i within its store's buffer.
func (w *Weight) PartAt(i int) int64 {
	o := w.offset
	for _, p := range w.Parts[:i] {
		o += p.count()
	}
	return o
}

// Count is the weight's elements.
func (w *Weight) Count() int64 {
	n := int64(1)
	for _, s := range w.Shape {
		n *= s
	}
	return n
}

const align = 16 // elements: 64 bytes of float32

// Store holds the weights of a model, or of an adapter.
type Store struct {
	Weights []*Weight
	Size    int64         // elements of a buffer, padding included
	Values  tensor.Tensor // flat; float32 where the store is trained, and for adapters
	Grads   tensor.Tensor // flat float32; absent where it is frozen
	Compute tensor.Tensor // flat; what the leaves slice: Values, or its copy in bfloat16

	compute   tensor.Dtype
	refreshed int // times
}

// Declare adds a weight made of parts, which agree in all but their first dimension.
func (s *Store) Declare(parts ...Tensor) *Weight {
	w := &Weight{Parts: parts, Shape: append([]int64(nil), parts[0].Shape...), offset: s.Size}
	for _, p := range parts[1:] {
		w.Shape[0] += p.Shape[0]
	}
	s.Size = s.after(w)
	s.Weights = append(s.Weights, w)
	return w
}

// after is where what follows a weight at the end of the buffer begins.
func (s *Store) after(w *Weight) int64 { return (s.Size + w.Count() + align - 1) / align * align }

// Pack takes w, a matrix, out of the buffers: it is held in NF4, of zeros until its parts are packed. Call it before Allocate, and
// train other stores alone.
func (w *Weight) Pack(compute tensor.Dtype, double bool) {
	outs := make([]int64, len(w.Parts))
	for i, p := range w.Parts {
		outs[i] = p.Shape[0]
	}
	w.Packed, w.Tensor = true, tensor.NF4(compute, double, w.Shape[1], outs...).Forget()
}

// Allocate lays the weights out: values in one dtype, what operators compute with in another, gradients (float32) where the
// store is trained. Values are zero until they are loaded; after each change of them call Refresh.
func (s *Store) Allocate(values, compute tensor.Dtype, trained bool) {
	s.compute, s.Size = compute, 0
	for _, w := range s.Weights {
		if !w.Packed {
			w.offset = s.Size
			s.Size = s.after(w)
		}
	}
	if trained {
		s.Grads = tensor.Zeros(tensor.Float32, s.Size).Forget()
	}
	zeros := tensor.Zeros
	if !trained {
		zeros = tensor.ZerosRead
	}
	s.Values = zeros(values, s.Size).Forget()
	s.Compute = s.Values
	if values != compute {
		s.Compute = tensor.Zeros(compute, s.Size).Forget()
	}
	s.bind()
}

// bind makes the tensors of the weights.
func (s *Store) bind() {
	for _, w := range s.Weights {
		if w.Packed {
			continue
		}
		w.Tensor = tensor.Leaf(s.Compute, w.offset, s.Grads, w.Shape...).Forget()
		switch {
		case s.Compute != s.Values:
			w.Exact = tensor.Leaf(s.Values, w.offset, s.Grads, w.Shape...).Forget()
		case s.Values.Dtype() != tensor.Float32 && len(w.Shape) == 1: // a norm's or a bias; see Refresh
			w.Exact = tensor.Zeros(tensor.Float32, w.Shape...).Forget()
		default:
			w.Exact = w.Tensor
		}
	}
}

// Narrow holds a frozen store's float32 values in bfloat16 where that loses nothing, as with most published checkpoints: what is
// computed is the same, with half the memory to read. It reports whether it did.
func (s *Store) Narrow() bool {
	if tensor.OnDevice() || s.Grads.Defined() || s.Compute != s.Values || s.Values.Dtype() != tensor.Float32 || !s.Values.FitsBFloat16() {
		return false
	}
	wide := s.Values
	s.Values = tensor.ZerosRead(tensor.BFloat16, s.Size).Forget()
	s.Values.CopyFrom(wide)
	s.Compute = s.Values
	for _, w := range s.Weights {
		if !w.Packed {
			w.Tensor.Free()
		}
	}
	wide.Free()
	s.bind()
	s.Refresh()
	return true
}

// Freeze takes parts of a weight out of training; a weight without others has no gradients computed.
func (s *Store) Freeze(w *Weight, parts []bool) {
	w.frozen = parts
	if slices.Contains(parts, false) {
		return
	}
	exact := w.Exact != w.Tensor
	w.Tensor.Free()
	w.Tensor = tensor.Leaf(s.Compute, w.offset, tensor.Tensor{}, w.Shape...).Forget()
	if !exact {
		w.Exact = w.Tensor
		return
	}
	w.Exact.Free()
	w.Exact = tensor.Leaf(s.Values, w.offset, tensor.Tensor{}, w.Shape...).Forget()
}

// DropFrozen clears the gradients of frozen parts that stand in one weight with trained ones.
func (s *Store) DropFrozen() {
	for _, w := range s.Weights {
		if !slices.Contains(w.frozen, true) {
			continue
		}
		for i, p := range w.Parts {
			if at := w.PartAt(i); w.frozen[i] {
				s.Grads.Slice(at, p.count()).PutFloats(nil)
			}
		}
	}
}

// Refresh brings the copies that operators compute with up to date with the values.
func (s *Store) Refresh() {
	s.refreshed++
	if s.Compute != s.Values {
		s.Compute.CopyFrom(s.Values)
		return
	}
	for _, w := range s.Weights {
		if w.Exact != w.Tensor && !w.Packed {
			w.Exact.CopyFrom(w.Tensor)
		}
	}
}

// Exchange swaps the values, in float32, with as many others.
func (s *Store) Exchange(others []float32) {
	_ = s.Values.EditFloats(func(own []float32) error {
		for i, v := range own {
			own[i], others[i] = others[i], v
		}
		return nil
	})
	s.Refresh()
}

// Free releases the buffers.
func (s *Store) Free() {
	for _, w := range s.Weights {
		if w.Exact != w.Tensor {
			w.Exact.Free()
		}
		w.Tensor.Free()
		w.Tensor, w.Exact = tensor.Tensor{}, tensor.Tensor{}
	}
	if s.Compute != s.Values {
		s.Compute.Free()
	}
	s.Values.Free()
	s.Grads.Free()
	s.Values, s.Grads, s.Compute = tensor.Tensor{}, tensor.Tensor{}, tensor.Tensor{}
}

// Each calls f with every checkpoint tensor that is not packed and its place in the buffer.
func (s *Store) Each(f func(t Tensor, offset int64) error) error {
	for _, w := range s.Weights {
		if w.Packed {
			continue
		}
		for i, p := range w.Parts {
			if err := f(p, w.PartAt(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Norm is RMSNorm's weight, or with a bias LayerNorm's.
type Norm struct {
	Weight, Bias *Weight
	Eps          float64
	Shift        float64 // is added to the weight
	store        *Store
}

// Norm declares NAME.weight of dim elements.
func (s *Store) Norm(name string, dim int64, eps float64) *Norm {
	return &Norm{Weight: s.Declare(Tensor{Name: name + ".weight", Shape: []int64{dim}, Init: Ones}), Eps: eps, store: s}
}

// ShiftedNorm declares a norm whose checkpoint holds the weight less one, as Gemma's do.
func (s *Store) ShiftedNorm(name string, dim int64, eps float64) *Norm {
	return &Norm{Weight: s.Declare(Tensor{Name: name + ".weight", Shape: []int64{dim}, Init: Zeros}), Eps: eps, Shift: 1, store: s}
}

// LayerNorm declares NAME.weight and NAME.bias of dim elements.
func (s *Store) LayerNorm(name string, dim int64, eps float64) *Norm {
	n := s.Norm(name, dim, eps)
	n.Bias = s.Declare(Tensor{Name: name + ".bias", Shape: []int64{dim}, Init: Zeros})
	return n
}

// Apply normalises x + residual, to the dtype that products compute in; see tensor.RMSNorm and tensor.LayerNorm.
func (n *Norm) Apply(x, residual tensor.Tensor) (sum, out tensor.Tensor) {
	if n.Bias != nil {
		return tensor.LayerNorm(x, residual, n.Weight.Exact, n.Bias.Exact, n.Eps, n.store.compute)
	}
	return tensor.RMSNorm(x, residual, n.Weight.Exact, n.Eps, n.Shift, n.store.compute)
}

// Projection is one linear layer of the checkpoint: NAME.weight [Out, in] and, where it has one, NAME.bias [Out].
type Projection struct {
	Name string
	Out  int64
}

// Linear is projections that share their input, as one weight [Σ out, in].
type Linear struct {
	Projections []Projection
	In          int64
	Weight      *Weight
	Bias        *Weight
	Adapter     *Adapter
	store       *Store
}

// Linear declares projections of one input.
func (s *Store) Linear(in int64, bias bool, projections ...Projection) *Linear {
	l := &Linear{Projections: projections, In: in, store: s}
	var weights, biases []Tensor
	for _, p := range projections {
		weights = append(weights, Tensor{Name: p.Name + ".weight", Shape: []int64{p.Out, in}})
		biases = append(biases, Tensor{Name: p.Name + ".bias", Shape: []int64{p.Out}, Init: Zeros})
	}
	l.Weight = s.Declare(weights...)
	l.Weight.Hidden = true
	if bias {
		l.Bias = s.Declare(biases...)
	}
	return l
}

// Conv1D declares a projection as GPT-2 stores it: NAME.weight [in, out], and NAME.bias.
func (s *Store) Conv1D(in int64, p Projection, init Init) *Linear {
	weight := Tensor{Name: p.Name + ".weight", Shape: []int64{p.Out, in}, Transposed: true, Init: init}
	l := &Linear{Projections: []Projection{p}, In: in, store: s, Weight: s.Declare(weight),
		Bias: s.Declare(Tensor{Name: p.Name + ".bias", Shape: []int64{p.Out}, Init: Zeros})}
	l.Weight.Hidden = true
	return l
}

// Apply is x·Wᵀ + b, with the adapter's part where there is one. x: [tokens, in]; out: [tokens, Σ out].
func (l *Linear) Apply(x tensor.Tensor) tensor.Tensor {
	var bias tensor.Tensor
	if l.Bias != nil {
		if bias = l.Bias.Tensor; bias.Dtype() != l.store.compute {
			bias = l.Bias.Exact
		}
	}
	if l.Adapter == nil {
		return tensor.Linear(x, l.Weight.Tensor, bias, l.store.compute)
	}
	dropout, seed := l.Adapter.draw()
	return tensor.LoRA(x, l.Weight.Tensor, bias, l.factors(), dropout, seed, l.store.compute)
}

// Sizes is the outputs of the projections, for Split.
func (l *Linear) Sizes() []int64 {
	var sizes []int64
	for _, p := range l.Projections {
		sizes = append(sizes, p.Out)
	}
	return sizes
}
