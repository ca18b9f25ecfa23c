package gguf

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/ordjson"
)

// configFile is the fields of config.json that a GGUF file has a place for, and those that would change what is computed.
type configFile struct {
	ModelType    string         `json:"model_type"`
	Hidden       int64          `json:"hidden_size"`
	Inner        int64          `json:"intermediate_size"`
	Layers       int64          `json:"num_hidden_layers"`
	Heads        int64          `json:"num_attention_heads"`
	KeyHeads     *int64         `json:"num_key_value_heads"`
	HeadDim      *int64         `json:"head_dim"`
	Vocabulary   int64          `json:"vocab_size"`
	Context      int64          `json:"max_position_embeddings"`
	Epsilon      jsontext.Value `json:"rms_norm_eps"`
	Tied         *bool          `json:"tie_word_embeddings"`
	Bias         bool           `json:"attention_bias"`
	MLPBias      bool           `json:"mlp_bias"`
	Activation   string         `json:"hidden_act"`
	Sliding      bool           `json:"use_sliding_window"`
	Quantization jsontext.Value `json:"quantization_config"`
	Theta        jsontext.Value `json:"rope_theta"`
	Scaling      *ropeFile      `json:"rope_scaling"`
	Parameters   *ropeFile      `json:"rope_parameters"`
	Name         string         `json:"_name_or_path"`

	Window     *int64         `json:"sliding_window"`
	Pattern    *int64         `json:"sliding_window_pattern"`
	LayerTypes []string       `json:"layer_types"`
	Gate       string         `json:"hidden_activation"` // Gemma's hidden_act
	Query      *float64       `json:"query_pre_attn_scalar"`
	ScoreCap   jsontext.Value `json:"attn_logit_softcapping"`
	LogitCap   jsontext.Value `json:"final_logit_softcapping"`
	LocalTheta *float64       `json:"rope_local_base_freq"`
	Original   int64          `json:"original_max_position_embeddings"`
	Partial    *float64       `json:"partial_rotary_factor"`
	NoRope     []int          `json:"no_rope_layers"`
	NoRopeStep *int64         `json:"no_rope_layer_interval"`
	gpt2File

	long *ropeFile // Phi-3's rotation
}

// ropeFile is rope_scaling (transformers 4) or rope_parameters (5).
type ropeFile struct {
	Theta     jsontext.Value `json:"rope_theta"`
	Type      string         `json:"rope_type"`
	OldType   string         `json:"type"`
	Factor    jsontext.Value `json:"factor"`
	Low       float64        `json:"low_freq_factor"`
	High      float64        `json:"high_freq_factor"`
	Original  int64          `json:"original_max_position_embeddings"`
	Partial   *float64       `json:"partial_rotary_factor"`
	Attention *float64       `json:"attention_factor"`
	Short     []float32      `json:"short_factor"`
	Long      []float32      `json:"long_factor"`
	Full      *ropeFile      `json:"full_attention"` // by layer type
	Local     *ropeFile      `json:"sliding_attention"`
}

// openConfig reads the config.json of a Hugging Face folder, and the name of the model on the hub or "". What a GGUF
// file has no place for is an error, all at once.
func openConfig(dir string) (*config, string, error) {
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	var f configFile
	if err := json.Unmarshal(b, &f, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, ordjson.Explain(b, err))
	}
	c, err := f.config()
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return c, f.Name, nil
}

