package model

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

// Load opens a Hugging Face folder. Trained, the weights are float32 with gradients and compute in dtype; else they are
// held in dtype alone.
func Load(dir string, dtype tensor.Dtype, trained bool) (*Model, error) {
	return load(dir, dtype, trained, func(*nn.Weight) {})
}

// LoadNF4 opens a Hugging Face folder frozen, with every linear layer but the head in NF4, as transformers has bitsandbytes do it;
// double quantises the scales too.
func LoadNF4(dir string, dtype tensor.Dtype, double bool) (*Model, error) {
	return load(dir, dtype, false, func(w *nn.Weight) { w.Pack(dtype, double) })
}

func load(dir string, dtype tensor.Dtype, trained bool, pack func(*nn.Weight)) (*Model, error) {
	m, f, err := open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m.Dtype = dtype
	values := dtype
	if trained {
		values = tensor.Float32
	}
	for _, l := range m.Linears() {
		pack(l.Weight)
	}
	m.Base.Allocate(values, dtype, trained)
	if err := fill(&m.Base, f); err != nil {
		m.Free()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	m.Base.Refresh()
	return m, nil
}

// open declares the model of dir and maps its checkpoint, which holds every weight in its shape. A head that config.json ties
// to the embedding, and that the checkpoint holds with other values, is kept apart, as transformers 5 does.
func open(dir string) (*Model, *safetensors.Checkpoint, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := New(c); err != nil { // before the checkpoint is looked for
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, nil, err
	}
	head, both := f.Tensor("lm_head.weight")
	if embedding, ok := f.Tensor("model.embed_tokens.weight"); ok && both && c.TieWordEmbeddings && !bytes.Equal(head.Data, embedding.Data) {
		c.TieWordEmbeddings, c.Untied = false, true
	}
	m, err := New(c)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := match(m, f); err != nil {
		f.Close()
		file := filepath.Join(dir, "model.safetensors.index.json")
		if len(f.Files) == 1 {
			file = f.Files[0]
		}
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, f, nil
}

// match names every tensor that is missing or has another shape, before memory is taken for any.
func match(m *Model, f *safetensors.Checkpoint) error {
	var wrong []string
	_ = m.Base.Each(func(t nn.Tensor, _ int64) error {
		found, ok := lookup(f, t.Name)
		switch {
		case !ok:
			wrong = append(wrong, "missing "+t.Name)
		case !slices.Equal(found.Shape, t.Stored()):
			wrong = append(wrong, fmt.Sprintf("%s has shape %v, config.json wants %v", t.Name, found.Shape, t.Stored()))
		}
		return nil
	})
	if len(wrong) > 6 {
		wrong = append(wrong[:5], fmt.Sprintf("and %d more", len(wrong)-5))
	}
	if wrong != nil {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// lookup finds a tensor under its name, or without the first part of it, which files have that were saved from the model
// without its head (GPT-2's on the hub, say).
func lookup(f *safetensors.Checkpoint, name string) (safetensors.Tensor, bool) {
	if t, ok := f.Tensor(name); ok {
		return t, true
	}
	_, short, _ := strings.Cut(name, ".")
	return f.Tensor(short)
}

// Inspect tells whether the weights in dir are those that its config declares, each there and of its shape, and names the
// tensors that the model does not read, as transformers would warn of them.
func Inspect(dir string) (c *Config, unexpected []string, err error) {
	m, f, err := open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	known := map[string]bool{}
	_ = m.Base.Each(func(t nn.Tensor, _ int64) error {
		_, short, _ := strings.Cut(t.Name, ".")
		known[t.Name], known[short] = true, true
		return nil
	})
	for _, t := range f.Tensors() {
		tied := t.Name == "lm_head.weight" && m.Config.TieWordEmbeddings
		buffer := strings.HasSuffix(t.Name, "rotary_emb.inv_freq") || strings.HasSuffix(t.Name, ".attn.bias") || strings.HasSuffix(t.Name, ".attn.masked_bias")
		if !known[t.Name] && !tied && !buffer {
			unexpected = append(unexpected, t.Name)
		}
	}
	return m.Config, unexpected, nil
}

// fill copies every tensor that s declares from f into its buffer, converting the dtype, or packs it.
func fill(s *nn.Store, f *safetensors.Checkpoint) error {
	read := func(t nn.Tensor, to tensor.Tensor, offset int64) error {
		found, _ := lookup(f, t.Name)
		if err := put(to, offset, &found, t.Transposed); err != nil {
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		return nil
	}
	for _, w := range s.Weights {
		for i := range w.Parts {
			if !w.Packed {
				break
			}
			scope := tensor.Open()
			dense := tensor.Empty(tensor.Float32, w.Parts[i].Shape...)
			err := read(w.Parts[i], dense.Slice(0, dense.Count()), 0)
			if err == nil {
				w.Tensor.Pack(i, dense)
			}
			scope.Close()
			if err != nil {
				return err
			}
		}
	}
	return s.Each(func(t nn.Tensor, offset int64) error { return read(t, s.Values, offset) })
}

var dtypes = map[safetensors.Dtype]tensor.Dtype{"F32": tensor.Float32, "F16": tensor.Float16, "BF16": tensor.BFloat16, "F64": tensor.Float64}

// put copies t, or its transpose, to a flat buffer at offset.
func put(flat tensor.Tensor, offset int64, t *safetensors.Tensor, transposed bool) error {
	d, ok := dtypes[t.Dtype]
	if !ok {
		return fmt.Errorf("dtype %s is not a floating point type that is read here", t.Dtype)
	}
	scope := tensor.Open()
	defer scope.Close()
	place := flat.Slice(offset, t.Elements())
	if d == place.Dtype() && !transposed {
		place.Put(t.Data)
		return nil
	}
	source := tensor.Empty(d, t.Elements())
	source.Put(t.Data)
	if transposed {
		rows, columns := t.Shape[0], t.Shape[1]
		source, place = source.Slice(0, rows, columns).Transpose(), flat.Slice(offset, columns, rows)
	}
	place.CopyFrom(source)
	return nil
}

// Tensors is the checkpoint tensors of a store's values, as safetensors are written: views of its memory, in dtype.
// The conversion, where dtype is another, is done a tensor at a time while it is written.
func Tensors(s *nn.Store, dtype tensor.Dtype) []safetensors.Tensor {
	var out []safetensors.Tensor
	_ = s.Each(func(t nn.Tensor, offset int64) error {
		out = append(out, storeTensor(s.Values, t, offset, dtype))
		return nil
	})
	return out
}

// ParseDtype is config.json's name of a dtype.
func ParseDtype(name string) (tensor.Dtype, error) {
	switch strings.TrimPrefix(name, "torch.") {
	case "float32":
		return tensor.Float32, nil
	case "bfloat16":
		return tensor.BFloat16, nil
	case "float16":
		return tensor.Float16, nil
	}
	return 0, fmt.Errorf("dtype %q is not known", name)
}
