package model

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/near"
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
	"llama":   {"LlamaForCausalLM", withShared("max_position_embeddings", 2048, "attention_bias", false, "mlp_bias", false)},
	"mistral": {"MistralForCausalLM", withShared("max_position_embeddings", 131072, "sliding_window", nil)},
	"qwen2":   {"Qwen2ForCausalLM", withShared("max_position_embeddings", 32768)},
	"qwen3":   {"Qwen3ForCausalLM", withShared("max_position_embeddings", 32768, "head_dim", 128, "attention_bias", false)},
	"gemma2": {"Gemma2ForCausalLM", withShared("max_position_embeddings", 8192, "head_dim", 256, "hidden_activation", "gelu_pytorch_tanh",
		"query_pre_attn_scalar", 256, "sliding_window", 4096, "attn_logit_softcapping", 50.0, "final_logit_softcapping", 30.0,
		"attention_bias", false, "tie_word_embeddings", true)},
	"gemma3_text": {"Gemma3ForCausalLM", withShared("max_position_embeddings", 131072, "head_dim", 256, "hidden_activation", "gelu_pytorch_tanh",
		"query_pre_attn_scalar", 256, "sliding_window", 4096, "attention_bias", false, "tie_word_embeddings", true)},
	"phi3": {"Phi3ForCausalLM", withShared("max_position_embeddings", 4096, "original_max_position_embeddings", 4096,
		"sliding_window", nil, "rms_norm_eps", 1e-5)},
	"olmo2": {"Olmo2ForCausalLM", withShared("max_position_embeddings", 2048, "attention_bias", false, "rms_norm_eps", 1e-5)},
	"smollm3": {"SmolLM3ForCausalLM", withShared("max_position_embeddings", 32768, "attention_bias", false, "mlp_bias", false,
		"no_rope_layer_interval", 4, "tie_word_embeddings", true)},
	"gpt2": {"GPT2LMHeadModel", fields("n_positions", 1024, "n_inner", nil, "activation_function", "gelu_new", "layer_norm_epsilon", 1e-5,
		"resid_pdrop", 0.1, "embd_pdrop", 0.1, "attn_pdrop", 0.1, "initializer_range", 0.02, "tie_word_embeddings", true, "use_cache", true)},
}

// fields are pairs of a key and a value.
func fields(pairs ...any) *ordjson.Object {
	o := ordjson.New()
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case int:
			o.Set(pairs[i].(string), ordjson.Number(strconv.Itoa(v)))
		case float64:
			n := strconv.FormatFloat(v, 'g', -1, 64)
			if !strings.ContainsAny(n, ".e") {
				n += ".0"
			}
			o.Set(pairs[i].(string), ordjson.Number(n))
		default:
			o.Set(pairs[i].(string), v)
		}
	}
	return o
}

// withShared is an architecture's fields, and those that all but GPT-2 have alike.
func withShared(pairs ...any) *ordjson.Object {
	o := fields(pairs...)
	for _, m := range fields("hidden_act", "silu", "initializer_range", 0.02, "rms_norm_eps", 1e-6, "tie_word_embeddings", false, "use_cache", true).Members() {
		_, named := o.Get("hidden_activation")
		if _, set := o.Get(m.Key); !set && !(named && m.Key == "hidden_act") {
			o.Set(m.Key, m.Value)
		}
	}
	return o
}

// fresh writes a model of random weights, as transformers initialises it: matrices and embeddings normal with deviation
// initializer_range, norms one (Gemma's zero, to which one is added), biases and the row of the pad token zero.
func fresh(ctx context.Context, j *stages.Job, c *schemas.ModelLoad, out string) error {
	if err := copyTokenizer(j, c, out); err != nil {
		return err
	}
	config, err := completeConfig(c, out)
	if err != nil {
		return err
	}
	for _, m := range config.Members() {
		if meant := misspelt(m.Key); meant != "" {
			j.Warn("config: %s: did you mean %s?", m.Key, meant)
		}
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
		Dtype            string  `json:"dtype"`
	}
	if err := json.Unmarshal(ordjson.Append(nil, config), &f); err != nil {
		return err
	}
	if f.InitializerRange < 0 || f.InitializerRange > 100 {
		return fmt.Errorf("initializer_range is %g", f.InitializerRange)
	}
	dtype, err := parseDtype(f.Dtype)
	if err != nil {
		return err
	}
	values := initialiser{seed: c.Seed, dtype: dtype, std: f.InitializerRange, layers: m.Layers()}
	values.embedding, values.padding = m.Padding()
	var tensors []safetensors.Tensor
	if err := m.Base.Each(func(t nn.Tensor, _ int64) error {
		tensors = append(tensors, values.tensor(t))
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	progress := func(done, total int64) { j.Progress(done, total, "bytes") }
	return safetensors.WriteDir(out, safetensors.Watch(ctx, tensors, progress), safetensors.MaxShard)
}

func (i initialiser) tensor(t nn.Tensor) safetensors.Tensor {
	x := safetensors.Tensor{Name: t.Name, Dtype: i.dtype, Shape: t.Stored()}
	std, zero := i.std, int64(-1)
	switch t.Init {
	case nn.Zeros, nn.Ones:
		x.Data = make([]byte, x.Elements()*i.dtype.Size())
		if t.Init == nn.Ones {
			safetensors.PutFloats(x.Data, i.dtype, slices.Repeat([]float32{1}, int(x.Elements())))
		}
		return x
	case nn.Residual:
		std /= math.Sqrt(2 * float64(i.layers))
	}
	if t.Name == i.embedding {
		zero = i.padding
	}
	x.Stream = func(w io.Writer) error {
		return normals(w, i.dtype, i.seed, t.Name, x.Elements(), std, zero, x.Shape[len(x.Shape)-1])
	}
	return x
}

// initialiser is what the values of a fresh model follow from.
type initialiser struct {
	seed      int64
	dtype     safetensors.Dtype
	std       float64
	layers    int
	embedding string // the tensor whose row padding is zero
	padding   int64
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
		return nil, fmt.Errorf("model_type: %q is not known: %s", kind, strings.Join(slices.Sorted(maps.Keys(classes)), ", "))
	}
	add := func(key string, v ordjson.Value) {
		if old, ok := config.Get(key); !ok || old == nil {
			config.Set(key, v)
		}
	}
	add("architectures", []ordjson.Value{class.name})
	for _, d := range class.defaults.Members() {
		add(d.Key, d.Value)
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

// unread are fields of transformers' configs that no architecture here reads.
var unread = []string{"architectures", "attention_dropout", "attn_pdrop", "bos_token_id", "embd_pdrop", "eos_token_id", "initializer_range",
	"mlp_dropout", "n_ctx", "name_or_path", "pretraining_tp", "reorder_and_upcast_attn", "resid_pdrop", "transformers_version", "use_cache"}

// misspelt is the field that the name of one that is not known is near to, or "".
func misspelt(name string) string {
	known := append(model.Fields(), unread...)
	if slices.Contains(known, name) {
		return ""
	}
	return near.Name(name, known)
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
