package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// gpt2 is GPT-2: LayerNorm, learned positions, GELU without a gate, and projections whose checkpoint weights are transposed
// (Radford et al. 2019; transformers' modeling_gpt2.py). Its config.json has names of its own.
var gpt2 = architecture{
	sizes: []string{"vocab_size", "n_embd", "n_layer", "n_head"},
	defaults: func(f *file) {
		f.Positions, f.Epsilon, f.ScaleWeights, f.Tie, f.Activation = 1024, 1e-5, true, true, "gelu_new"
	},
	rename: func(f *file) error {
		g := &f.gpt2File
		f.HiddenSize, f.NumHiddenLayers, f.NumAttentionHeads, f.MaxPositions = g.Hidden, g.Layers, g.Heads, g.Positions
		f.HiddenActivation, f.RMSNormEps = g.Activation, g.Epsilon
		if f.IntermediateSize = 4 * g.Hidden; g.Inner != nil {
			f.IntermediateSize = *g.Inner
		}
		if g.Heads > 0 && g.Hidden%g.Heads != 0 {
			return fmt.Errorf("n_embd %d is not a multiple of n_head %d", g.Hidden, g.Heads)
		}
		if g.Positions < 1 {
			return fmt.Errorf("n_positions is %d", g.Positions)
		}
		if g.CrossAttention {
			return errors.New("add_cross_attention is not known")
		}
		return nil
	},
	declare: func(m *Model) error {
		c, s := m.Config, &m.Base
		m.declareEmbedding("transformer.wte")
		m.padding, m.ropes = -1, nil // each embedding is trained, and nothing is rotated
		m.positions = s.Declare(nn.Tensor{Name: "transformer.wpe.weight", Shape: []int64{c.MaxPositionEmbeddings, c.HiddenSize}})
		for i := range c.NumHiddenLayers {
			p := fmt.Sprintf("transformer.h.%d.", i)
			b := &gpt2Block{attention: m.bareAttention(i)}
			a := &b.attention
			a.rope, a.scoring.Scale = nil, 1
			if c.ScaleAttnWeights {
				a.scoring.Scale = 1 / math.Sqrt(float64(a.width))
			}
			if c.ScaleAttnByLayer {
				a.scoring.Scale /= float64(i + 1)
			}
			b.inputNorm = s.LayerNorm(p+"ln_1", c.HiddenSize, c.RMSNormEps)
			a.qkv = s.Conv1D(c.HiddenSize, nn.Projection{Name: p + "attn.c_attn", Out: 3 * c.HiddenSize}, nn.Normal)
			a.output = s.Conv1D(c.HiddenSize, nn.Projection{Name: p + "attn.c_proj", Out: c.HiddenSize}, nn.Residual)
			b.postNorm = s.LayerNorm(p+"ln_2", c.HiddenSize, c.RMSNormEps)
			b.up = s.Conv1D(c.HiddenSize, nn.Projection{Name: p + "mlp.c_fc", Out: c.IntermediateSize}, nn.Normal)
			b.down = s.Conv1D(c.IntermediateSize, nn.Projection{Name: p + "mlp.c_proj", Out: c.HiddenSize}, nn.Residual)
			m.layers = append(m.layers, b)
		}
		m.norm = s.LayerNorm("transformer.ln_f", c.HiddenSize, c.RMSNormEps)
		m.declareHead()
		return nil
	},
}

// gpt2File is what GPT-2's config.json names otherwise, or alone has.
type gpt2File struct {
	Hidden         int64   `json:"n_embd"`
	Layers         int     `json:"n_layer"`
	Heads          int64   `json:"n_head"`
	Positions      int64   `json:"n_positions"`
	Inner          *int64  `json:"n_inner"`
	Activation     string  `json:"activation_function"`
	Epsilon        float64 `json:"layer_norm_epsilon"`
	ScaleWeights   bool    `json:"scale_attn_weights"`
	InverseLayer   bool    `json:"scale_attn_by_inverse_layer_idx"`
	CrossAttention bool    `json:"add_cross_attention"`
}

type gpt2Block struct {
	inputNorm *nn.Norm
	attention attention
	postNorm  *nn.Norm
	up, down  *nn.Linear
}

func (b *gpt2Block) forward(x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor) {
	x, h := b.inputNorm.Apply(x, r)
	x, h = b.postNorm.Apply(x, b.attention.apply(h, in))
	return x, b.down.Apply(tensor.GELU(b.up.Apply(h)))
}

func (b *gpt2Block) linears() []*nn.Linear {
	return []*nn.Linear{b.attention.qkv, b.attention.output, b.up, b.down}
}
