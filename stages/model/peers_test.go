package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// peerCase is what bench/peers/logits_check.py compares: a folder of ours and the logits that we compute with it.
type peerCase struct {
	Name     string    `json:"name"`
	Model    string    `json:"model"`
	Adapter  string    `json:"adapter"`
	File     string    `json:"file"`   // a GGUF file in Model
	Config   string    `json:"config"` // the folder of its config.json, where the peer's own reading of the file is not enough
	Quantize string    `json:"quantize"`
	IDs      [][]int32 `json:"ids"`
	Expected string    `json:"expected"`
	Texts    []string  `json:"texts"` // of a GGUF file, to tokenize

	tokens   [][]int32 // what the peer is to make of them
	template string    // and to find in the file
}

// peered computes the logits of three rows with m, which was loaded or trained by us.
func peered(t *testing.T, name string, m *model.Model, base, adapter string) peerCase {
	t.Helper()
	c := peerCase{Name: name, Model: base, Adapter: adapter, Expected: filepath.Join(t.TempDir(), "expected.safetensors")}
	random := rand.New(rand.NewPCG(3, 5))
	var tensors []safetensors.Tensor
	for i, n := range []int{1, 9, 40} {
		row := make([]int32, n)
		for k := range row {
			row[k] = int32(random.Int64N(m.Config.VocabSize))
		}
		c.IDs = append(c.IDs, row)
		tensor.NoGrad(func() {
			in, _ := model.Packed([][]int32{row})
			h, err := m.Hidden(in)
			if err != nil {
				t.Fatal(err)
			}
			logits := m.Logits(h)
			tensors = append(tensors, safetensors.Tensor{Name: fmt.Sprintf("logits.%d", i), Dtype: "F32",
				Shape: []int64{int64(n), m.Config.VocabSize}, Data: bytes.Clone(logits.Bytes())})
		})
	}
	if err := safetensors.Write(c.Expected, tensors, safetensors.PyTorch); err != nil {
		t.Fatal(err)
	}
	return c
}

// adapters are those that SaveAdapter writes, with every field that says where factors are and how they scale.
var adapters = map[string]model.LoRA{
	"all-linear": {Rank: 4, Alpha: 8, AllLinear: true},
	"rslora":     {Rank: 8, Alpha: 4, RSLoRA: true, Targets: []string{"q_proj", "v_proj"}},
	"patterns": {Rank: 4, Alpha: 8, Targets: []string{"q_proj", "o_proj", "mlp.down_proj"},
		RankPattern: map[string]int64{"down_proj": 2, "layers.0.self_attn.q_proj": 6}, AlphaPattern: map[string]float64{"o_proj": 3}},
	"rslora patterns": {Rank: 4, Alpha: 8, RSLoRA: true, AllLinear: true,
		RankPattern: map[string]int64{"k_proj": 1, `.*\.1\.mlp\.up_proj`: 7}, AlphaPattern: map[string]float64{"k_proj": 5}},
	"dora": {Rank: 4, Alpha: 8, DoRA: true, AllLinear: true},
	"dora patterns": {Rank: 4, Alpha: 8, DoRA: true, Targets: []string{"q_proj", "o_proj", "mlp.down_proj"},
		RankPattern: map[string]int64{"down_proj": 2, "layers.0.self_attn.q_proj": 6}, AlphaPattern: map[string]float64{"o_proj": 3}},
	"expression":   {Rank: 3, Alpha: 6, Pattern: `.*\.layers\.1\..*(gate|up)_proj`},
	"layers":       {Rank: 3, Alpha: 6, Targets: []string{"k_proj", "up_proj"}, Layers: []int64{1}},
	"but excluded": {Rank: 3, Alpha: 6, AllLinear: true, Exclude: []string{"down_proj"}},
}