func (f *configFile) config() (*config, error) {
	if f.ModelType == "mistral" && f.Window != nil && *f.Window < f.Context {
		return nil, fmt.Errorf("sliding_window: %d: llama.cpp has no window in Mistral's layers", *f.Window)
	}
	a, err := findArchitecture(strings.Replace(f.ModelType, "mistral", "llama", 1), func(a architecture) string { return a.modelType })
	if err != nil {
		return nil, fmt.Errorf("model_type: %w", err)
	}
	if a.modelType == "gpt2" {
		f.rename()
	}
	c := &config{architecture: a, layers: f.Layers, hidden: f.Hidden, inner: f.Inner, heads: f.Heads, keyHeads: f.Heads,
		vocabulary: f.Vocabulary, context: f.Context, tied: a.tied, attentionBias: f.Bias && !a.qkvBias, biasedMLP: f.MLPBias && a.mlpBias,
		epsilon: f.Epsilon, theta: f.Theta}
	var problems []error
	wrong := func(format string, a ...any) { problems = append(problems, fmt.Errorf(format, a...)) }
	for _, size := range []struct {
		name string
		n    int64
	}{{"hidden_size", c.hidden}, {"intermediate_size", c.inner}, {"num_hidden_layers", c.layers}, {"num_attention_heads", c.heads},
		{"vocab_size", c.vocabulary}, {"max_position_embeddings", c.context}} {
		if size.n < 1 || size.n > math.MaxInt32 {
			wrong("%s is %d", size.name, size.n)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if f.Tied != nil {
		c.tied = *f.Tied
	}
	c.headDim = c.hidden / c.heads
	if f.HeadDim != nil {
		c.headDim = *f.HeadDim
	}
	if f.KeyHeads != nil {
		c.keyHeads = *f.KeyHeads
	}
	if c.keyHeads < 1 || c.heads%c.keyHeads != 0 || c.headDim < 2 || c.headDim%2 != 0 || c.headDim > maxSize {
		wrong("%d heads, %d key heads of %d dimensions: do not divide", c.heads, c.keyHeads, c.headDim)
	}
	if err := f.activation(a); err != nil {
		problems = append(problems, err)
	}
	if f.Sliding {
		wrong("use_sliding_window is not supported")
	}
	if f.Quantization != nil && f.Quantization.Kind() != 'n' {
		wrong("quantization_config: the weights are quantised already")
	}
	c.rotated = c.headDim
	if err := c.rope(f); err != nil {
		problems = append(problems, err)
	}
	if a.write != nil {
		if err := a.write(c, f); err != nil {
			problems = append(problems, err)
		}
	}
	if c.epsilon == nil {
		c.epsilon = jsontext.Value("1e-6")
		if c.fused || c.wideNorms { // as Phi-3's and OLMo 2's config classes have it
			c.epsilon = jsontext.Value("1e-5")
		}
	}
	if c.theta == nil {
		c.theta = jsontext.Value("10000.0")
	}
	for _, number := range []jsontext.Value{c.epsilon, c.theta} {
		if _, err := float(number); err != nil {
			problems = append(problems, err)
		}
	}
	return c, errors.Join(problems...)
}

// rope reads how positions are rotated. A file holds what the architecture's code in llama.cpp reads.
func (c *config) rope(f *configFile) error {
	r := f.Parameters
	if r == nil {
		r = f.Scaling
	}
	if r == nil {
		return nil
	}
	if r.Full != nil {
		if l := r.Local; l != nil && l.Theta != nil {
			x, err := float(l.Theta)
			if err != nil {
				return err
			}
			f.LocalTheta = &x
		}
		r = r.Full
	}
	if r.Theta != nil {
		c.theta = r.Theta
	}
	kind := r.Type
	if kind == "" {
		kind = r.OldType
	}
	if c.fused { // Phi-3's is its own
		f.long = r
		return nil
	}
	if r.Partial != nil && *r.Partial != 1 {
		return fmt.Errorf("partial_rotary_factor: %v is not supported", *r.Partial)
	}
	switch s := (&scaling{kind: kind, factor: r.Factor, low: r.Low, high: r.High, original: r.Original}); {
	case kind == "" || kind == "default":
		return nil
	case kind != "linear" && kind != "yarn" && kind != "llama3" || kind == "llama3" && !c.stretched:
		return fmt.Errorf("rope_type: %q is not supported for %s in GGUF", kind, c.modelType)
	case kind == "llama3" && (r.Low <= 0 || r.High <= r.Low), kind != "linear" && r.Original <= 0:
		return fmt.Errorf("rope_type: %q lacks a field, or one is out of range", kind)
	case r.Attention != nil:
		return fmt.Errorf("attention_factor: %v is not supported", *r.Attention)
	default:
		if kind == "linear" {
			s.original = 0
		}
		c.scaling = s
	}
	if factor, err := float(r.Factor); err != nil || factor <= 0 {
		return errors.Join(fmt.Errorf("rope_type: %q without a factor", kind), err)
	}
	return nil
}

// float reads a number as it is written in config.json.
func float(v jsontext.Value) (float64, error) {
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: not a number", v)
	}
	return x, nil
}

// metadata returns the sizes under llama.cpp's keys.
func (c *config) metadata() []pair {
	key := func(name string) string { return c.name + "." + name }
	number := func(v jsontext.Value) float32 { x, _ := float(v); return float32(x) }
	if c.modelType == "gpt2" {
		return c.gpt2Metadata()
	}
	all := []pair{
		{key("block_count"), uint32(c.layers)},
		{key("context_length"), uint32(c.context)},
		{key("embedding_length"), uint32(c.hidden)},
		{key("feed_forward_length"), uint32(c.inner)},
		{key("attention.head_count"), uint32(c.heads)},
		{key("attention.head_count_kv"), uint32(c.keyHeads)},
		{key("attention.key_length"), uint32(c.headDim)},
		{key("attention.value_length"), uint32(c.headDim)},
		{key("attention.layer_norm_rms_epsilon"), number(c.epsilon)},
		{key("rope.dimension_count"), uint32(c.rotated)},
		{key("rope.freq_base"), number(c.theta)},
		{key("vocab_size"), uint32(c.vocabulary)},
	}
	if s := c.scaling; s != nil && s.kind != "llama3" { // whose factors are a tensor
		all = append(all, pair{key("rope.scaling.type"), s.kind}, pair{key("rope.scaling.factor"), number(s.factor)})
		if s.original > 0 {
			all = append(all, pair{key("rope.scaling.original_context_length"), uint32(s.original)})
		}
	}
	for _, p := range c.own {
		all = append(all, pair{key(p.key), p.value})
	}
	return all
}
