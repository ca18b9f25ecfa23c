package model

import (
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// block is the pre-norm layer that Llama and its kin share. An architecture's file binds its names and sets what it adds.
type block struct {
	index                 int
	inputNorm, postNorm   *nn.Norm
	qkv, output           *nn.Linear
	queryNorm, keyNorm    *nn.Norm // over a head's features; Qwen3
	gateUp, down          *nn.Linear
	heads, kvHeads, width int64
}

// forward takes the stream x and what is still to be added to it, r, and returns the same after the layer.
// x, r: [tokens, hidden].
func (b *block) forward(m *Model, x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor) {
	x, h := b.inputNorm.Apply(x, r)
	p := tensor.Split(b.qkv.Apply(h), b.qkv.Sizes()...)
	q, k, v := p[0], p[1], p[2]
	if b.queryNorm != nil {
		tokens := int64(len(in.Positions))
		_, q = b.queryNorm.Apply(q.Reshape(tokens, b.heads, b.width).Contiguous(), tensor.Tensor{})
		_, k = b.keyNorm.Apply(k.Reshape(tokens, b.kvHeads, b.width).Contiguous(), tensor.Tensor{})
	}
	q = tensor.Rope(q, m.rope.Cos, m.rope.Sin, in.position, int(b.heads))
	k = tensor.Rope(k, m.rope.Cos, m.rope.Sin, in.position, int(b.kvHeads))
	a := in.Attend(b.index, q, k, v, 1/math.Sqrt(float64(b.width)))
	a = b.output.Apply(a.Reshape(-1, b.heads*b.width))
	x, h = b.postNorm.Apply(x, a)
	return x, b.down.Apply(tensor.SwiGLU(b.gateUp.Apply(h)))
}

func (b *block) linears() []*nn.Linear { return []*nn.Linear{b.qkv, b.output, b.gateUp, b.down} }