// PEFT and transformers compute with what hone writes what hone does, within 1e-4: adapters of any config on any
// architecture, trained models and adapters, and merges. HONE_PEERS names a Python that has both.
func TestPeersComputeTheSame(t *testing.T) {
	python := os.Getenv("HONE_PEERS")
	if python == "" {
		t.Skip("HONE_PEERS is not set")
	}
	tensor.Lock()
	defer tensor.Open().Close()
	var cases []peerCase
	for _, base := range []string{"llama-tied", "qwen2", "qwen3"} {
		for name, l := range adapters {
			cases = append(cases, randomAdapter(t, base, name, l))
		}
	}
	for base, targets := range map[string][]string{"gemma2": {"o_proj"}, "gemma3": {"q_proj"}, "phi3": {"gate_up_proj", "qkv_proj"}, "olmo2": {"k_proj"}, "gpt2": {"c_proj", "c_attn", "h.1.mlp.c_fc"}} {
		cases = append(cases, randomAdapter(t, base, "all-linear", model.LoRA{Rank: 4, Alpha: 4, AllLinear: true}),
			randomAdapter(t, base, "dora", model.LoRA{Rank: 4, Alpha: 4, DoRA: true, AllLinear: true}))
		for _, target := range targets {
			cases = append(cases, randomAdapter(t, base, target, model.LoRA{Rank: 4, Alpha: 4, Targets: []string{target}}))
		}
	}
	dirs, err := filepath.Glob(filepath.Join(toys, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if !exists(dir, "config.json") {
			continue
		}
		cases = append(cases, saved(t, dir), quantised(t, dir))
	}
	for kind, config := range freshConfigs {
		r := stagetest.Run(t.Context(), t, freshJob(t, `{"model_type": "`+kind+`", "vocab_size": 128, `+config+`}`, 7, ""), Load)
		if r.Code != 0 {
			t.Fatal(kind, r.Last())
		}
		m, err := loadModel(job.Input{Path: r.Out("model")}, tensor.Float32)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, peered(t, "fresh "+kind, m, r.Out("model"), ""))
		m.Free()
	}
	open := func(name string, in job.Input) {
		m, err := loadModel(in, tensor.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		if in.Base != nil {
			cases = append(cases, peered(t, name, m, in.Base.Path, in.Path))
		} else {
			cases = append(cases, peered(t, name, m, in.Path, ""))
		}
	}
	data := rows(t, filepath.Join(trainData, "messages.jsonl"))
	full, _ := tune(t, data, nil, nil)
	open("trained", full)
	adapter, _ := tune(t, data, nil, func(c *schemas.TrainSFT) {
		c.LoRA = &schemas.LoRA{Rank: 4, Alpha: 8, Dropout: 0.1, RSLoRA: true, Targets: schemas.Targets{AllLinear: true}}
	})
	open("trained adapter", adapter)
	dora, _ := tune(t, data, nil, func(c *schemas.TrainSFT) {
		c.LearningRate = 2e-2
		c.LoRA = &schemas.LoRA{Rank: 4, Alpha: 8, Dropout: 0.1, DoRA: true, Targets: schemas.Targets{AllLinear: true}}
	})
	open("trained with DoRA", dora)
	for kind, targets := range map[string]schemas.Targets{
		"gpt2": {Suffixes: []string{"c_attn", "mlp.c_proj"}}, "phi3": {Pattern: `.*\.(qkv|gate_up)_proj`}, "qwen3": {Pattern: `.*\.layers\.1\.mlp\..*`},
	} {
		j := freshJob(t, `{"model_type": "`+kind+`", `+freshConfigs[kind]+`}`, 7, "smollm")
		do(t, j)
		adapter, _ := tune(t, data, map[string]job.Input{"model": {Kind: "model", Path: j.Out["model"].Path}}, func(c *schemas.TrainSFT) {
			c.LearningRate = 2e-2
			c.LoRA = &schemas.LoRA{Rank: 4, Alpha: 8, Targets: targets}
		})
		open("trained adapter of "+kind, adapter)
	}
	onNF4, _ := tune(t, data, nil, func(c *schemas.TrainSFT) {
		c.LearningRate = 2e-2
		c.LoRA = &schemas.LoRA{Rank: 4, Alpha: 8, Quantize: "nf4", DoubleQuantize: true, Targets: schemas.Targets{AllLinear: true}}
	})
	open("trained on NF4, over the whole model", onNF4)
	m, err := model.LoadNF4(onNF4.Base.Path, tensor.Float32, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.LoadAdapter(onNF4.Path, false); err != nil {
		t.Fatal(err)
	}
	over := peered(t, "trained on NF4, over it", m, onNF4.Base.Path, onNF4.Path)
	over.Quantize = "nf4"
	cases = append(cases, over)
	m.Free()
	for name, a := range map[string]job.Input{"merged": adapter, "merged DoRA": dora} {
		j := stagetest.New(t, "model.merge", `{"model": {"kind": "adapter", "from": "m", "port": "model"}}`, map[string]string{"model": "model"})
		j.Inputs["model"] = a
		do(t, j)
		open(name, job.Input{Kind: "model", Path: j.Out["model"].Path})
		same := cases[len(cases)-1]
		same.Name, same.Model, same.Adapter = name+", as its adapter", a.Base.Path, a.Path
		cases = append(cases, same)
	}
	compare(t, python, cases)
}

// freshConfigs are small models of each architecture.
var freshConfigs = map[string]string{
	"llama": small, "mistral": small + `, "sliding_window": 8`, "qwen2": small, "qwen3": small + `, "head_dim": 8`, "olmo2": small,
	"gemma2": small + `, "head_dim": 8, "sliding_window": 8`, "gemma3_text": small + `, "head_dim": 8, "sliding_window": 8`,
	"phi3": small + `, "pad_token_id": 0`, "smollm3": small + `, "pad_token_id": 0, "no_rope_layer_interval": 2`,
	"gpt2": `"n_embd": 32, "n_layer": 2, "n_head": 4`,
}

const small = `"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2`

// saved writes a toy model anew.
func saved(t *testing.T, dir string) peerCase {
	t.Helper()
	m, err := model.Load(dir, tensor.Float32, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	out := t.TempDir()
	if err := m.Save(out, dir, tensor.Float32); err != nil {
		t.Fatal(err)
	}
	return peered(t, "saved "+filepath.Base(dir), m, out, "")
}

// quantised holds a toy's linear layers in NF4.
func quantised(t *testing.T, dir string) peerCase {
	t.Helper()
	m, err := model.LoadNF4(dir, tensor.Float32, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	c := peered(t, "NF4 "+filepath.Base(dir), m, dir, "")
	c.Quantize = "nf4"
	return c
}

// randomAdapter writes an adapter whose factors are drawn.
func randomAdapter(t *testing.T, base, name string, l model.LoRA) peerCase {
	t.Helper()
	dir := absolute(t, toys, base)
	m, err := model.Load(dir, tensor.Float32, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if err := m.Adapt(&l, 1, false); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	values := m.Adapter.Values.Floats()
	for _, linear := range m.Linears() {
		if linear.Adapter == nil {
			continue
		}
		for i := range linear.Adapter.Targets {
			a, b := linear.Adapter.Factors(i)
			all := []tensor.Place{a, b}
			if l.DoRA {
				all = append(all, linear.Adapter.Magnitudes(i))
			}
			for _, f := range all {
				for k := range f.Rows * f.Columns { // what pads a row stays zero
					values[f.Offset+k/f.Columns*f.Width+k%f.Columns] = 0.3 * float32(random.NormFloat64())
				}
			}
		}
	}
	m.Adapter.Refresh()
	out := t.TempDir()
	if err := m.SaveAdapter(out, ""); err != nil {
		t.Fatal(err)
	}
	return peered(t, base+" "+name, m, dir, out)
}

// compare runs the peers on all cases in one process.
func compare(t *testing.T, python string, cases []peerCase) {
	t.Helper()
	b, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cases.json")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "../../bench/peers/logits_check.py", path)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	d, compared := json.NewDecoder(bytes.NewReader(out)), 0
	for ; ; compared++ {
		r := struct {
			Name       string
			Difference float64
			Moved      *float64
			Others     []string
			Tokens     [][]int32
			Template   string
		}{Difference: math.NaN()}
		if err := d.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !(r.Difference <= 1e-4) {
			t.Errorf("%s: logits are %g from ours", r.Name, r.Difference)
		}
		if len(r.Others) > 0 {
			t.Errorf("%s: %d tensors are not on both sides: %s, …", r.Name, len(r.Others), r.Others[0])
		}
		if compared >= len(cases) || r.Name != cases[compared].Name {
			t.Fatalf("%s: compared out of turn", r.Name)
		}
		if d := cmp.Diff(cases[compared].tokens, r.Tokens, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: ids of %q: %s", r.Name, cases[compared].Texts, d)
		}
		if r.Template != cases[compared].template {
			t.Errorf("%s: template %q", r.Name, r.Template)
		}
		if r.Moved != nil && !(*r.Moved > 1e-2) {
			t.Errorf("%s: the adapter moves logits by %g", r.Name, *r.Moved)
		}
	}
	if compared != len(cases) {
		t.Errorf("%d of %d compared", compared, len(cases))
	}
}
