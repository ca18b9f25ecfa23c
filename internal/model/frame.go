package model

import "github.com/hone-ml/hone/internal/tensor"

// Recordable reports whether a pass over memory that stays (Frame) can be a tensor.Recording: it draws nothing and takes
// nothing from the processor on its way.
func (m *Model) Recordable() bool {
	draws := m.Noise > 0 || m.LoRA != nil && m.LoRA.Dropout > 0
	return tensor.Records() == nil && m.rope.Turn() == 0 && m.embeddingScale == 0 && m.logitCap == 0 && !draws
}

// TrainsRecorded is Recordable for passes with gradients: attention must be one operation over all rows.
func (m *Model) TrainsRecorded() bool {
	width := m.Config.HeadDim
	return m.Recordable() && m.Dtype != tensor.Float32 && width%8 == 0 && width <= 256
}

// Frame is an input of so many tokens over memory that stays, to be filled before each pass. Attend is the user's to set.
func (m *Model) Frame(tokens int64) Input {
	ints := func() tensor.Tensor { return tensor.Zeros(tensor.Int64, tokens).Forget() }
	return Input{ids: ints(), position: ints(), rotation: ints()}
}

// Fill puts the tokens and positions of another input into a frame of no fewer tokens; the rest are tokens 0 at position 0.
func (m *Model) Fill(frame, in Input) error {
	if err := m.check(&in); err != nil {
		return err
	}
	frame.ids.PutInts(in.IDs)
	frame.position.PutInts(in.Positions)
	frame.rotation.PutInts(m.rope.Rows(in.Positions, in.Lengths))
	return nil
}

// Free releases a frame.
func (in Input) Free() {
	in.ids.Free()
	in.position.Free()
	in.rotation.Free()
}
