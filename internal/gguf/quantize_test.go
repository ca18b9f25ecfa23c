package gguf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// Every type that is written gives the bytes that the gguf package for Python gives (bench/golden/files_gguf.py), which
// are those of ggml's reference.
func TestQuantize(t *testing.T) {
	b, err := os.ReadFile("testdata/quantised.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string][]byte
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(golden["F32"])/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(golden["F32"][4*i:]))
	}
	for name, w := range written {
		k := kinds[w.kind]
		got := make([]byte, len(values)/k.values*k.bytes)
		if err := quantize(got, w.kind, values); err != nil {
			t.Fatal(err)
		}
		want := golden[k.name]
		for i := 0; i < len(want); i += k.bytes {
			if !bytes.Equal(got[i:i+k.bytes], want[i:i+k.bytes]) {
				t.Errorf("%s: block %d of %v is %x, want %x", name, i/k.bytes, values[i/k.bytes*k.values:][:k.values], got[i:i+k.bytes], want[i:i+k.bytes])
			}
		}
	}
}

// What a type cannot hold is an error, not another value.
func TestQuantizeRefuses(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		kind  Type
		value float32
		want  string
	}{
		{F16, 65505, "65505 does not fit F16"},
		{F16, -70000, "-70000 does not fit F16"},
		{Q8_0, inf, "+Inf does not fit Q8_0"},
		{Q4_0, float32(math.NaN()), "NaN does not fit Q4_0"},
		{BF16, -inf, "-Inf does not fit BF16"},
	} {
		err := quantize(make([]byte, 64), test.kind, slices.Repeat([]float32{test.value}, 32))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v as %s: %v", test.value, test.kind, err)
		}
	}
	// A scale that float16 cannot tell from zero makes a block of zeros, whatever 1/d would be.
	var block [34]byte
	if err := quantize(block[:], Q8_0, slices.Repeat([]float32{1e-44}, 32)); err != nil || !bytes.Equal(block[:], make([]byte, 34)) {
		t.Errorf("%x, %v", block, err)
	}
}
