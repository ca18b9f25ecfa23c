package nn

import (
	"fmt"
	"math"

	"github.com/hone-ml/hone/internal/tensor"
)

// Rope is the tables of rotary position embedding for the positions that were asked for so far.
type Rope struct {
	frequencies []float32 // radians a position, one a pair of features
	long        []float32 // the same for rows of more than original tokens; LongRoPE's alone
	original    int64
	scale       float64 // of cosines and sines
	positions   int64
	Cos, Sin    tensor.Tensor // [positions, pairs] float32; with LongRoPE those of long rows behind them
}

// RopeScaling is config.json's rope_scaling (or rope_parameters beyond rope_theta).
type RopeScaling struct {
	Type        string    // default, linear, llama3, longrope
	Factor      float64   // of context length
	Low         float64   // llama3: low_freq_factor
	High        float64   // llama3: high_freq_factor
	Original    int64     // llama3, longrope: original_max_position_embeddings
	Short, Long []float64 // longrope: short_factor and long_factor, one a pair of features
	Attention   float64   // longrope: attention_factor, by which q and k grow
}

// NewRope computes the frequencies theta^(-2i/dim), scaled as transformers' modeling_rope_utils does.
func NewRope(dim int64, theta float64, scaling RopeScaling) (*Rope, error) {
	r := &Rope{scale: 1}
	for i := int64(0); i < dim; i += 2 {
		power := float32(math.Pow(theta, float64(float32(i)/float32(dim))))
		f := 1 / power
		switch scaling.Type {
		case "", "default":
		case "linear":
			f /= float32(scaling.Factor)
		case "llama3":
			f = llama3(f, scaling)
		case "longrope": // Ding et al. 2024
			if n := int(dim / 2); len(scaling.Short) != n || len(scaling.Long) != n {
				return nil, fmt.Errorf("rope_scaling: %d short and %d long factors, %d are wanted", len(scaling.Short), len(scaling.Long), n)
			}
			f = 1 / (float32(scaling.Short[i/2]) * power)
			r.long = append(r.long, 1/(float32(scaling.Long[i/2])*power))
			r.original, r.scale = scaling.Original, scaling.Attention
		default:
			return nil, fmt.Errorf("rope_scaling: type %q is not known (default, linear, llama3 and longrope are)", scaling.Type)
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
	var cos, sin []float32
	for _, frequencies := range [][]float32{r.frequencies, r.long} {
		for p := range size {
			for _, f := range frequencies {
				angle := float64(float32(p) * f)
				cos = append(cos, float32(math.Cos(angle)*r.scale))
				sin = append(sin, float32(math.Sin(angle)*r.scale))
			}
		}
	}
	pairs := int64(len(r.frequencies))
	if !tensor.OnDevice() { // there recorded work goes on reading the old ones
		r.Free()
	}
	r.Cos = tensor.Of(cos, int64(len(cos))/pairs, pairs).Forget()
	r.Sin = tensor.Of(sin, int64(len(sin))/pairs, pairs).Forget()
	r.positions = size
}

// Rows is the rows of the tables for tokens at positions within rows of so many tokens. lengths may be absent: each token
// is then the last of its row.
func (r *Rope) Rows(positions, lengths []int64) []int64 {
	if r.long == nil {
		return positions
	}
	rows := make([]int64, len(positions))
	for i, p := range positions {
		n := p + 1
		if lengths != nil {
			n = lengths[i]
		}
		if rows[i] = p; n > r.original {
			rows[i] += r.positions
		}
	}
	return rows
}

// Turn is the length of a row from which on all its tokens are rotated otherwise; 0 where there is none.
func (r *Rope) Turn() int64 {
	if r.long == nil {
		return 0
	}
	return r.original + 1
}

// Free releases the tables.
func (r *Rope) Free() {
	r.Cos.Free()
	r.Sin.Free()
	r.Cos, r.Sin, r.positions = tensor.Tensor{}, tensor.Tensor{}, 0
}
