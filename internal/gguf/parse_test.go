package gguf

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// builder writes a GGUF file by hand, so that it can lie.
type builder struct{ b []byte }

func (b *builder) u32(v uint32) *builder {
	b.b = binary.LittleEndian.AppendUint32(b.b, v)
	return b
}

func (b *builder) u64(v uint64) *builder {
	b.b = binary.LittleEndian.AppendUint64(b.b, v)
	return b
}

func (b *builder) text(s string) *builder {
	b.u64(uint64(len(s)))
	b.b = append(b.b, s...)
	return b
}

func (b *builder) bytes(v ...byte) *builder {
	b.b = append(b.b, v...)
	return b
}

// head begins a file of version 3 with so many tensors and pairs.
func head(tensors, pairs uint64) *builder {
	b := &builder{[]byte("GGUF")}
	return b.u32(3).u64(tensors).u64(pairs)
}

func (b *builder) info(name string, kind Type, offset uint64, dims ...uint64) *builder {
	b.text(name).u32(uint32(len(dims)))
	for _, d := range dims {
		b.u64(d)
	}
	return b.u32(uint32(kind)).u64(offset)
}

func (b *builder) data(n int) []byte {
	for len(b.b)%32 != 0 {
		b.b = append(b.b, 0)
	}
	return append(b.b, make([]byte, n)...)
}

func TestParse(t *testing.T) {
	b := head(2, 6).text("general.alignment").u32(kindU32).u32(32).
		text("a").u32(kindI8).bytes(0xff).
		text("b").u32(kindF64).u64(math.Float64bits(0.5)).
		text("c").u32(kindBool).bytes(1).
		text("d").u32(kindArray).u32(kindString).u64(2).text("x").text("y").
		text("e").u32(kindArray).u32(kindArray).u64(1).u32(kindU16).u64(2).bytes(1, 0, 2, 0).
		info("v", Q8_0, 32, 32, 2).info("w", F32, 0, 3)
	f, err := Parse(b.data(32 + 68))
	if err != nil {
		t.Fatal(err)
	}
	if f.Meta["a"] != int64(-1) || f.Meta["b"] != 0.5 || f.Meta["c"] != true || f.Meta["d"].([]string)[1] != "y" ||
		f.Meta["e"].([]any)[0].([]uint64)[1] != 2 {
		t.Errorf("metadata %v", f.Meta)
	}
	v, w := f.Tensors[0], f.Tensors[1]
	if v.Shape[0] != 2 || v.Shape[1] != 32 || len(v.Data) != 68 || len(w.Data) != 12 {
		t.Errorf("tensors %v %v", v.Shape, w.Shape)
	}
}

