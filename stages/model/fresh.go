package model

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// classes names the class of transformers for each architecture, and the fields that its config has when they are left
// out: written down, so that every reader takes the same model.
var classes = map[string]struct {
	name     string
	defaults *ordjson.Object
}{
	"llama": {"LlamaForCausalLM", ordjson.New(
		ordjson.Member{Key: "max_position_embeddings", Value: ordjson.Number("2048")},
		ordjson.Member{Key: "attention_bias", Value: false}, ordjson.Member{Key: "mlp_bias", Value: false})},
	"qwen2": {"Qwen2ForCausalLM", ordjson.New(
		ordjson.Member{Key: "max_position_embeddings", Value: ordjson.Number("32768")})},
	"qwen3": {"Qwen3ForCausalLM", ordjson.New(
		ordjson.Member{Key: "max_position_embeddings", Value: ordjson.Number("32768")},
		ordjson.Member{Key: "head_dim", Value: ordjson.Number("128")}, ordjson.Member{Key: "attention_bias", Value: false})},
}

// shared are defaults of all three.
var shared = ordjson.New(
	ordjson.Member{Key: "hidden_act", Value: "silu"}, ordjson.Member{Key: "initializer_range", Value: ordjson.Number("0.02")},
	ordjson.Member{Key: "rms_norm_eps", Value: ordjson.Number("1e-06")}, ordjson.Member{Key: "tie_word_embeddings", Value: false},
	ordjson.Member{Key: "use_cache", Value: true})

// fresh writes a model of random weights, as transformers initialises it: matrices and embeddings normal with deviation
// initializer_range, norms one, biases and the row of the pad token zero.
func fresh(ctx context.Context, j *stages.Job, c *schemas.ModelLoad, out string) error {
	if err := copyTokenizer(j, c, out); err != nil {
		return err
	}
	config, err := completeConfig(c, out)
	if err != nil {
		return err
	}
	if err := modeldir.WriteObject(out, "config.json", config); err != nil {
		return err
	}
	parsed, err := model.ReadConfig(out)
	if err != nil {
		return reworded(err, filepath.Join(out, "config.json")+": ", "")
	}
	m, err := model.New(parsed)
	if err != nil {
		return err
	}
	var f struct {
		InitializerRange float64 `json:"initializer_range"`
		PadTokenID       *int64  `json:"pad_token_id"`
		Dtype            string  `json:"dtype"`
	}
	if err := json.Unmarshal(ordjson.Append(nil, config), &f); err != nil {
		return err
	}
	dtype, err := parseDtype(f.Dtype)
	if err != nil {
		return err
	}
	pad := int64(-1)
	if f.PadTokenID != nil {
		pad = *f.PadTokenID
	}
	var tensors []safetensors.Tensor
	if err := m.Base.Each(func(t nn.Tensor, _ int64) error {
		tensors = append(tensors, initial(t, dtype, c.Seed, f.InitializerRange, pad))
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	progress := func(done, total int64) { j.Progress(done, total, "bytes") }
	return safetensors.WriteDir(out, safetensors.Watch(ctx, tensors, progress), safetensors.MaxShard)
}

func initial(t nn.Tensor, d safetensors.Dtype, seed int64, std float64, pad int64) safetensors.Tensor {
	x := safetensors.Tensor{Name: t.Name, Dtype: d, Shape: t.Shape}
	n := x.Elements()
	switch {
	case strings.HasSuffix(t.Name, ".bias"):
		x.Data = make([]byte, n*d.Size())
	case strings.HasSuffix(t.Name, "norm.weight"):
		x.Data = make([]byte, n*d.Size())
		safetensors.PutFloats(x.Data, d, slices.Repeat([]float32{1}, int(n)))
	default:
		zero := int64(-1)
		if t.Name == "model.embed_tokens.weight" {
			zero = pad
		}
		x.Stream = func(w io.Writer) error {
			return normals(w, d, seed, t.Name, n, std, zero, t.Shape[len(t.Shape)-1])
		}
	}
	return x
}

// copyTokenizer copies the files of a tokenizer: of a model's artifact, or of a folder of the user's.
func copyTokenizer(j *stages.Job, c *schemas.ModelLoad, out string) error {
	if c.Tokenizer == nil {
		return nil
	}
	var dir string
	if c.Tokenizer.Edge != nil {
		dir = j.In("tokenizer").Path
	} else {
		dir = j.File("tokenizer")
	}
	if err := modeldir.CopyCompanions(out, dir); err != nil {
		return err
	}
	return modeldir.Edit(out, "tokenizer_config.json", dropPaths)
}

// completeConfig returns config.json: the user's fields, the architecture's defaults, and what the tokenizer knows.
func completeConfig(c *schemas.ModelLoad, out string) (*ordjson.Object, error) {
	b, err := json.Marshal(c.Config, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	config := &ordjson.Object{}
	if err := config.UnmarshalJSON(b); err != nil {
		return nil, err
	}
	kind, _ := config.Text("model_type")
	class, ok := classes[kind]
	if !ok {
		return nil, fmt.Errorf("model_type: %q is not known: llama, qwen2 or qwen3", kind)
	}
	add := func(key string, v ordjson.Value) {
		if old, ok := config.Get(key); !ok || old == nil {
			config.Set(key, v)
		}
	}
	add("architectures", []ordjson.Value{class.name})
	for _, defaults := range []*ordjson.Object{class.defaults, shared} {
		for _, d := range defaults.Members() {
			add(d.Key, d.Value)
		}
	}
	if heads, ok := config.Get("num_attention_heads"); ok {
		add("num_key_value_heads", heads) // transformers' own default for Qwen is 32, whatever the heads
	}
	dtype := c.Dtype
	if dtype == "auto" {
		dtype = "float32"
		for _, key := range []string{"dtype", "torch_dtype"} {
			if s, ok := config.Text(key); ok {
				dtype = strings.TrimPrefix(s, "torch.")
			}
		}
	}
	config.Delete("torch_dtype")
	config.Set("dtype", dtype)
	return config, addTokens(config, c, out)
}

// addTokens fills vocab_size and the ids of special tokens from the tokenizer.
func addTokens(config *ordjson.Object, c *schemas.ModelLoad, out string) error {
	if c.Tokenizer == nil {
		return nil
	}
	t, err := tokenizer.Load(out)
	if err != nil {
		return trim(err, out)
	}
	defer t.Close()
	number := func(n int32) ordjson.Number { return ordjson.Number(fmt.Sprint(n)) }
	if _, ok := config.Get("vocab_size"); !ok {
		config.Set("vocab_size", number(t.MaxID()+1))
	}
	generation := ordjson.New()
	for _, s := range []struct {
		key string
		id  int32
	}{{"bos_token_id", t.BOS.ID}, {"eos_token_id", t.EOS.ID}, {"pad_token_id", t.PAD.ID}} {
		v, ok := config.Get(s.key)
		if !ok && s.id >= 0 {
			v, ok = number(s.id), true
			config.Set(s.key, v)
		}
		if ok {
			generation.Set(s.key, v)
		}
	}
	// The tokenizer's folder may be a model's, whose own generation defaults are not this model's.
	return modeldir.WriteObject(out, "generation_config.json", generation)
}
