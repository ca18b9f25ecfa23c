package model

import (
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// attention is a layer's attention, with heads in groups that share keys and values.
type attention struct {
	index                 int
	qkv, output           *nn.Linear
	queryNorm, keyNorm    *nn.Norm // over a head's features, or those of all heads; absent in most
	rope                  *nn.Rope // absent where positions are not encoded here
	heads, kvHeads, width int64
	scoring               tensor.Scoring
}

// apply is attention of h [tokens, hidden], projected back to it.
func (a *attention) apply(h tensor.Tensor, in Input) tensor.Tensor {
	p := tensor.Split(a.qkv.Apply(h), a.heads*a.width, a.kvHeads*a.width, a.kvHeads*a.width)
	q := a.place(p[0], a.queryNorm, a.heads, in)
	k := a.place(p[1], a.keyNorm, a.kvHeads, in)
	y := in.attend(a.index, q, k, p[2], a.scoring)
	return a.output.Apply(y.Reshape(-1, a.heads*a.width))
}

// place is x [tokens, heads·width] as queries or keys [tokens, heads, width], normalised and rotated.
func (a *attention) place(x tensor.Tensor, norm *nn.Norm, heads int64, in Input) tensor.Tensor {
	if norm != nil {
		over := norm.Weight.Count()
		_, x = norm.Apply(x.Reshape(-1, heads*a.width/over, over).Contiguous(), tensor.Tensor{})
		if over != a.width {
			x = x.Reshape(-1, heads, a.width)
		}
	}
	if a.rope == nil {
		return x.Reshape(-1, heads, a.width).Contiguous()
	}
	return tensor.Rope(x, a.rope.Cos, a.rope.Sin, in.rotation, int(heads))
}

// gated is the feed-forward part with a gate; unit is SwiGLU or GeGLU.
type gated struct {
	gateUp, down *nn.Linear
	unit         func(gateUp tensor.Tensor) tensor.Tensor
}

func (g *gated) apply(h tensor.Tensor) tensor.Tensor { return g.down.Apply(g.unit(g.gateUp.Apply(h))) }

// parts is what a layer of Llama's kin consists of, wherever its norms stand.
type parts struct {
	attention attention
	mlp       gated
}

func (p *parts) linears() []*nn.Linear {
	return []*nn.Linear{p.attention.qkv, p.attention.output, p.mlp.gateUp, p.mlp.down}
}

// biases says which linear layers have one.
type biases struct{ qkv, output, mlp bool }

// headNorm declares a norm of queries or keys of so many heads.
type headNorm func(name string, heads int64) *nn.Norm

// attention declares layer i's weights under Llama's names, which most took over; norm may be absent.
func (m *Model) attention(i int, p string, bias biases, norm headNorm) attention {
	a := m.bareAttention(i)
	a.qkv = m.Base.Linear(m.Config.HiddenSize, bias.qkv,
		nn.Projection{Name: p + "self_attn.q_proj", Out: a.heads * a.width},
		nn.Projection{Name: p + "self_attn.k_proj", Out: a.kvHeads * a.width},
		nn.Projection{Name: p + "self_attn.v_proj", Out: a.kvHeads * a.width})
	if norm != nil {
		a.queryNorm, a.keyNorm = norm(p+"self_attn.q_norm", a.heads), norm(p+"self_attn.k_norm", a.kvHeads)
	}
	a.output = m.Base.Linear(a.heads*a.width, bias.output, nn.Projection{Name: p + "self_attn.o_proj", Out: m.Config.HiddenSize})
	return a
}

// bareAttention is what config.json says of layer i's attention, without weights.
func (m *Model) bareAttention(i int) attention {
	c := m.Config
	return attention{index: i, heads: c.NumAttentionHeads, kvHeads: c.NumKeyValueHeads, width: c.HeadDim, rope: m.rope,
		scoring: tensor.Scoring{Scale: 1 / math.Sqrt(float64(c.HeadDim)), Window: c.Windows[i]}}
}

// gated declares the feed-forward part under Llama's names.
func (m *Model) gated(p string, bias bool, unit func(tensor.Tensor) tensor.Tensor) gated {
	c := m.Config
	return gated{unit: unit,
		gateUp: m.Base.Linear(c.HiddenSize, bias,
			nn.Projection{Name: p + "mlp.gate_proj", Out: c.IntermediateSize},
			nn.Projection{Name: p + "mlp.up_proj", Out: c.IntermediateSize}),
		down: m.Base.Linear(c.IntermediateSize, bias, nn.Projection{Name: p + "mlp.down_proj", Out: c.HiddenSize})}
}
