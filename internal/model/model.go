// Package model is the architectures: one file each, its weights bound in the open to the names of its checkpoint.
//
//	Config   config.json
//	Model    weights and the forward pass of a decoder, over rows of tokens that stand behind one another without padding
//	Input    the tokens of a pass and how attention sees them: packed rows, or rows with a cache
//	LoRA     an adapter on a model's linear layers; its file layout is PEFT's
package model

import (
	"errors"
	"fmt"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// Model is a decoder. Base holds its weights, Adapter those of LoRA on it.
type Model struct {
	Config  *Config
	Base    nn.Store
	Adapter nn.Store
	Draws   nn.Draws // dropout
	Dtype   tensor.Dtype

	LoRA *LoRA // absent without an adapter

	embedding, head *nn.Weight
	blocks          []*block
	norm            *nn.Norm
	rope            *nn.Rope
}

var architectures = map[string]func(*Model){"llama": llama, "qwen2": qwen2, "qwen3": qwen3}

// New declares the weights of a model without laying them out.
func New(c *Config) (*Model, error) {
	declare := architectures[c.ModelType]
	if declare == nil {
		return nil, fmt.Errorf("model_type %q is not known (llama, qwen2 and qwen3 are)", c.ModelType)
	}
	rope, err := nn.NewRope(c.HeadDim, c.RopeTheta, c.RopeScaling)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, rope: rope}
	declare(m)
	return m, nil
}

// Input is the tokens of a forward pass.
type Input struct {
	IDs       []int64
	Positions []int64 // of each token within its row
	// Attend is attention of a layer: q [tokens, heads, width], k [tokens, kv heads, width], v [tokens, kv heads·width] to
	// [tokens, heads, width].
	Attend func(layer int, q, k, v tensor.Tensor, scale float64) tensor.Tensor

	position tensor.Tensor
}

// Packed is an input of whole rows behind one another, none seeing another.
func Packed(rows [][]int32) (Input, []int64) {
	in := Input{}
	borders := []int64{0}
	for _, row := range rows {
		for i, id := range row {
			in.IDs = append(in.IDs, int64(id))
			in.Positions = append(in.Positions, int64(i))
		}
		borders = append(borders, int64(len(in.IDs)))
	}
	in.Attend = func(_ int, q, k, v tensor.Tensor, scale float64) tensor.Tensor {
		return tensor.Attention(q, k, v, borders, scale)
	}
	return in, borders
}

func (m *Model) begin(in *Input) error {
	top := int64(0)
	for _, p := range in.Positions {
		top = max(top, p)
	}
	for _, id := range in.IDs {
		if id < 0 || id >= m.Config.VocabSize {
			return fmt.Errorf("token %d is outside the vocabulary of %d", id, m.Config.VocabSize)
		}
	}
	if len(in.IDs) == 0 {
		return errors.New("no tokens")
	}
	m.rope.Reserve(top + 1)
	in.position = tensor.Of(in.Positions, int64(len(in.Positions)))
	return nil
}

// Hidden is the last layer's normalised output: [tokens, hidden].
func (m *Model) Hidden(in Input) (tensor.Tensor, error) {
	if err := m.begin(&in); err != nil {
		return tensor.Tensor{}, err
	}
	x, r := tensor.Embedding(m.embedding.Tensor, tensor.Of(in.IDs, int64(len(in.IDs))), m.Config.PadTokenID), tensor.Tensor{}
	for _, b := range m.blocks {
		scope := tensor.Open()
		x, r = b.forward(m, x, r, in)
		scope.Close(x, r)
	}
	_, h := m.norm.Apply(x, r)
	return h, nil
}

// Head is the vocabulary projection's weight: [vocabulary, hidden].
func (m *Model) Head() tensor.Tensor { return m.head.Tensor }

// Logits is h·headᵀ: [rows, vocabulary]. For a few rows; training goes through tensor.CrossEntropy.
func (m *Model) Logits(h tensor.Tensor) tensor.Tensor {
	return tensor.Linear(h, m.head.Tensor, tensor.Tensor{})
}

// Layers is the number of layers, for a cache.
func (m *Model) Layers() int { return len(m.blocks) }

// Linears is all linear layers but the head, with the names of the checkpoint, in order.
func (m *Model) Linears() []*nn.Linear {
	var all []*nn.Linear
	for _, b := range m.blocks {
		all = append(all, b.linears()...)
	}
	return all
}

// Parameters counts the weights of the base.
func (m *Model) Parameters() int64 {
	var n int64
	for _, w := range m.Base.Weights {
		n += w.Count()
	}
	return n
}

// AdapterParameters counts the weights of the adapter.
func (m *Model) AdapterParameters() int64 {
	var n int64
	for _, l := range m.Linears() {
		if l.Adapter == nil {
			continue
		}
		for i := range l.Adapter.Targets {
			a, b := l.Adapter.Factors(i)
			n += a.Rows*a.Columns + b.Rows*b.Columns
		}
	}
	return n
}

// Free releases the weights.
func (m *Model) Free() {
	m.Base.Free()
	m.Adapter.Free()
	m.rope.Cos.Free()
	m.rope.Sin.Free()
}
