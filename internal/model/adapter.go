package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
)

const adapterWeights = "adapter_model.safetensors"

// LoadAdapter puts the PEFT folder dir on the model. An adapter for another base is refused by its first tensor that does
// not fit.
func (m *Model) LoadAdapter(dir string, trained bool) error {
	l, err := ReadLoRA(dir)
	if err != nil {
		return err
	}
	return m.loadAdapter(l, dir, trained)
}

// LoadAdapterAs is LoadAdapter with another dropout, which is a setting of training and not of the weights.
func (m *Model) LoadAdapterAs(dir string, dropout float64, trained bool) error {
	l, err := ReadLoRA(dir)
	if err != nil {
		return err
	}
	l.Dropout = dropout
	return m.loadAdapter(l, dir, trained)
}

func (m *Model) loadAdapter(l *LoRA, dir string, trained bool) error {
	path := filepath.Join(dir, adapterWeights)
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.takes(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := m.Adapt(l, 0, trained); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer m.Adapter.Refresh()
	known := map[string]bool{}
	err = m.factors(func(x factor) error {
		known[x.name] = true
		t, ok := f.Tensor(x.name)
		if !ok {
			return fmt.Errorf("tensor %s: missing", x.name)
		}
		if want := x.shape(); !slices.Equal(t.Shape, want) {
			return fmt.Errorf("tensor %s: shape %v, this base and adapter_config.json want %v", x.name, t.Shape, want)
		}
		scope := tensor.Open()
		defer scope.Close()
		values := tensor.Empty(tensor.Float32, t.Elements())
		if err := put(values, 0, &t, false); err != nil {
			return fmt.Errorf("tensor %s: %w", x.name, err)
		}
		copy(x.values, values.Floats())
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, t := range f.Tensors() {
		if !known[t.Name] {
			return fmt.Errorf("%s: tensor %s: no layer of this base and adapter_config.json takes it", path, t.Name)
		}
	}
	return nil
}

// takes names the first tensor of an adapter's file that no layer of this base takes, or none of its shape.
func (m *Model) takes(f *safetensors.Checkpoint) error {
	type size struct{ in, out int64 }
	sizes := map[string]size{}
	for _, l := range m.Linears() {
		for _, p := range l.Projections {
			sizes[p.Name] = size{l.In, p.Out}
		}
	}
	for _, t := range f.Tensors() {
		module, kind := factorOf(t.Name)
		s, ok := sizes[module]
		if !ok {
			return fmt.Errorf("tensor %s of shape %v: no linear layer of this base takes it; there are %s", t.Name, t.Shape, m.someLinears())
		}
		matrix := len(t.Shape) == 2
		switch {
		case kind == factorA && matrix && t.Shape[1] == s.in, kind == factorB && matrix && t.Shape[0] == s.out,
			kind == magnitudes && slices.Equal(t.Shape, []int64{s.out}):
		default:
			return fmt.Errorf("tensor %s of shape %v: this base's %s has %d inputs and %d outputs", t.Name, t.Shape, module, s.in, s.out)
		}
	}
	return nil
}

// SaveAdapter writes a PEFT folder. base is what adapter_config.json names as base_model_name_or_path: a name, never a path
// of this machine; "" is none.
func (m *Model) SaveAdapter(dir, base string) error {
	l := m.LoRA
	config := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": nil, "inference_mode": true,
		"r": l.Rank, "lora_alpha": l.Alpha, "lora_dropout": l.Dropout, "use_rslora": l.RSLoRA, "use_dora": l.DoRA,
		"bias": "none", "fan_in_fan_out": m.Linears()[0].Weight.Parts[0].Transposed, "init_lora_weights": true, "modules_to_save": nil,
		"rank_pattern": orEmpty(l.RankPattern), "alpha_pattern": orEmpty(l.AlphaPattern),
		"target_modules": m.targetModules(), "layers_to_transform": nil, "exclude_modules": nil,
	}
	if base != "" {
		config["base_model_name_or_path"] = base
	}
	if l.Layers != nil {
		config["layers_to_transform"] = l.Layers
	}
	if l.Exclude != nil {
		config["exclude_modules"] = l.Exclude
	}
	if l.NotPattern != "" {
		config["exclude_modules"] = l.NotPattern
	}
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	var tensors []safetensors.Tensor
	err = m.factors(func(x factor) error {
		data := make([]byte, 4*len(x.values))
		for i, v := range x.values {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
		}
		tensors = append(tensors, safetensors.Tensor{Name: x.name, Dtype: "F32", Shape: x.shape(), Data: data})
		return nil
	})
	if err != nil {
		return err
	}
	return safetensors.Write(filepath.Join(dir, adapterWeights), tensors, safetensors.PyTorch)
}

// targetModules is what PEFT finds the adapted modules by: their last names, as it spells all-linear out when it saves, the names
// that were given, or where they were an expression the whole names. PEFT would match an expression with every module, linear or not.
func (m *Model) targetModules() []string {
	var names []string
	for _, l := range m.Linears() {
		if l.Adapter == nil {
			continue
		}
		for _, t := range l.Adapter.Targets {
			name := l.Projections[t.Index].Name
			if m.LoRA.AllLinear {
				name = name[strings.LastIndex(name, ".")+1:]
			} else if i := slices.IndexFunc(m.LoRA.Targets, func(s string) bool { return endsWith(name, s) }); i >= 0 {
				name = m.LoRA.Targets[i]
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// Merge adds the adapter's product to the base's weights and takes the adapter off. The sum is in float32, as PEFT's
// merge_and_unload does it on a float32 model; DoRA then gives each row its magnitude.
func (m *Model) Merge() {
	scope := tensor.Open()
	defer scope.Close()
	tensor.NoGrad(func() {
		for _, l := range m.Linears() {
			if l.Adapter == nil {
				continue
			}
			step := tensor.Open()
			var lengths []float32
			if l.Adapter.Magnitude != nil {
				lengths = l.AdaptedNorms().Floats()
			}
			for i, t := range l.Adapter.Targets {
				a, b := l.Adapter.Factors(i)
				A := m.Adapter.Values.Slice(a.Offset, a.Rows, a.Columns)
				B := m.Adapter.Values.Slice(b.Offset, b.Rows, b.Width).Narrow(1, 0, b.Columns)
				out := l.Projections[t.Index].Out
				w := m.Base.Values.Slice(l.Weight.PartAt(t.Index), out, l.In)
				sum := w.To(tensor.Float32).Add(B.MatMul(A).Mul(tensor.Of([]float32{float32(t.Scale)})))
				if lengths != nil {
					own := slices.Clone(m.Adapter.Values.Slice(l.Adapter.Magnitudes(i).Offset, out).Floats())
					for k := range own {
						own[k] /= lengths[k]
					}
					sum, lengths = sum.Mul(tensor.Of(own, out, 1)), lengths[out:]
				}
				w.CopyFrom(sum)
			}
			step.Close()
			l.Adapter.Free()
			l.Adapter = nil
		}
	})
	m.Adapter.Free()
	m.LoRA = nil
	m.Base.Refresh()
}
