package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/hone-ml/hone/internal/safetensors"
)

// Type is how a tensor's values are stored, by ggml's number.
type Type uint32

// Types that are read.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// kinds says how many values and bytes a block has, and how one is turned into float32.
var kinds = map[Type]struct {
	name          string
	values, bytes int
	block         func(dst []float32, src []byte)
}{
	F32:  {"F32", 1, 4, blockF32},
	F16:  {"F16", 1, 2, blockF16},
	BF16: {"BF16", 1, 2, blockBF16},
	Q4_0: {"Q4_0", 32, 18, blockQ4_0},
	Q4_1: {"Q4_1", 32, 20, blockQ4_1},
	Q5_0: {"Q5_0", 32, 22, blockQ5_0},
	Q5_1: {"Q5_1", 32, 24, blockQ5_1},
	Q8_0: {"Q8_0", 32, 34, blockQ8_0},
	Q4_K: {"Q4_K", 256, 144, blockQ4_K},
	Q5_K: {"Q5_K", 256, 176, blockQ5_K},
	Q6_K: {"Q6_K", 256, 210, blockQ6_K},
}

// unsupported names the types that exist and are not read, so that the error says more than a number.
var unsupported = map[Type]string{
	9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
	21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
	34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

func (t Type) String() string {
	if k, ok := kinds[t]; ok {
		return k.name
	}
	if name, ok := unsupported[t]; ok {
		return name
	}
	return fmt.Sprint(uint32(t))
}

// Dequantize writes values [from, from+len(dst)) of the tensor to dst, on all cores. Both ends are block boundaries;
// rows always are.
func (t Tensor) Dequantize(dst []float32, from int64) {
	k := kinds[t.Type]
	blocks := len(dst) / k.values
	src := t.Data[from/int64(k.values)*int64(k.bytes):]
	run := func(first, last int) {
		for i := first; i < last; i++ {
			k.block(dst[i*k.values:(i+1)*k.values], src[i*k.bytes:(i+1)*k.bytes])
		}
	}
	workers := min(runtime.GOMAXPROCS(0), len(dst)/(1<<14)+1)
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { run(blocks*w/workers, blocks*(w+1)/workers) })
	}
	run(0, blocks/workers)
	wg.Wait()
}

func blockF32(dst []float32, src []byte) {
	dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(src))
}

func blockBF16(dst []float32, src []byte) {
	dst[0] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src)) << 16)
}

func blockF16(dst []float32, src []byte) { dst[0] = half(src) }

// halves holds every float16 as float32: 256 KB that make a block's scales one load.
var halves = func() *[1 << 16]float32 {
	bytes := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(bytes[2*i:], uint16(i))
	}
	var table [1 << 16]float32
	safetensors.Floats(table[:], safetensors.F16, bytes)
	return &table
}()

func half(b []byte) float32 { return halves[binary.LittleEndian.Uint16(b)] }

// In all blocks below a product is converted to float32 before it is added to: without that Go may fuse the two on
// some processors, and the bits would differ from machine to machine.

// Q4_0: scale d; 16 bytes, low nibbles first: d × (q − 8).
func blockQ4_0(dst []float32, src []byte) {
	d, q := half(src), src[2:18]
	for i, b := range q {
		dst[i] = d * float32(int(b&15)-8)
		dst[i+16] = d * float32(int(b>>4)-8)
	}
}

// Q4_1: scale d, minimum m; 16 bytes: d × q + m.
func blockQ4_1(dst []float32, src []byte) {
	d, m, q := half(src), half(src[2:]), src[4:20]
	for i, b := range q {
		dst[i] = float32(d*float32(b&15)) + m
		dst[i+16] = float32(d*float32(b>>4)) + m
	}
}

// Q5_0: scale d; 32 fifth bits; 16 bytes: d × (q − 16).
func blockQ5_0(dst []float32, src []byte) {
	d, high, q := half(src), binary.LittleEndian.Uint32(src[2:]), src[6:22]
	for i, b := range q {
		dst[i] = d * float32(int(uint32(b&15)|high>>i&1<<4)-16)
		dst[i+16] = d * float32(int(uint32(b>>4)|high>>(i+16)&1<<4)-16)
	}
}