// A header that asks for more than the file has, that contradicts itself, or that is broken off is refused.
func TestParseRefuses(t *testing.T) {
	key := func() *builder { return head(0, 1).text("k") }
	for name, test := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":             {nil, "not a GGUF file"},
		"another format":    {[]byte("GGML...."), "not a GGUF file"},
		"version 1":         {(&builder{[]byte("GGUF")}).u32(1).u64(0).u64(0).b, "GGUF version 1"},
		"big-endian":        {(&builder{[]byte("GGUF")}).u32(3 << 24).u64(0).u64(0).b, "big-endian"},
		"tensor count":      {head(1<<60, 0).b, "tensor count: 1152921504606846976, more than the file has bytes for"},
		"pair count":        {head(0, 1<<60).b, "metadata count"},
		"key length":        {head(0, 1).u64(1 << 62).data(64), "metadata key of"},
		"key not text":      {head(0, 1).text("\xff").u32(kindU8).bytes(1).b, "invalid UTF-8"},
		"string length":     {key().u32(kindString).u64(1 << 62).data(64), `metadata key "k": byte`},
		"array length":      {key().u32(kindArray).u32(kindU64).u64(1 << 60).data(64), "array length"},
		"array of nonsense": {key().u32(kindArray).u32(99).u64(1).data(64), "value type 99"},
		"value of nonsense": {key().u32(99).data(64), "value type 99"},
		"bool of 2":         {key().u32(kindBool).bytes(2).b, "bool of value 2"},
		"key twice":         {head(0, 2).text("k").u32(kindU8).bytes(1).text("k").u32(kindU8).bytes(1).b, `metadata key "k": twice`},
		"alignment 0":       {head(0, 1).text("general.alignment").u32(kindU32).u32(0).b, "general.alignment"},
		"alignment 24":      {head(0, 1).text("general.alignment").u32(kindU32).u32(24).b, "general.alignment: 24: not a power of two"},
		"alignment as text": {head(0, 1).text("general.alignment").u32(kindString).text("32").b, `general.alignment: the string "32": not an integer`},
		"no dimensions":     {head(1, 0).info("w", F32, 0).data(64), "tensor w: 0 dimensions"},
		"five dimensions":   {head(1, 0).info("w", F32, 0, 1, 1, 1, 1, 1).data(64), "tensor w: 5 dimensions"},
		"dimension 0":       {head(1, 0).info("w", F32, 0, 0).data(64), "tensor w: dimension of 0"},
		"overflow":          {head(1, 0).info("w", F32, 0, 1<<40, 1<<40).data(64), "tensor w: dimension of"},
		"unknown type":      {head(1, 0).info("w", 99, 0, 32).data(64), "tensor w: type 99 is not supported"},
		"unsupported type":  {head(1, 0).info("w", 23, 0, 256).data(64), "tensor w: type IQ4_XS is not supported"},
		"half a block":      {head(1, 0).info("w", Q4_0, 0, 33).data(64), "tensor w: rows of 33 values are not whole blocks of 32 (Q4_0)"},
		"unaligned":         {head(1, 0).info("w", F32, 4, 2).data(64), "tensor w: offset 4 is not a multiple of 32"},
		"beyond the end":    {head(1, 0).info("w", F32, 0, 64).data(64), "tensor w: bytes 0 to 256 of 64: the file is truncated"},
		"offset overflow":   {head(1, 0).info("w", F32, 1<<63, 2).data(64), "tensor w: bytes"},
		"name twice":        {head(2, 0).info("w", F32, 0, 2).info("w", F32, 32, 2).data(64), "tensor w: twice"},
		"overlap":           {head(2, 0).info("v", F32, 0, 16).info("w", F32, 32, 2).data(64), "tensor w: overlaps tensor v"},
		"no data":           {head(1, 0).info("w", F32, 0, 2).b, "truncated"},
	} {
		if _, err := Parse(test.b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		} else if strings.Count(err.Error(), "metadata key") > 1 {
			t.Errorf("%s: says where twice: %v", name, err)
		}
	}
	deep := key().u32(kindArray)
	for range 50 {
		deep.u32(kindArray).u64(1)
	}
	if _, err := Parse(deep.data(64)); err == nil || !strings.Contains(err.Error(), "arrays nested deeper") {
		t.Errorf("deep arrays: %v", err)
	}
}

// A real file cut at any byte is refused, or says the same as the whole.
func TestTruncated(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "models", "llama.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(b); n += 101 {
		if _, err := Parse(b[:n]); err == nil {
			t.Fatalf("cut at byte %d of %d: no error", n, len(b))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head(1, 1).text("k").u32(kindArray).u32(kindString).u64(1).text("x").info("w", Q4_K, 0, 256).data(160))
	f.Add(head(0, 1).text("general.architecture").u32(kindString).text("llama").b)
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Parse(b)
		if err != nil {
			return
		}
		for _, x := range g.Tensors {
			n := int64(1)
			for _, d := range x.Shape {
				n *= d
			}
			x.Dequantize(make([]float32, n), 0)
		}
		g.convert(t.Context(), t.TempDir(), "auto", nil)
	})
}
