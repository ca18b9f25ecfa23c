package gguf

import (
	"encoding/json/jsontext"
	"fmt"
	"math"
)

// scaling is how positions are stretched: config.json's rope_scaling.
type scaling struct {
	kind      string // linear, yarn, llama3
	factor    jsontext.Value
	low, high float64 // llama3
	original  int64   // llama3 and yarn: positions before
}

func (s *scaling) json() object {
	o := object{"rope_type", s.kind, "factor", s.factor}
	if s.kind == "llama3" {
		o = append(o, "low_freq_factor", s.low, "high_freq_factor", s.high)
	}
	if s.original > 0 {
		o = append(o, "original_max_position_embeddings", s.original)
	}
	return o
}

// ropeFactors is the tensor of what Llama 3's frequencies are divided by, one a pair of dimensions.
const ropeFactors = "rope_freqs.weight"

// llama3Factors applies Llama 3's rule (transformers' _compute_llama3_parameters): high frequencies stay, low ones are
// divided by factor, and those between go smoothly from one to the other.
func llama3Factors(n int, base, factor float64, s *scaling) []float32 {
	factors := make([]float32, n)
	original := float64(s.original)
	for i := range factors {
		wavelength := 2 * math.Pi * math.Pow(base, float64(2*i)/float64(2*n))
		switch {
		case wavelength < original/s.high:
			factors[i] = 1
		case wavelength > original/s.low:
			factors[i] = float32(factor)
		default:
			smooth := (original/wavelength - s.low) / (s.high - s.low)
			factors[i] = float32(1 / ((1-smooth)/factor + smooth))
		}
	}
	return factors
}

// llama3Scaling finds Llama 3's factor in what the frequencies are divided by, and checks that the rest follows from
// it with the bounds that every release of Llama 3.1 to 3.3 has.
func llama3Scaling(factors []float32, theta jsontext.Value) (*scaling, error) {
	base, err := float(theta)
	if err != nil {
		return nil, fmt.Errorf("rope.freq_base: %w", err)
	}
	factor := float32(1)
	for _, v := range factors {
		factor = max(factor, v)
	}
	s := &scaling{kind: "llama3", factor: jsontext.Value(fmt.Sprint(factor)), low: 1, high: 4, original: 8192}
	for i, want := range llama3Factors(len(factors), base, float64(factor), s) {
		if v := factors[i]; !(math.Abs(float64(v-want)) <= 1e-4*float64(want)) {
			return nil, fmt.Errorf("value %d is %v, Llama 3's rule gives %v: not supported", i, v, want)
		}
	}
	if factor == 1 {
		return nil, nil
	}
	return s, nil
}
