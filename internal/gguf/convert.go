package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hone-ml/hone/internal/safetensors"
)

// Convert writes the file at path as a Hugging Face folder into dir, which exists: config.json, the weights, and the
// tokenizer with its template. dtype is float32, bfloat16, or auto: bfloat16 where the file's matrices are BF16, else
// float32, in which every quantised value is exact. progress, if any, is told the bytes written of all. Errors name the
// file and the tensor or key; a cancelled conversion leaves files that are not whole.
func Convert(ctx context.Context, path, dir, dtype string, progress func(done, total int64)) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.convert(ctx, dir, dtype, progress); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Companions writes what Convert does but for the weights, which it does not read.
func Companions(path, dir string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.companions(dir); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (f *File) companions(dir string) error {
	c, t, err := f.parts()
	if err != nil {
		return err
	}
	d, err := f.dtype("auto")
	if err != nil {
		return err
	}
	return c.write(dir, t, d)
}

// parts is the configuration and the tokenizer of a file that is a model of one part.
func (f *File) parts() (*config, *tokenizer, error) {
	if n, found, err := f.Meta.Int("split.count"); err != nil || found && n > 1 {
		return nil, nil, errors.Join(err, fmt.Errorf("one of %d parts of a split model: join them first with llama-gguf-split --merge", n))
	}
	c, err := readConfig(f)
	if err != nil {
		return nil, nil, err
	}
	t, err := readTokenizer(f.Meta, c.name)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(t.tokens)) > c.vocabulary {
		return nil, nil, fmt.Errorf("tokenizer.ggml.tokens: %d, the embedding has %d rows", len(t.tokens), c.vocabulary)
	}
	return c, t, nil
}

// write writes all files but the weights, which are of dtype d.
func (c *config) write(dir string, t *tokenizer, d safetensors.Dtype) error {
	if err := writeJSON(dir, "config.json", c.json(t, d)); err != nil {
		return err
	}
	return t.write(dir, c.context)
}

func (f *File) convert(ctx context.Context, dir, dtype string, progress func(done, total int64)) error {
	c, t, err := f.parts()
	if err != nil {
		return err
	}
	d, err := f.dtype(dtype)
	if err != nil {
		return err
	}
	weights, err := c.weights(f)
	if err != nil {
		return err
	}
	tensors := make([]safetensors.Tensor, len(weights))
	for i, w := range weights {
		tensors[i] = safetensors.Tensor{Name: w.name, Dtype: d, Shape: w.stored(),
			Stream: func(out io.Writer) error { return w.stream(out, d) }}
	}
	if err := safetensors.WriteDir(dir, safetensors.Watch(ctx, tensors, progress), safetensors.MaxShard); err != nil {
		return err
	}
	return c.write(dir, t, d)
}

func (f *File) dtype(name string) (safetensors.Dtype, error) {
	switch name {
	case "float32":
		return safetensors.F32, nil
	case "bfloat16":
		return safetensors.BF16, nil
	case "auto":
		for _, t := range f.Tensors {
			if len(t.Shape) > 1 && t.Type != BF16 {
				return safetensors.F32, nil
			}
		}
		return safetensors.BF16, nil
	}
	return "", fmt.Errorf("dtype %q: not auto, float32 or bfloat16", name)
}

// weights returns every tensor of the model under its Hugging Face name, in the order in which modules are made.
func (c *config) weights(f *File) ([]weight, error) {
	tensors, shapes := map[string]Tensor{}, map[string][]int64{}
	for _, t := range f.Tensors {
		if t.Name != ropeFactors && (!c.fused || t.Name != longFactors && t.Name != shortFactors) {
			tensors[t.Name], shapes[t.Name] = t, t.Shape
		}
	}
	slots, err := c.match(func(s slot) (string, []int64) { return s.file, s.shape }, shapes)
	weights := make([]weight, len(slots))
	for i, s := range slots {
		weights[i] = weight{slot: s, source: tensors[s.file]}
	}
	return weights, err
}

// weight is a tensor of the file under its name in the Hugging Face checkpoint.
type weight struct {
	slot
	source Tensor
}

// stream writes the values as d, some megabytes at a time.
func (w weight) stream(out io.Writer, d safetensors.Dtype) error {
	rows, columns := w.source.Shape[0], int64(1)
	if len(w.source.Shape) > 1 {
		columns = w.source.Shape[1]
	}
	step := max(1, (1<<20)/columns) // rows at once
	if len(w.source.Shape) == 1 && w.heads == 0 {
		rows, columns, step = 1, w.source.Shape[0], 1
	}
	if w.heads > 0 {
		step = rows / w.heads
	}
	if w.transposed {
		step = rows
	}
	values := make([]float32, min(step, rows)*columns)
	bytes := make([]byte, int64(len(values))*d.Size())
	for row := int64(0); row < rows; row += step {
		n := min(step, rows-row)
		w.source.Dequantize(values[:n*columns], row*columns)
		if w.shifted {
			for i := range values[:n*columns] {
				values[i]--
			}
		}
		switch {
		case w.heads > 0:
			unpermute(bytes, d, values, n, columns)
		case w.transposed:
			safetensors.PutFloats(bytes, d, transpose(values, rows, columns))
		default:
			safetensors.PutFloats(bytes, d, values[:n*columns])
		}
		if _, err := out.Write(bytes[:n*columns*d.Size()]); err != nil {
			return err
		}
	}
	return nil
}

func transpose(values []float32, rows, columns int64) []float32 {
	out := make([]float32, len(values))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = values[r*columns+c]
		}
	}
	return out
}

// unpermute puts the rows of one head back into Hugging Face's order. llama.cpp rotates neighbouring pairs of
// dimensions, Hugging Face's Llama the i-th with the one half a head further: row 2i+j of the file is row i+j·n/2.
func unpermute(dst []byte, d safetensors.Dtype, rows []float32, n, columns int64) {
	for i := range n / 2 {
		for j := range int64(2) {
			to, from := (i+j*n/2)*columns, (2*i+j)*columns
			safetensors.PutFloats(dst[to*d.Size():], d, rows[from:from+columns])
		}
	}
}
