package gguf

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/hone-ml/hone/internal/safetensors"
)

// written are the types that a model can be written in, by llama.cpp's names of them: its number as general.file_type, and
// how a block of values is made. Blocks equal those of ggml's quantize_row_q8_0_ref and quantize_row_q4_0_ref bit for bit.
var written = map[string]struct {
	kind     Type
	fileType uint32
}{
	"f32": {F32, 0}, "f16": {F16, 1}, "q4_0": {Q4_0, 2}, "q8_0": {Q8_0, 7}, "bf16": {BF16, 32},
}

// Types lists the names of types that Write writes, sorted.
func Types() []string { return slices.Sorted(maps.Keys(written)) }

// quantize encodes whole blocks of values as t. A value that the type cannot hold is an error.
func quantize(dst []byte, t Type, src []float32) error {
	if t == F32 {
		safetensors.PutFloats(dst, safetensors.F32, src)
		return nil
	}
	largest := float32(math.MaxFloat32)
	if t == F16 {
		largest = 65504
	}
	for _, v := range src {
		if !(v >= -largest && v <= largest) {
			return fmt.Errorf("%v does not fit %s", v, t)
		}
	}
	switch t {
	case F16:
		safetensors.PutFloats(dst, safetensors.F16, src)
	case BF16:
		safetensors.PutFloats(dst, safetensors.BF16, src)
	case Q8_0:
		blocks(dst, src, t, putQ8_0)
	case Q4_0:
		blocks(dst, src, t, putQ4_0)
	default:
		return fmt.Errorf("type %s is not written", t)
	}
	return nil
}

func blocks(dst []byte, src []float32, t Type, put func(dst []byte, src []float32)) {
	k := kinds[t]
	for i := range len(src) / k.values {
		put(dst[i*k.bytes:(i+1)*k.bytes], src[i*k.values:(i+1)*k.values])
	}
}

// inverse is 1/d; 0 where d is so small that the float16 beside the values will be 0.
func inverse(d float32) float32 {
	if id := 1 / d; !math.IsInf(float64(id), 0) {
		return id
	}
	return 0
}

// putQ8_0: scale d = max|x| / 127, then x/d rounded half away from zero.
func putQ8_0(dst []byte, src []float32) {
	var most float32
	for _, v := range src {
		most = max(most, float32(math.Abs(float64(v))))
	}
	d := most / 127
	id := inverse(d)
	safetensors.PutFloats(dst, safetensors.F16, []float32{d})
	for i, v := range src {
		dst[2+i] = byte(int8(math.Round(float64(v * id))))
	}
}

// putQ4_0: the value of the largest magnitude is -8; x/d + 8 rounded, the first half in the low nibbles.
func putQ4_0(dst []byte, src []float32) {
	var most, extreme float32
	for _, v := range src {
		if a := float32(math.Abs(float64(v))); a > most {
			most, extreme = a, v
		}
	}
	d := extreme / -8
	id := inverse(d)
	safetensors.PutFloats(dst, safetensors.F16, []float32{d})
	nibble := func(v float32) byte { return byte(min(15, int8(float32(v*id)+8.5))) }
	for i := range 16 {
		dst[2+i] = nibble(src[i]) | nibble(src[i+16])<<4
	}
}
