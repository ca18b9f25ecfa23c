package safetensors

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(header string, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// The reference implementation's file, made by bench/golden/safetensors.py: it is read whole, and written again to
// the same bytes.
func TestReference(t *testing.T) {
	path := filepath.Join("testdata", "reference.safetensors")
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got []string
	for _, x := range c.Tensors() {
		got = append(got, strings.Join([]string{x.Name, string(x.Dtype), strings.Trim(cmpShape(x.Shape), " ")}, " "))
	}
	want := []string{
		"a.bf16 BF16 [3]", "a.f16 F16 [2 2]", "a.f32 F32 [2 3]", "b.bool BOOL [2]", "b.f32 F32 []", "b.i64 I64 [2]",
		"b.u8 U8 [5]", "empty F32 [0 4]", "näme \"quoted\" <&> F32 [1]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	x, _ := c.Tensor("a.f32")
	if v := binary.LittleEndian.Uint32(x.Data[4:]); v != 0x3f800000 {
		t.Errorf("a.f32[0][1] is %x, want 1.0", v)
	}
	out := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Write(out, c.Tensors(), c.Metadata); err != nil {
		t.Fatal(err)
	}
	sameFile(t, path, out)
}

func cmpShape(s []int64) string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = string(rune('0' + d))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Errorf("%s and %s differ:\n%.400q\n%.400q", a, b, x, y)
	}
}

// Every way in which a header can lie is refused with the name of what is wrong.
func TestRefused(t *testing.T) {
	one := func(fields string) string { return `{"w":{` + fields + `}}` }
	for name, test := range map[string]struct {
		bytes []byte
		want  string
	}{
		"empty file":        {nil, "truncated: 0 bytes"},
		"header longer":     {file("{}", "")[:9], "truncated: header of 2 bytes in a file of 9"},
		"huge header":       {binary.LittleEndian.AppendUint64(nil, 1<<63), "header of 9223372036854775808 bytes"},
		"no object":         {file("[]", ""), "header: not a JSON object"},
		"leading space":     {file(" {}", ""), "header: not a JSON object"},
		"broken json":       {file(`{"w":`, ""), "tensor w"},
		"text after":        {file(`{} {}`, ""), "header: text after"},
		"invalid utf-8":     {file("{\"\xff\":{}}", ""), "UTF-8"},
		"name twice":        {file(`{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""), "duplicate"},
		"unknown dtype":     {file(one(`"dtype":"F31","shape":[1],"data_offsets":[0,4]`), "1234"), `tensor w: unknown dtype "F31"`},
		"unknown field":     {file(one(`"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1`), ""), "tensor w: x: is not a field that is known"},
		"dtype a number":    {file(one(`"dtype":5,"shape":[1],"data_offsets":[0,1]`), "1"), "tensor w: dtype: text is wanted, not 5"},
		"no shape":          {file(one(`"dtype":"U8","data_offsets":[0,1]`), "1"), "tensor w: no shape"},
		"negative shape":    {file(one(`"dtype":"U8","shape":[-1],"data_offsets":[0,0]`), ""), "negative dimension"},
		"negative offset":   {file(one(`"dtype":"U8","shape":[1],"data_offsets":[-1,0]`), "1"), "data_offsets [-1 0]"},
		"end before start":  {file(one(`"dtype":"U8","shape":[1],"data_offsets":[1,0]`), "1"), "data_offsets [1 0]"},
		"three offsets":     {file(one(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), "1"), "data_offsets [0 1 2]"},
		"shape overflow":    {file(one(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]`), ""), "too large"},
		"size and shape":    {file(one(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`), "1234"), "data_offsets hold 4 bytes, F32 of shape [2] has 8"},
		"truncated data":    {file(one(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), "1234"), "tensor w: ends at byte 8 of 4"},
		"trailing bytes":    {file(one(`"dtype":"U8","shape":[1],"data_offsets":[0,1]`), "12"), "1 bytes after the last tensor"},
		"hole at the start": {file(one(`"dtype":"U8","shape":[1],"data_offsets":[1,2]`), "12"), "a hole before it"},
		"overlap": {file(`{"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "123"),
			"tensor w: data_offsets 1 to 3: overlaps"},
		"metadata not text": {file(`{"__metadata__":{"a":1}}`, ""), "__metadata__"},
		"fraction":          {file(one(`"dtype":"U8","shape":[1.5],"data_offsets":[0,1]`), "1"), "tensor w: shape[0]: a whole number in range is wanted, not 1.5"},
	} {
		_, _, err := Parse(test.bytes)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func shardedFixture(t *testing.T) (dir string, tensors []Tensor) {
	t.Helper()
	dir = t.TempDir()
	for i, name := range []string{"z", "b", "a"} {
		data := []byte(strings.Repeat(name, 8*(i+1)))
		tensors = append(tensors, Tensor{Name: name, Dtype: F32, Shape: []int64{int64(2 * (i + 1))}, Data: data})
	}
	if err := WriteDir(dir, tensors, 24); err != nil {
		t.Fatal(err)
	}
	return dir, tensors
}

func TestShards(t *testing.T) {
	dir, tensors := shardedFixture(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	want := []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}
	if d := cmp.Diff(want, files); d != "" {
		t.Fatal(d)
	}
	c, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range tensors {
		got, ok := c.Tensor(x.Name)
		if !ok || string(got.Data) != string(x.Data) {
			t.Errorf("tensor %s: %v %q", x.Name, ok, got.Data)
		}
	}
}

func TestShardMissing(t *testing.T) {
	dir, _ := shardedFixture(t)
	lost := filepath.Join(dir, "model-00002-of-00002.safetensors")
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDir(dir)
	want := lost + ": shard is missing, named by model.safetensors.index.json"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestIndexLies(t *testing.T) {
	for index, want := range map[string]string{
		`{"weight_map": {"w": "../x.safetensors"}}`:                               "is not a file name",
		`{"weight_map": {}}`:                                                      "weight_map: empty",
		`{"weight_map": {"a": "model-00001-of-00002.safetensors"}}`:               "tensor a: missing",
		`{"weight_map": {"a": 1}}`:                                                "index.json",
		`{"weight_map": {"b": "model-00001-of-00002.safetensors", "b": "model"}}`: "duplicate",
	} {
		dir, _ := shardedFixture(t)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", index, err, want)
		}
	}
}

func TestStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	stream := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	x := []Tensor{{Name: "w", Dtype: U8, Shape: []int64{3}, Stream: stream("abc")}}
	if err := Write(path, x, nil); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := c.Tensor("w"); string(got.Data) != "abc" {
		t.Errorf("got %q", got.Data)
	}
	for s, want := range map[string]string{"ab": "1 bytes too few", "abcd": "1 bytes too many"} {
		x[0].Stream = stream(s)
		if err := Write(path+"2", x, nil); err == nil || !strings.Contains(err.Error(), "tensor w: "+want) {
			t.Errorf("%s: got %v, want %q", s, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "1234"))
	f.Add(file(`{"__metadata__":{"format":"pt"},"w":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}  `, "1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, metadata, err := Parse(b)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := Write(path, tensors, metadata); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		c, err := Open(path)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		defer c.Close()
		for _, x := range tensors {
			if got, ok := c.Tensor(x.Name); !ok || string(got.Data) != string(x.Data) {
				t.Fatalf("tensor %q changed", x.Name)
			}
		}
	})
}
