package model

import "github.com/hone-ml/hone/internal/tensor"

// Recordable reports whether a pass over memory that stays (Frame) can be a tensor.Recording: it takes nothing from the processor on
// its way.
func (m *Model) Recordable() bool {
	return tensor.Records() == nil && m.rope.Turn() == 0 && m.logitCap == 0
}

// TrainsRecorded is Recordable for passes with gradients: attention must be one operation over all rows (flash or efficient in
// composite.hpp), and what is drawn is not drawn again for layers that are recomputed.
func (m *Model) TrainsRecorded(recompute bool) bool {
	draws := m.Noise > 0 || m.LoRA != nil && m.LoRA.Dropout > 0
	return m.Recordable() && m.Config.HeadDim%4 == 0 && !(draws && recompute)
}

// Shape is how large a frame is: an input of no more fits.
type Shape struct {
	Tokens  int64
	Rows    int64
	Longest int64 // row
	Whole   int64 // tokens of all rows, where they share what they begin with; else 0
}

// Shape is that of the frame for an input of rows: the same for many of them.
func (in Input) Shape() Shape {
	n := int64(len(in.IDs))
	s := Shape{Tokens: Filled(n), Rows: power(int64(len(in.borders)))}
	all, most := n, s.Tokens
	if in.whole != nil {
		s.Whole = Filled(int64(len(in.whole)))
		all, most = int64(len(in.whole)), s.Whole
	}
	longest := most - all // the tokens that fill up are a row
	for i := range len(in.borders) - 1 {
		longest = max(longest, in.borders[i+1]-in.borders[i])
	}
	s.Longest = power(longest)
	return s
}

// Filled is the count that n tokens or labels are filled up to: an eighth more than they are, at most.
func Filled(n int64) int64 {
	step := max(64, power(n)/16)
	return (n + step - 1) / step * step
}

// power is the power of two that is no less than n, from 16 on.
func power(n int64) int64 {
	p := int64(16)
	for p < n {
		p *= 2
	}
	return p
}

// Frame is an input over memory that stays, to be filled before each pass. Without Rows, Attend is the user's to set.
func (m *Model) Frame(s Shape) Input {
	ints := func(n int64) tensor.Tensor { return tensor.Zeros(tensor.Int64, n).Forget() }
	in := Input{ids: ints(s.Tokens), position: ints(s.Tokens), rotation: ints(s.Tokens)}
	if m.Noise > 0 {
		in.bound = tensor.Zeros(tensor.Float32, s.Tokens, 1).Forget()
	}
	switch {
	case s.Whole > 0:
		in.rows, in.gather, in.back = tensor.FixedRows(s.Rows, s.Whole, s.Longest), ints(s.Whole), ints(s.Tokens)
	case s.Rows > 0:
		in.rows = tensor.FixedRows(s.Rows, s.Tokens, s.Longest)
	}
	return in
}

// Fill puts another input into a frame that it fits; what tokens remain are tokens 0 at position 0.
func (m *Model) Fill(frame, in Input) error {
	if err := m.check(&in); err != nil {
		return err
	}
	frame.ids.PutInts(in.IDs)
	frame.position.PutInts(in.Positions)
	frame.rotation.PutInts(m.rope.Rows(in.Positions, in.Lengths))
	if frame.rows.Borders != nil {
		frame.rows.Put(in.borders)
	}
	if m.noisy() {
		frame.bound.PutFloats(m.bounds(in))
	}
	if frame.gather.Defined() {
		frame.gather.PutInts(in.whole)
		frame.back.PutInts(in.own)
	}
	return nil
}

// Free releases a frame.
func (in Input) Free() {
	for _, t := range []tensor.Tensor{in.ids, in.position, in.rotation, in.gather, in.back, in.bound} {
		t.Free()
	}
	in.rows.Free()
}