// Q5_1: scale d, minimum m; 32 fifth bits; 16 bytes: d × q + m.
func blockQ5_1(dst []float32, src []byte) {
	d, m, high, q := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:]), src[8:24]
	for i, b := range q {
		dst[i] = float32(d*float32(uint32(b&15)|high>>i&1<<4)) + m
		dst[i+16] = float32(d*float32(uint32(b>>4)|high>>(i+16)&1<<4)) + m
	}
}

// Q8_0: scale d; 32 signed bytes: d × q.
func blockQ8_0(dst []float32, src []byte) {
	d := half(src)
	for i, b := range src[2:34] {
		dst[i] = d * float32(int8(b))
	}
}

// scaleMin unpacks the j-th of 8 pairs of 6-bit scale and minimum from 12 bytes: the first four pairs are whole in
// bytes 0 to 3 and 4 to 7, whose two top bits are the top bits of the last four pairs.
func scaleMin(j int, s []byte) (scale, minimum float32) {
	if j < 4 {
		return float32(s[j] & 63), float32(s[j+4] & 63)
	}
	return float32(s[j+4]&15 | s[j-4]>>6<<4), float32(s[j+4]>>4 | s[j]>>6<<4)
}

// Q4_K: scales d and dmin of 8 sub-blocks' 6-bit scales and minima; 128 bytes: d·s × q − dmin·m.
func blockQ4_K(dst []float32, src []byte) {
	d, dmin, scales, q := half(src), half(src[2:]), src[4:16], src[16:144]
	for j := 0; j < 8; j += 2 {
		s0, m0 := scaleMin(j, scales)
		s1, m1 := scaleMin(j+1, scales)
		d0, d1, min0, min1 := d*s0, d*s1, dmin*m0, dmin*m1
		out := dst[j*32 : j*32+64]
		for i, b := range q[j*16 : j*16+32] {
			out[i] = float32(d0*float32(b&15)) - min0
			out[i+32] = float32(d1*float32(b>>4)) - min1
		}
	}
}

// Q5_K: as Q4_K, and 32 bytes whose bit j is the fifth bit in sub-block j.
func blockQ5_K(dst []float32, src []byte) {
	d, dmin, scales, high, q := half(src), half(src[2:]), src[4:16], src[16:48], src[48:176]
	for j := 0; j < 8; j += 2 {
		s0, m0 := scaleMin(j, scales)
		s1, m1 := scaleMin(j+1, scales)
		d0, d1, min0, min1 := d*s0, d*s1, dmin*m0, dmin*m1
		out := dst[j*32 : j*32+64]
		for i, b := range q[j*16 : j*16+32] {
			out[i] = float32(d0*float32(b&15|high[i]>>j&1<<4)) - min0
			out[i+32] = float32(d1*float32(b>>4|high[i]>>(j+1)&1<<4)) - min1
		}
	}
}

// Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, scale d: d·s × (q − 32).
func blockQ6_K(dst []float32, src []byte) {
	low, high, scales, d := src[:128], src[128:192], src[192:208], half(src[208:])
	var ds [16]float32
	for i, s := range scales {
		ds[i] = d * float32(int8(s))
	}
	for n := range 2 { // 128 values each
		l, h, out, s := low[n*64:], high[n*32:], dst[n*128:], ds[n*8:]
		for i := range 32 {
			k := i / 16
			out[i] = s[k] * float32(int(l[i]&15|h[i]&3<<4)-32)
			out[i+32] = s[k+2] * float32(int(l[i+32]&15|h[i]>>2&3<<4)-32)
			out[i+64] = s[k+4] * float32(int(l[i]>>4|h[i]>>4&3<<4)-32)
			out[i+96] = s[k+6] * float32(int(l[i+32]>>4|h[i]>>6<<4)-32)
		}
	}
}
