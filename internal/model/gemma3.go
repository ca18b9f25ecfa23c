package model

import (
	"errors"

	"github.com/hone-ml/hone/internal/nn"
)

// gemma3 is Gemma 3's language model (model_type gemma3_text): Gemma 2 with norms of q and k a head in place of capped
// scores, five layers with a window to one without, and another rotation in those with one (Gemma Team 2025;
// transformers' modeling_gemma3.py).
var gemma3 = architecture{
	defaults: func(f *file) {
		gemma(f)
		f.RopeTheta, f.LocalTheta, f.SlidingPattern = of(1e6), of(1e4), 6
	},
	slides: func(f *file, i int) bool { return (i+1)%f.SlidingPattern != 0 },
	declare: func(m *Model) error {
		c := m.Config
		if c.AttnLogitSoftcapping != 0 {
			return errors.New("attn_logit_softcapping: Gemma 3 has none, and transformers does not read it")
		}
		local, err := nn.NewRope(c.HeadDim, c.LocalRopeTheta, c.LocalRopeScaling)
		if err != nil {
			return err
		}
		m.ropes = append(m.ropes, local)
		err = m.declareGemma(func(name string, _ int64) *nn.Norm { return m.Base.ShiftedNorm(name, c.HeadDim, c.RMSNormEps) })
		for i, l := range m.layers {
			if c.Windows[i] != 0 {
				l.(*sandwich).attention.rope = local
			}
		}
		return err
	},
}
