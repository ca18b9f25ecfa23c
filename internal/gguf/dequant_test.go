package gguf

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// Every quantisation gives the bits that the gguf package for Python gives (bench/golden/files_gguf.py).
func TestDequantize(t *testing.T) {
	b, err := os.ReadFile("testdata/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct {
		Data    []byte
		Float32 []byte
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	for kind, k := range kinds {
		g, ok := golden[k.name]
		if kind == F32 {
			for _, o := range golden { // float32 as it is: any golden output is an input
				g.Data, g.Float32, ok = o.Float32, o.Float32, true
				break
			}
		}
		if !ok {
			t.Errorf("%s: no golden blocks", k.name)
			continue
		}
		n := len(g.Data) / k.bytes * k.values
		got := make([]float32, n)
		Tensor{Type: kind, Data: g.Data}.Dequantize(got, 0)
		for i, v := range got {
			if want := binary.LittleEndian.Uint32(g.Float32[4*i:]); math.Float32bits(v) != want {
				t.Errorf("%s: value %d is %v, want %v", k.name, i, v, math.Float32frombits(want))
				break
			}
		}
		// The second block alone, and many blocks on many cores, are the same values.
		one := make([]float32, k.values)
		Tensor{Type: kind, Data: g.Data}.Dequantize(one, int64(k.values))
		if one[0] != got[k.values] {
			t.Errorf("%s: from the second block: %v, want %v", k.name, one[0], got[k.values])
		}
		const times = 2000
		var long []byte
		for range times {
			long = append(long, g.Data...)
		}
		all := make([]float32, n*times)
		Tensor{Type: kind, Data: long}.Dequantize(all, 0)
		for i, v := range all {
			if math.Float32bits(v) != math.Float32bits(got[i%n]) {
				t.Fatalf("%s: value %d in parallel is %v, want %v", k.name, i, v, got[i%n])
			}
		}
	}
}

func BenchmarkDequantize(b *testing.B) {
	for kind, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			const blocks = 1 << 12
			x := Tensor{Type: kind, Data: make([]byte, blocks*k.bytes)}
			dst := make([]float32, blocks*k.values)
			b.SetBytes(int64(4 * len(dst)))
			for b.Loop() {
				x.Dequantize(dst, 0)
			}
		})
	}
}
