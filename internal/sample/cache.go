package sample

import (
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// cache is keys and values of every layer for so many sequences: [slots, kv heads, length, width] each.
type cache struct {
	keys, values []tensor.Tensor
	slots        int
	length       int64
	decoder      *decoder // on a device
}

func newCache(m *model.Model, slots int, length int64) *cache {
	c := &cache{slots: slots, length: length}
	empty := tensor.Empty
	if tensor.OnDevice() { // which multiplies what is not there yet with zero: it must be a number
		empty = tensor.Zeros
	}
	for range m.Layers() {
		shape := []int64{int64(slots), m.Config.NumKeyValueHeads, length, m.Config.HeadDim}
		c.keys = append(c.keys, empty(m.Dtype, shape...).Forget())
		c.values = append(c.values, empty(m.Dtype, shape...).Forget())
	}
	if tensor.OnDevice() && m.Recordable() {
		c.decoder = newDecoder(m, c)
	}
	return c
}

func (c *cache) free() {
	c.decoder.free()
	for i := range c.keys {
		c.keys[i].Free()
		c.values[i].Free()
	}
}

// copy gives a slot the first tokens of another.
func (c *cache) copy(from, to, tokens int64) {
	defer tensor.Open().Close()
	for i := range c.keys {
		for _, x := range []tensor.Tensor{c.keys[i], c.values[i]} {
			part := func(slot int64) tensor.Tensor { return x.Narrow(0, slot, 1).Narrow(2, 0, tokens) }
			part(to).CopyFrom(part(from))
		}
	}
}

// prefill is an input of whole prompts, packed, whose keys and values go to the slots of each.
func (c *cache) prefill(prompts [][]int32, slots [][]int64) (model.Input, []int64) {
	packed, borders := model.Packed(prompts)
	in := packed
	in.Attend = func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
		for i, own := range slots {
			for _, slot := range own {
				tensor.CacheWrite(k, v, c.keys[layer], c.values[layer], []int64{slot}, borders[i:i+2])
			}
		}
		return packed.WithinRows(q, k, v, s)
	}
	return in, borders
}

// next is an input of one token a sequence; lengths counts it.
func (c *cache) next(tokens []int32, slots, lengths []int64) model.Input {
	in := model.Input{}
	for i, t := range tokens {
		in.IDs = append(in.IDs, int64(t))
		in.Positions = append(in.Positions, lengths[i]-1)
	}
	places := tensor.NewPlaces(slots, lengths, c.keys[0])
	in.Attend = c.attend(places)
	return in
}

func (c *cache) attend(places tensor.Places) func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
	return func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
		return tensor.AttendCache(q, k, v, c.keys[layer], c.values[layer], places, s)
	}
}
