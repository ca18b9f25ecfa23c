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
}

func newCache(m *model.Model, slots int, length int64) *cache {
	c := &cache{slots: slots, length: length}
	for range m.Layers() {
		shape := []int64{int64(slots), m.Config.NumKeyValueHeads, length, m.Config.HeadDim}
		c.keys = append(c.keys, tensor.Empty(m.Dtype, shape...).Forget())
		c.values = append(c.values, tensor.Empty(m.Dtype, shape...).Forget())
	}
	return c
}

func (c *cache) free() {
	for i := range c.keys {
		c.keys[i].Free()
		c.values[i].Free()
	}
}

// prefill is an input of whole prompts, packed, whose keys and values go to the slots.
func (c *cache) prefill(prompts [][]int32, slots []int64) (model.Input, []int64) {
	in, borders := model.Packed(prompts)
	attend := in.Attend
	in.Attend = func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
		tensor.CacheWrite(k, v, c.keys[layer], c.values[layer], slots, borders)
		return attend(layer, q, k, v, s)
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
	in.Attend = func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
		return tensor.AttendCache(q, k, v, c.keys[layer], c.values[layer], slots, lengths, s)
	}
	return in
}
