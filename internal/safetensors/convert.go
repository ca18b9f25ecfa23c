package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Floating tells whether values of the type are numbers that Floats and PutFloats convert.
func (d Dtype) Floating() bool { return d == F32 || d == BF16 || d == F16 || d == F64 }

// Floats decodes values of a floating type to float32; F64 is rounded.
func Floats(dst []float32, d Dtype, src []byte) {
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case F16:
		for i := range dst {
			dst[i] = fromHalf(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		panic("safetensors: " + string(d) + " is no floating type")
	}
}

// PutFloats encodes float32 values as F32, BF16 or F16; the last two are rounded to the nearest, ties to even, as PyTorch
// does.
func PutFloats(dst []byte, d Dtype, src []float32) {
	switch d {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toBF16(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toHalf(v))
		}
	default:
		panic("safetensors: " + string(d) + " is not written from float32")
	}
}

func toBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if b&0x7fffffff > 0x7f800000 {
		return 0x7fc0 // a NaN stays one
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// toHalf lets the addition of a float whose last place is the half's do the rounding. What is too large becomes infinite.
func toHalf(v float32) uint16 {
	b := math.Float32bits(v)
	sign, magnitude := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00 // a NaN stays one
	case magnitude >= 0x477ff000: // 65520: half way from the largest to the next
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2⁻¹⁴: multiples of 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(magnitude)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((magnitude+0xfff+magnitude>>13&1)>>13-112<<10)
}

func fromHalf(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 0: // zero and subnormals: fraction × 2⁻²⁴
		return math.Float32frombits(math.Float32bits(float32(fraction)*(1.0/(1<<24))) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// As returns the tensor with its values as d (F32 or BF16), converted while it is written. A tensor that is not of a
// floating type, or is of type d already, stays as it is.
func (t Tensor) As(d Dtype) Tensor {
	if t.Dtype == d || !t.Dtype.Floating() {
		return t
	}
	from, src := t.Dtype, t.Data
	t.Dtype, t.Data = d, nil
	t.Stream = func(w io.Writer) error { return convert(w, d, from, src) }
	return t
}

// chunk is how many values are converted at once.
const chunk = 1 << 16

func convert(w io.Writer, to, from Dtype, src []byte) error {
	in, out := int(from.Size()), int(to.Size())
	values, bytes := make([]float32, chunk), make([]byte, chunk*out)
	for len(src) > 0 {
		n := min(chunk, len(src)/in)
		if n == 0 {
			return fmt.Errorf("%d bytes are no %s", len(src), from)
		}
		Floats(values[:n], from, src)
		PutFloats(bytes, to, values[:n])
		if _, err := w.Write(bytes[:n*out]); err != nil {
			return err
		}
		src = src[n*in:]
	}
	return nil
}
