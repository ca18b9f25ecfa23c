package model

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

var names = map[tensor.Dtype]safetensors.Dtype{tensor.Float32: "F32", tensor.Float16: "F16", tensor.BFloat16: "BF16"}

func storeTensor(flat tensor.Tensor, t nn.Tensor, offset int64, dtype tensor.Dtype) safetensors.Tensor {
	out := safetensors.Tensor{Name: t.Name, Dtype: names[dtype], Shape: t.Shape}
	out.Stream = func(w io.Writer) error {
		scope := tensor.Open()
		defer scope.Close()
		place := flat.Slice(offset, out.Elements())
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
	if err := CopyFiles(dir, from); err != nil {
		return err
	}
	if err := setDtype(filepath.Join(dir, "config.json"), dtype); err != nil {
		return err
	}
	return safetensors.WriteDir(dir, Tensors(&m.Base, dtype), safetensors.MaxShard)
}

// Companions is the files of a model folder beside its weights, as patterns of their paths.
var Companions = []string{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"added_tokens.json", "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja", "vocab.json", "vocab.txt",
	"merges.txt", "tokenizer.model"}

// CopyFiles copies the files of a model folder that are not weights.
func CopyFiles(dir, from string) error {
	for _, pattern := range Companions {
		names, err := fs.Glob(os.DirFS(from), pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				return err
			}
			to := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
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
