package model

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

var names = map[tensor.Dtype]safetensors.Dtype{tensor.Float32: "F32", tensor.Float16: "F16", tensor.BFloat16: "BF16"}

func storeTensor(flat tensor.Tensor, t nn.Tensor, offset int64, dtype tensor.Dtype) safetensors.Tensor {
	out := safetensors.Tensor{Name: t.Name, Dtype: names[dtype], Shape: t.Stored()}
	out.Stream = func(w io.Writer) error {
		scope := tensor.Open()
		defer scope.Close()
		place := flat.Slice(offset, t.Shape...)
		if t.Transposed {
			place = place.Transpose().Contiguous()
		}
		if place.Dtype() != dtype {
			place = place.To(dtype)
		}
		_, err := w.Write(place.Bytes())
		return err
	}
	return out
}

// Save writes the base's weights, in dtype, into dir, with everything else copied from the folder that the model came from:
// config.json, tokenizer, template and generation defaults. config.json says the dtype.
func (m *Model) Save(dir, from string, dtype tensor.Dtype) error {
	if err := modeldir.CopyCompanions(dir, from); err != nil {
		return err
	}
	if err := setDtype(filepath.Join(dir, "config.json"), dtype); err != nil {
		return err
	}
	return safetensors.WriteDir(dir, Tensors(&m.Base, dtype), safetensors.MaxShard)
}

// setDtype rewrites config.json's dtype (torch_dtype where transformers 4 wrote it) where it says another one, and drops
// the name that the weights had before they were changed: an adapter of the new ones would name the old as its base.
func setDtype(path string, dtype tensor.Dtype) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return err
	}
	key := "dtype"
	if _, old := c["torch_dtype"]; old {
		key = "torch_dtype"
	}
	if _, named := c["_name_or_path"]; !named && c[key] == dtype.String() {
		return nil
	}
	delete(c, "_name_or_path")
	c[key] = dtype.String()
	b, err = json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
