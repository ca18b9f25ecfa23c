package gguf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/hone-ml/hone/internal/safetensors"
)

// Write writes the model of a Hugging Face folder to a GGUF file: matrices in the type of that name (see Types), whatever
// has one dimension in F32. As llama-quantize does where rows are no whole blocks of its larger types, a q4_0 file has its
// output matrix (the embedding, where they are one) in Q8_0. A matrix whose rows are no whole blocks is written in F16.
// The same folder gives the same bytes. No more than a head or a megabyte of values is held. progress, if any, is told
// the bytes written of all, warn in which cases llama.cpp computes otherwise. An unfinished file is removed.
func Write(ctx context.Context, file, dir, typeName string, warn func(format string, args ...any), progress func(done, total int64)) error {
	w, ok := written[typeName]
	if !ok {
		return fmt.Errorf("type %q: not one of %s", typeName, strings.Join(Types(), ", "))
	}
	c, name, err := openConfig(dir)
	if err != nil {
		return err
	}
	for _, said := range c.caveats {
		warn("%s", said)
	}
	tokenizer, err := tokenizerMetadata(dir, c.vocabulary)
	if err != nil {
		return err
	}
	checkpoint, err := safetensors.OpenDir(dir)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	tensors, err := c.outputs(checkpoint, w.kind)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	meta := []pair{{"general.architecture", c.name}, {"general.type", "model"}}
	if strings.Contains(name, "/") && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		meta = append(meta, pair{"general.name", path.Base(name)})
	}
	meta = append(meta, pair{"general.file_type", w.fileType})
	meta = append(append(meta, c.metadata()...), tokenizer...)
	if kinds[w.kind].values > 1 {
		meta = append(meta, pair{"general.quantization_version", uint32(2)})
	}
	if err := writeFile(ctx, file, meta, tensors, progress); err != nil {
		return fmt.Errorf("%s: %w", file, errors.Join(err, os.Remove(file)))
	}
	return nil
}

// outputs returns the tensors of the file, in the order of the model's modules.
func (c *config) outputs(checkpoint *safetensors.Checkpoint, kind Type) ([]output, error) {
	shapes, tensors := map[string][]int64{}, map[string]safetensors.Tensor{}
	for _, t := range checkpoint.Tensors() {
		follows := c.tied && t.Name == "lm_head.weight" // from others
		for _, suffix := range []string{"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"} {
			follows = follows || strings.HasSuffix(t.Name, suffix)
		}
		name := t.Name
		if c.modelType == "gpt2" && !strings.HasPrefix(name, "transformer.") && name != "lm_head.weight" { // as on the hub
			name = "transformer." + name
		}
		if !follows {
			shapes[name], tensors[name] = t.Shape, t
		}
	}
	slots, err := c.match(func(s slot) (string, []int64) { return s.name, s.stored() }, shapes)
	if err != nil {
		return nil, err
	}
	var all []output
	if c.scaling != nil && c.scaling.kind == "llama3" {
		all = append(all, c.factors())
	}
	for _, l := range c.lists {
		all = append(all, output{l.name, F32, []int64{int64(len(l.values))}, func(w io.Writer) error {
			return binary.Write(w, binary.LittleEndian, l.values)
		}})
	}
	head := "output.weight"
	if c.tied {
		head = "token_embd.weight"
	}
	for _, s := range slots {
		t := tensors[s.name]
		if !t.Dtype.Floating() {
			return nil, fmt.Errorf("tensor %s: dtype %s is not a floating point type", s.name, t.Dtype)
		}
		k := kind
		switch {
		case len(s.shape) == 1:
			k = F32
		case kind == Q4_0 && s.file == head:
			k = Q8_0
		}
		if s.shape[len(s.shape)-1]%int64(kinds[k].values) != 0 {
			k = F16
		}
		all = append(all, output{s.file, k, s.shape, func(w io.Writer) error { return s.stream(w, t, k) }})
	}
	return all, nil
}

// factors is the tensor of Llama 3's stretched positions.
func (c *config) factors() output {
	base, _ := float(c.theta)
	factor, _ := float(c.scaling.factor)
	values := llama3Factors(int(c.headDim/2), base, factor, c.scaling)
	return output{ropeFactors, F32, []int64{c.headDim / 2}, func(w io.Writer) error {
		return binary.Write(w, binary.LittleEndian, values)
	}}
}

// stream writes the values of t as k, a head or about a megabyte at a time.
func (s slot) stream(w io.Writer, t safetensors.Tensor, k Type) error {
	rows, columns := s.shape[0], int64(1)
	if len(s.shape) > 1 {
		columns = s.shape[1]
	}
	step := max(1, (1<<20)/columns)
	if len(s.shape) == 1 && s.heads == 0 {
		rows, columns, step = 1, rows, 1
	}
	if s.heads > 0 {
		step = rows / s.heads
	}
	if s.transposed {
		step = rows
	}
	size, block := t.Dtype.Size(), kinds[k]
	values := make([]float32, min(step, rows)*columns)
	var permuted []float32
	if s.heads > 0 {
		permuted = make([]float32, len(values))
	}
	bytes := make([]byte, len(values)/block.values*block.bytes)
	for row := int64(0); row < rows; row += step {
		n := min(step, rows-row) * columns
		safetensors.Floats(values[:n], t.Dtype, t.Data[row*columns*size:])
		out := values[:n]
		if s.shifted {
			for i := range out {
				out[i]++
			}
		}
		switch {
		case s.heads > 0:
			permute(permuted, values, step, columns)
			out = permuted
		case s.transposed:
			out = transpose(values, columns, rows)
		}
		encoded := bytes[:int(n)/block.values*block.bytes]
		if err := quantize(encoded, k, out); err != nil {
			return err
		}
		if _, err := w.Write(encoded); err != nil {
			return err
		}
	}
	return nil
}

// permute puts the n rows of one head into llama.cpp's order: what unpermute undoes.
func permute(dst, src []float32, n, columns int64) {
	for i := range n / 2 {
		for j := range int64(2) {
			copy(dst[(2*i+j)*columns:][:columns], src[(i+j*n/2)*columns:])
		}
	}
}
