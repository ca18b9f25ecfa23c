package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tensor"
)

// LoRA is adapter_config.json, PEFT's LoraConfig, as far as it is understood here. fan_in_fan_out is not read: it follows from
// the base, and PEFT too corrects it.
type LoRA struct {
	Rank         int64
	Alpha        float64
	Dropout      float64
	RSLoRA       bool
	DoRA         bool
	AllLinear    bool     // target_modules: "all-linear"
	Targets      []string // what module names end with, or are
	Pattern      string   // target_modules as a regular expression (RE2) that whole names match
	RankPattern  map[string]int64
	AlphaPattern map[string]float64
	Layers       []int64 // layers_to_transform
	Exclude      []string
	NotPattern   string // exclude_modules as a regular expression
}

const peftPrefix = "base_model.model."

// matches reports whether PEFT would adapt the module of that name (tuners_utils.check_target_module_exists).
func (l *LoRA) matches(name string) (bool, error) {
	if slices.ContainsFunc(l.Exclude, func(s string) bool { return endsWith(name, s) }) {
		return false, nil
	}
	if l.NotPattern != "" {
		if not, err := matchesWhole(l.NotPattern, name); not || err != nil {
			return false, within("exclude_modules", err)
		}
	}
	if l.AllLinear {
		return true, nil
	}
	if l.Pattern != "" {
		ok, err := matchesWhole(l.Pattern, name)
		return ok, within("target_modules", err)
	}
	if !slices.ContainsFunc(l.Targets, func(s string) bool { return endsWith(name, s) }) {
		return false, nil
	}
	if len(l.Layers) == 0 || slices.Contains(l.Targets, name) {
		return true, nil
	}
	for _, part := range strings.Split(name, ".") {
		var n int64
		if _, err := fmt.Sscanf(part, "%d", &n); err == nil {
			return slices.Contains(l.Layers, n), nil
		}
	}
	return false, nil
}

// endsWith reports whether suffix is a module's name or its last parts.
func endsWith(name, suffix string) bool { return name == suffix || strings.HasSuffix(name, "."+suffix) }

func matchesWhole(pattern, name string) (bool, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	return err == nil && re.MatchString(name), err
}

