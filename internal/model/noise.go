package model

import (
	"math"

	"github.com/hone-ml/hone/internal/tensor"
)

// noisy reports whether embeddings have noise.
func (m *Model) noisy() bool { return m.Noise > 0 && m.Draws.On }

// bounds is that of each token's noise: NEFTune's (Jain et al. 2024) alpha/√(tokens of the row · hidden). transformers takes the
// padded length of the batch for the row's; here a row's noise does not depend on its company.
func (m *Model) bounds(in Input) []float32 {
	b := make([]float32, len(in.IDs))
	for i := range b {
		b[i] = float32(m.bound(in, i))
	}
	return b
}

func (m *Model) bound(in Input, i int) float64 {
	return m.Noise / math.Sqrt(float64(in.Lengths[i]*m.Config.HiddenSize))
}

// noise is uniform within the bounds, for embeddings [tokens, hidden]. The processor draws it from the seed and the place.
func (m *Model) noise(in Input) tensor.Tensor {
	seed, hidden := m.Draws.Next(), m.Config.HiddenSize
	if in.bound.Defined() {
		return tensor.Uniform(in.bound.Count(), hidden).Mul(in.bound)
	}
	values := make([]float32, int64(len(in.IDs))*hidden)
	for i := range in.IDs {
		bound := m.bound(in, i)
		row := values[int64(i)*hidden : int64(i+1)*hidden]
		for j := range row {
			u := float64(mix(seed+(uint64(i)*uint64(hidden)+uint64(j)+1)*0x9e3779b97f4a7c15)>>11) / (1 << 53)
			row[j] = float32(bound * (2*u - 1))
		}
	}
	return tensor.Of(values, int64(len(in.IDs)), hidden)
}

// mix is SplitMix64's finaliser (Steele, Lea & Flood 2014): a generator without state.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
