package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// gemma2 is Gemma 2: norms before and behind attention and the feed-forward part, whose checkpoint weights are less one,
// scores and logits with a cap, a window in every other layer, GeGLU, and embeddings that are scaled by √hidden (Gemma Team
// 2024; transformers' modeling_gemma2.py).
var gemma2 = architecture{
	defaults: func(f *file) {
		gemma(f)
		f.AttentionCap, f.FinalCap = of(50.0), of(30.0)
	},
	slides: func(_ *file, i int) bool { return i%2 == 0 },
	declare: func(m *Model) error {
		return m.declareGemma(nil)
	},
}

// gemma is what the config classes of Gemma 2 and 3 share.
func gemma(f *file) {
	f.KeyValueHeads, f.HeadDim, f.Tie, f.Pad, f.QueryScalar = of(int64(4)), 256, true, of(int64(0)), 256
	f.SlidingWindow, f.UseSlidingWindow, f.Activation = of(int64(4096)), true, "gelu_pytorch_tanh"
}

// sandwich is a layer with a norm before and behind each of its parts.
type sandwich struct {
	parts
	inputNorm, attentionNorm, mlpInputNorm, mlpNorm *nn.Norm
}

func (b *sandwich) forward(x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor) {
	x, h := b.inputNorm.Apply(x, r)
	_, a := b.attentionNorm.Apply(b.attention.apply(h, in), tensor.Tensor{})
	x, h = b.mlpInputNorm.Apply(x, a)
	_, d := b.mlpNorm.Apply(b.mlp.apply(h), tensor.Tensor{})
	return x, d
}

// declareGemma declares Gemma 2's weights, and Gemma 3's with norms of q and k.
func (m *Model) declareGemma(norm headNorm) error {
	c, s := m.Config, &m.Base
	if c.Bidirectional {
		return errors.New("use_bidirectional_attention is not known: attention is causal here")
	}
	if c.QueryPreAttnScalar <= 0 {
		return fmt.Errorf("query_pre_attn_scalar is %g", c.QueryPreAttnScalar)
	}
	m.declareEmbedding("model.embed_tokens")
	m.embeddingScale = math.Sqrt(float64(c.HiddenSize))
	for i := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		b := &sandwich{}
		b.inputNorm = s.ShiftedNorm(p+"input_layernorm", c.HiddenSize, c.RMSNormEps)
		b.attention = m.attention(i, p, biases{qkv: c.AttentionBias, output: c.AttentionBias}, norm)
		b.attention.scoring.Scale = 1 / math.Sqrt(c.QueryPreAttnScalar)
		b.attention.scoring.Cap = c.AttnLogitSoftcapping
		b.attentionNorm = s.ShiftedNorm(p+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps)
		b.mlpInputNorm = s.ShiftedNorm(p+"pre_feedforward_layernorm", c.HiddenSize, c.RMSNormEps)
		b.mlp = m.gated(p, false, tensor.GeGLU)
		b.mlpNorm = s.ShiftedNorm(p+"post_feedforward_layernorm", c.HiddenSize, c.RMSNormEps)
		m.layers = append(m.layers, b)
	}
	m.norm = s.ShiftedNorm("model.norm", c.HiddenSize, c.RMSNormEps)
	m.declareHead()
	m.logitCap = c.FinalLogitSoftcapping
	return nil
}
