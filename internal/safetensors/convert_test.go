package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"testing"
)

// Every float16 is what its definition says: (−1)^s × 2^(e−15) × (1 + f/1024), and below 2^−14 f × 2^−24.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		sign, e, f := 1.0, h>>10&31, float64(h&1023)
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1+f/1024, e-15)
		switch {
		case e == 0:
			want = sign * math.Ldexp(f, -24)
		case e == 31 && f == 0:
			want = math.Inf(int(sign))
		case e == 31:
			want = math.NaN()
		}
		var got [1]float32
		Floats(got[:], F16, []byte{byte(h), byte(h >> 8)})
		if float64(got[0]) != want && !(math.IsNaN(want) && math.IsNaN(float64(got[0]))) || h == 0x8000 && !math.Signbit(float64(got[0])) {
			t.Fatalf("%04x is %v, want %v", h, got[0], want)
		}
	}
}

// float16 is the nearest, of two equally near the even one: exactly half way between each two neighbours, and next to it.
func TestToFloat16(t *testing.T) {
	put := func(v float32) uint16 {
		var b [2]byte
		PutFloats(b[:], F16, []float32{v})
		return binary.LittleEndian.Uint16(b[:])
	}
	for h := range uint16(0x7c00) {
		low := fromHalf(h)
		high := float32(65536)
		if h+1 < 0x7c00 {
			high = fromHalf(h + 1)
		}
		middle := float32((float64(low) + float64(high)) / 2)
		for v, want := range map[float32]uint16{
			low: h, middle: h + h&1, math.Nextafter32(middle, 0): h, math.Nextafter32(middle, 1e9): h + 1,
		} {
			if got, negative := put(v), put(-v); got != want || negative != want|0x8000 {
				t.Fatalf("%v is %04x and %04x, want %04x", v, got, negative, want)
			}
		}
	}
	inf := float32(math.Inf(1))
	if put(inf) != 0x7c00 || put(-inf) != 0xfc00 || put(math.MaxFloat32) != 0x7c00 || put(float32(math.NaN()))&0x7e00 != 0x7e00 {
		t.Errorf("%04x %04x %04x %04x", put(inf), put(-inf), put(math.MaxFloat32), put(float32(math.NaN())))
	}
}

// bfloat16 is the nearest, of two equally near the even one. The bits are those of torch 2.11, whose NaN alone differs from
// one of its own code paths to another.
func TestBFloat16(t *testing.T) {
	for in, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, // 1
		0x3f808000: 0x3f80, // half way, down to even
		0x3f818000: 0x3f82, // half way, up to even
		0x3f808001: 0x3f81,
		0x3f807fff: 0x3f80,
		0x80000000: 0x8000, // −0
		0x00000001: 0x0000, // the least subnormal
		0x7f7fffff: 0x7f80, // the largest float32 rounds to infinity
		0x7f800000: 0x7f80,
		0xff800000: 0xff80,
		0x7f800001: 0x7fc0, // NaN stays one, though its low bits are lost
		0xffc00000: 0x7fc0,
	} {
		var got [2]byte
		PutFloats(got[:], BF16, []float32{math.Float32frombits(in)})
		if g := binary.LittleEndian.Uint16(got[:]); g != want {
			t.Errorf("%08x is %04x, want %04x", in, g, want)
		}
	}
}

func TestAs(t *testing.T) {
	values := make([]float32, 3*chunk/2)
	for i := range values {
		values[i] = float32(i) / 7
	}
	data := make([]byte, 4*len(values))
	PutFloats(data, F32, values)
	x := []Tensor{
		{Name: "w", Dtype: F32, Shape: []int64{3, chunk / 2}, Data: data},
		{Name: "ids", Dtype: I64, Shape: []int64{1}, Data: make([]byte, 8)},
	}
	for i := range x {
		x[i] = x[i].As(BF16)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(path, x, PyTorch); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := make([]byte, 2*len(values))
	PutFloats(want, BF16, values)
	if w, _ := c.Tensor("w"); w.Dtype != BF16 || !bytes.Equal(w.Data, want) {
		t.Errorf("w is %s, %d bytes", w.Dtype, len(w.Data))
	}
	if ids, _ := c.Tensor("ids"); ids.Dtype != I64 {
		t.Errorf("ids is %s", ids.Dtype)
	}
}

func TestWatch(t *testing.T) {
	x := []Tensor{{Name: "v", Dtype: U8, Shape: []int64{3}, Data: []byte("abc")}, {Name: "w", Dtype: U8, Shape: []int64{2}, Data: []byte("de")}}
	var done, total int64
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(path, Watch(t.Context(), x, func(d, n int64) { done, total = d, n }), nil); err != nil {
		t.Fatal(err)
	}
	if done != 5 || total != 5 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if w, _ := c.Tensor("w"); string(w.Data) != "de" {
		t.Errorf("w is %q", w.Data)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Write(path+"2", Watch(ctx, x, nil), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
