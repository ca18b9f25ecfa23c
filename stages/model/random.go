package model

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"runtime"
	"sync"

	"github.com/hone-ml/hone/internal/safetensors"
)

// The random numbers of fresh weights follow from (seed, tensor, place) alone and are the same on every machine: the
// arithmetic is IEEE double, without a library's logarithm and without fused products, whose last bits differ.

// normalChunk is how many values share a generator; chunks are made on all cores.
const normalChunk = 1 << 16

// normals writes count values of a normal distribution with mean 0 and deviation std as d. Row zeroRow of columns
// values is zero; below zero there is none.
func normals(w io.Writer, d safetensors.Dtype, seed int64, name string, count int64, std float64, zeroRow, columns int64) error {
	workers := runtime.GOMAXPROCS(0)
	values, bytes := make([][]float32, workers), make([][]byte, workers)
	for i := range workers {
		values[i], bytes[i] = make([]float32, normalChunk), make([]byte, normalChunk*d.Size())
	}
	for first := int64(0); first*normalChunk < count; first += int64(workers) {
		var wg sync.WaitGroup
		for i := range workers {
			at := (first + int64(i)) * normalChunk
			n := min(normalChunk, count-at)
			if n <= 0 {
				values[i] = nil
				continue
			}
			values[i] = values[i][:n]
			wg.Go(func() {
				newNormal(seed, name, uint64(first)+uint64(i)).fill(values[i], std)
				for k := max(0, zeroRow*columns-at); zeroRow >= 0 && k < min(n, (zeroRow+1)*columns-at); k++ {
					values[i][k] = 0
				}
				safetensors.PutFloats(bytes[i], d, values[i])
			})
		}
		wg.Wait()
		for i, v := range values {
			if _, err := w.Write(bytes[i][:int64(len(v))*d.Size()]); err != nil {
				return err
			}
		}
	}
	return nil
}

// normal is SplitMix64 (Steele, Lea and Flood 2014) under Marsaglia's polar method.
type normal struct{ state uint64 }

func newNormal(seed int64, name string, chunk uint64) *normal {
	b := binary.LittleEndian.AppendUint64(nil, uint64(seed))
	b = binary.LittleEndian.AppendUint64(b, chunk)
	sum := sha256.Sum256(append(b, name...))
	return &normal{binary.LittleEndian.Uint64(sum[:])}
}

func (r *normal) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a number from -1 to 1.
func (r *normal) uniform() float64 { return float64(int64(r.next())>>11) * (1.0 / (1 << 52)) }

func (r *normal) fill(v []float32, std float64) {
	for i := 0; i < len(v); {
		x, y := r.uniform(), r.uniform()
		s := float64(x*x) + float64(y*y)
		if s >= 1 || s == 0 {
			continue
		}
		f := std * math.Sqrt(-2*ln(s)/s)
		v[i] = float32(x * f)
		if i++; i < len(v) {
			v[i] = float32(y * f)
			i++
		}
	}
}

// ln is the natural logarithm of a positive normal number, within some units of the last place: the exponent apart, and
// 2·artanh((m−1)/(m+1)) as a series for the mantissa. Conversions keep products from being fused with sums.
func ln(x float64) float64 {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = m*2, e-1
	}
	t := (m - 1) / (m + 1)
	square := t * t
	sum := 0.0
	for k := 21; k >= 1; k -= 2 {
		sum = float64(sum*square) + 1/float64(k)
	}
	return float64(2*t*sum) + float64(float64(e)*math.Ln2)
}