func within(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

// byPattern is the value whose key matches the end of name, as PEFT's get_pattern_key finds it.
func byPattern[V any](patterns map[string]V, name string, otherwise V) (V, error) {
	keys := make([]string, 0, len(patterns))
	for k := range patterns {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		re, err := regexp.Compile(`^(.*\.)?(` + k + `)$`)
		if err != nil {
			return otherwise, err
		}
		if re.MatchString(name) {
			return patterns[k], nil
		}
	}
	return otherwise, nil
}

// Adapt puts l on the model's linear layers and lays the factors out; trained, they have gradients. A is drawn as PEFT draws
// it (kaiming_uniform(√5): uniform within 1/√in), from seed and the module's name; B is zero. DoRA's magnitudes are the lengths of
// the rows that there are: the weights must be loaded.
func (m *Model) Adapt(l *LoRA, seed int64, trained bool) error {
	if m.LoRA != nil {
		return errors.New("the model has an adapter")
	}
	used := make([]bool, len(l.Targets))
	for _, linear := range m.Linears() {
		var targets []nn.Target
		for i, p := range linear.Projections {
			for k, t := range l.Targets { // PEFT spells all-linear out before it takes exclude_modules away
				used[k] = used[k] || endsWith(p.Name, t)
			}
			ok, err := l.matches(p.Name)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			rank, err := byPattern(l.RankPattern, p.Name, l.Rank)
			if err != nil {
				return fmt.Errorf("rank_pattern: %w", err)
			}
			alpha, err := byPattern(l.AlphaPattern, p.Name, l.Alpha)
			if err != nil {
				return fmt.Errorf("alpha_pattern: %w", err)
			}
			scale := alpha / float64(rank)
			if l.RSLoRA {
				scale = alpha / math.Sqrt(float64(rank))
			}
			targets = append(targets, nn.Target{Index: i, Rank: rank, Scale: scale})
		}
		if targets != nil {
			linear.Adapt(&m.Adapter, l.DoRA, l.Dropout, &m.Draws, targets...)
		}
	}
	for i, u := range used {
		if !u {
			return fmt.Errorf("target %q names no linear layer; %s are there", l.Targets[i], strings.Join(m.moduleNames(), ", "))
		}
	}
	if len(m.Adapter.Weights) == 0 {
		if l.Pattern != "" {
			return fmt.Errorf("%q matches no linear layer's whole name; there are %s", l.Pattern, m.someLinears())
		}
		return fmt.Errorf("no linear layer is targeted; %s are there", strings.Join(m.moduleNames(), ", "))
	}
	m.LoRA = l
	m.Adapter.Allocate(tensor.Float32, m.Dtype, trained)
	err := m.factors(func(f factor) error {
		if f.kind != factorA {
			return nil
		}
		h := fnv.New64a()
		h.Write([]byte(f.name))
		r := rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
		bound := 1 / math.Sqrt(float64(f.Columns))
		for i := range f.values {
			f.values[i] = float32((2*r.Float64() - 1) * bound)
		}
		return nil
	})
	m.Adapter.Refresh()
	if err == nil && l.DoRA {
		for _, linear := range m.Linears() {
			if linear.Adapter != nil {
				linear.KeepLengths()
			}
		}
		m.Adapter.Refresh()
	}
	return err
}

// LearnB has each B, and DoRA's magnitudes, learn at ratio times the learning rate of A: LoRA+ (Hayou et al. 2024), as PEFT's
// create_loraplus_optimizer groups them. It counts for the optimiser that is made afterwards.
func (m *Model) LearnB(ratio float64) {
	for _, l := range m.Linears() {
		if l.Adapter == nil {
			continue
		}
		l.Adapter.B.Rate = ratio
		if l.Adapter.Magnitude != nil {
			l.Adapter.Magnitude.Rate = ratio
		}
	}
}

func (m *Model) moduleNames() []string {
	var names []string
	for _, l := range m.Linears() {
		for _, p := range l.Projections {
			if last := p.Name[strings.LastIndex(p.Name, ".")+1:]; !slices.Contains(names, last) {
				names = append(names, last)
			}
		}
	}
	return names
}

// someLinears names the first few linear layers.
func (m *Model) someLinears() string {
	var names []string
	for _, l := range m.Linears() {
		for _, p := range l.Projections {
			names = append(names, p.Name)
		}
	}
	return strings.Join(names[:3], ", ") + ", …"
}

// factor is A, B or the magnitudes of one module: values is a copy, row-major, that is stored back when f returns.
type factor struct {
	tensor.Place
	kind   string
	name   string // PEFT's
	values []float32
}

// The kinds of factor: what follows the module in PEFT's name of it.
const (
	factorA    = ".lora_A.weight"
	factorB    = ".lora_B.weight"
	magnitudes = ".lora_magnitude_vector"
)

// factorOf is the module and the kind of what PEFT names so; "" where it names no factor.
func factorOf(name string) (module, kind string) {
	name, _ = strings.CutPrefix(name, peftPrefix)
	for _, kind := range []string{factorA, factorB, magnitudes} {
		if module, ok := strings.CutSuffix(name, kind); ok {
			return module, kind
		}
	}
	return "", ""
}

// shape is the tensor's in a PEFT folder.
func (f *factor) shape() []int64 {
	if f.kind == magnitudes {
		return []int64{f.Columns}
	}
	return []int64{f.Rows, f.Columns}
}

// factors calls f with each factor of the adapter and stores its values.
func (m *Model) factors(f func(factor) error) error {
	scope := tensor.Open()
	defer scope.Close()
	return m.Adapter.Values.EditFloats(func(flat []float32) error {
		for _, l := range m.Linears() {
			if l.Adapter == nil {
				continue
			}
			for i, t := range l.Adapter.Targets {
				a, b := l.Adapter.Factors(i)
				own := []factor{{Place: a, kind: factorA}, {Place: b, kind: factorB}}
				if l.Adapter.Magnitude != nil {
					own = append(own, factor{Place: l.Adapter.Magnitudes(i), kind: magnitudes})
				}
				for _, x := range own {
					x.name = peftPrefix + l.Projections[t.Index].Name + x.kind
					x.values = make([]float32, x.Rows*x.Columns)
					for r := range x.Rows {
						copy(x.values[r*x.Columns:(r+1)*x.Columns], flat[x.Offset+r*x.Width:])
					}
					if err := f(x); err != nil {
						return err
					}
					for r := range x.Rows {
						copy(flat[x.Offset+r*x.Width:], x.values[r*x.Columns:(r+1)*x.Columns])
					}
				}
			}
		}
		return nil
	})
}

// ReadLoRA reads dir's adapter_config.json and refuses what would be computed wrongly.
func ReadLoRA(dir string) (*LoRA, error) {
	path := filepath.Join(dir, "adapter_config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l, err := parseLoRA(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func parseLoRA(b []byte) (*LoRA, error) {
	var f struct {
		Type          string             `json:"peft_type"`
		Rank          int64              `json:"r"`
		Alpha         *float64           `json:"lora_alpha"`
		Dropout       float64            `json:"lora_dropout"`
		RSLoRA        bool               `json:"use_rslora"`
		DoRA          bool               `json:"use_dora"`
		Bias          string             `json:"bias"`
		LoRABias      bool               `json:"lora_bias"`
		ModulesToSave []string           `json:"modules_to_save"`
		Targets       json.RawMessage    `json:"target_modules"`
		Exclude       json.RawMessage    `json:"exclude_modules"`
		Layers        json.RawMessage    `json:"layers_to_transform"`
		RankPattern   map[string]int64   `json:"rank_pattern"`
		AlphaPattern  map[string]float64 `json:"alpha_pattern"`
	}
	var all map[string]json.RawMessage
	if err := cmp.Or(json.Unmarshal(b, &f), json.Unmarshal(b, &all)); err != nil {
		return nil, ordjson.Explain(b, err)
	}
	l := &LoRA{Rank: f.Rank, Alpha: 8, Dropout: f.Dropout, RSLoRA: f.RSLoRA, DoRA: f.DoRA, RankPattern: f.RankPattern, AlphaPattern: f.AlphaPattern}
	if f.Alpha != nil {
		l.Alpha = *f.Alpha
	}
	switch {
	case f.Type != "LORA":
		return nil, fmt.Errorf("peft_type %q is not known (LORA is)", f.Type)
	case f.Rank <= 0 || f.Rank > 1<<16:
		return nil, fmt.Errorf("r is %d", f.Rank)
	case f.Bias != "" && f.Bias != "none":
		return nil, fmt.Errorf("bias %q is not known (none is)", f.Bias)
	case f.LoRABias:
		return nil, errors.New("lora_bias is not known")
	case len(f.ModulesToSave) > 0:
		return nil, fmt.Errorf("modules_to_save %v is not known", f.ModulesToSave)
	}
	// PEFT computes these into the weights of the base when it loads the adapter, or into each step: what is set among them is not
	// to be passed over.
	for _, name := range []string{"trainable_token_indices", "target_parameters", "alora_invocation_tokens", "layer_replication", "use_qalora",
		"use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "velora_config"} {
		if set(all[name]) {
			return nil, fmt.Errorf("%s is not known", name)
		}
	}
	switch init := string(all["init_lora_weights"]); init {
	case "", "null", "true", "false", `"gaussian"`, `"orthogonal"`, `"eva"`:
	default:
		return nil, fmt.Errorf("init_lora_weights %s changes the base: have PEFT write a plain adapter (save_pretrained with path_initial_model_for_weight_conversion)", init)
	}
	for pattern, rank := range f.RankPattern {
		if rank <= 0 || rank > 1<<16 {
			return nil, fmt.Errorf("rank_pattern: %s is %d", pattern, rank)
		}
	}
	if err := oneOrMany(f.Targets, &l.Pattern, &l.Targets); err != nil {
		return nil, fmt.Errorf("target_modules: %w", err)
	}
	if l.Pattern == "all-linear" {
		l.AllLinear, l.Pattern = true, ""
	}
	if err := oneOrMany(f.Exclude, &l.NotPattern, &l.Exclude); err != nil {
		return nil, within("exclude_modules", err)
	}
	if present(f.Layers) {
		var one int64
		if json.Unmarshal(f.Layers, &one) == nil {
			l.Layers = []int64{one}
		} else if err := json.Unmarshal(f.Layers, &l.Layers); err != nil {
			return nil, fmt.Errorf("layers_to_transform: %w", ordjson.Explain(f.Layers, err))
		}
	}
	return l, nil
}

// set reports whether a field of LoraConfig has another value than none.
func set(b json.RawMessage) bool {
	return !slices.Contains([]string{"", "null", "false", "[]", "{}"}, string(b))
}

func present(b json.RawMessage) bool { return len(b) > 0 && string(b) != "null" }

// oneOrMany decodes a string or a list of strings.
func oneOrMany(b json.RawMessage, one *string, many *[]string) error {
	if !present(b) {
		return nil
	}
	if b[0] == '"' {
		return json.Unmarshal(b, one)
	}
	return ordjson.Explain(b, json.Unmarshal(b, many))
}
