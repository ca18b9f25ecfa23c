package model

import (
	"math"

	"github.com/hone-ml/hone/internal/tensor"
)

// noise is NEFTune's (Jain et al. 2024) for embeddings [tokens, hidden]: uniform within ±alpha/√(tokens of the row · hidden), drawn
// from seed and the place. transformers takes the padded length of the batch for the row's; here a row's noise does not
// depend on its company.
func noise(in Input, hidden int64, alpha float64, seed uint64) tensor.Tensor {
	values := make([]float32, int64(len(in.IDs))*hidden)
	for i := range in.IDs {
		bound := alpha / math.Sqrt(float64(in.Lengths[i]*hidden))
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
