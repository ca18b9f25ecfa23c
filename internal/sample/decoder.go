package sample

import (
	"slices"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// decoder is decoding over a device's memory that stays: every slot of the cache has a row, an idle one where no sequence is, so
// that a pass can be recorded, one for each length of the cache that is looked at.
type decoder struct {
	in     model.Input
	places tensor.Places
	logits tensor.Tensor // [slots, vocabulary]
	passes map[int64]*tensor.Recording
}

// block is the tokens that the looked-at length of a cache grows by.
const block = 256

func newDecoder(m *model.Model, c *cache) *decoder {
	rows := int64(c.slots)
	return &decoder{in: m.Frame(model.Shape{Tokens: rows}), places: tensor.FixedPlaces(c.keys[0]), passes: map[int64]*tensor.Recording{},
		logits: tensor.Zeros(m.Head().Weight.Dtype(), rows, m.Config.VocabSize).Forget()}
}

// next is the logits of one token a sequence, in their order; lengths counts it.
func (d *decoder) next(m *model.Model, c *cache, tokens []int32, slots, lengths []int64) (tensor.Tensor, error) {
	in := model.Input{IDs: make([]int64, c.slots), Positions: make([]int64, c.slots)}
	// An idle row writes to the last place of its slot, which no sequence fills (its last token needs none): a slot that has just been
	// given a prompt keeps it.
	all := slices.Repeat([]int64{c.length}, c.slots)
	same := len(slots) == c.slots
	for i, slot := range slots {
		in.IDs[slot], in.Positions[slot], all[slot] = int64(tokens[i]), lengths[i]-1, lengths[i]
		same = same && slot == int64(i)
	}
	if err := m.Fill(d.in, in); err != nil {
		return tensor.Tensor{}, err
	}
	top := min((slices.Max(lengths)+block-1)/block*block, c.length)
	d.places.Put(all, top, c.keys[0])
	if d.passes[top] == nil {
		d.passes[top] = &tensor.Recording{}
	}
	var err error
	d.passes[top].Run(func() {
		frame := d.in
		frame.Attend = c.attend(d.places)
		var h tensor.Tensor
		if h, err = m.Hidden(frame); err == nil {
			d.logits.CopyFrom(m.Logits(h))
		}
	})
	if err != nil || same {
		return d.logits, err
	}
	return d.logits.Rows(tensor.Of(slots, int64(len(slots)))), nil
}

func (d *decoder) free() {
	if d == nil {
		return
	}
	for _, p := range d.passes {
		p.Free()
	}
	d.in.Free()
	d.places.Free()
	d.logits.Free()
}
