package nn

import (
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/tensor"
)

// Rope is the tables of rotary position embedding for the positions that were asked for so far.
type Rope struct {
	frequencies []float32 // radians a position, one a pair of features
	positions   int64
	Cos, Sin    tensor.Tensor // [positions, pairs] float32
}

// RopeScaling is config.json's rope_scaling (or rope_parameters beyond rope_theta).
type RopeScaling struct {
	Type     string  // default, linear, llama3
	Factor   float64 // of context length
	Low      float64 // llama3: low_freq_factor
	High     float64 // llama3: high_freq_factor
	Original int64   // llama3: original_max_position_embeddings
}

// NewRope computes the frequencies theta^(-2i/dim), scaled as transformers' modeling_rope_utils does.
func NewRope(dim int64, theta float64, scaling RopeScaling) (*Rope, error) {
	r := &Rope{}
	for i := int64(0); i < dim; i += 2 {
		power := float32(math.Pow(theta, float64(float32(i)/float32(dim))))
		f := 1 / power
		switch scaling.Type {
		case "", "default":
		case "linear":
			f /= float32(scaling.Factor)
		case "llama3":
			f = llama3(f, scaling)
		default:
			return nil, fmt.Errorf("rope_scaling: type %q is not known (default, linear and llama3 are)", scaling.Type)
		}
		r.frequencies = append(r.frequencies, f)
	}
	return r, nil
}

// llama3 leaves high frequencies, divides low ones by the factor and goes smoothly from one to the other between
// (Llama 3.1; transformers' _compute_llama3_parameters).
func llama3(f float32, s RopeScaling) float32 {
	wave := 2 * math.Pi / float64(f)
	switch {
	case wave > float64(s.Original)/s.Low:
		return f / float32(s.Factor)
	case wave < float64(s.Original)/s.High:
		return f
	}
	smooth := float32((float64(s.Original)/wave - s.Low) / (s.High - s.Low))
	return (1-smooth)*f/float32(s.Factor) + smooth*f
}

// Reserve makes the tables reach n positions. Tables grow by doubling, so that decoding seldom makes them anew.
func (r *Rope) Reserve(n int64) {
	if n <= r.positions {
		return
	}
	size := max(256, r.positions)
	for size < n {
		size *= 2
	}
	pairs := len(r.frequencies)
	cos, sin := make([]float32, size*int64(pairs)), make([]float32, size*int64(pairs))
	for p := range size {
		for i, f := range r.frequencies {
			angle := float64(float32(p) * f)
			cos[p*int64(pairs)+int64(i)] = float32(math.Cos(angle))
			sin[p*int64(pairs)+int64(i)] = float32(math.Sin(angle))
		}
	}
	r.Cos.Free()
	r.Sin.Free()
	r.Cos = tensor.Of(cos, size, int64(pairs)).Forget()
	r.Sin = tensor.Of(sin, size, int64(pairs)).Forget()
	r.positions = size
}
