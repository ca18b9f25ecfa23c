package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/ordjson"
)

// Config is the fields of config.json that the architectures here read, with transformers' names. Files written by
// transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters, dtype) are read alike.
type Config struct {
	ModelType             string
	HiddenSize            int64
	IntermediateSize      int64
	NumHiddenLayers       int
	NumAttentionHeads     int64
	NumKeyValueHeads      int64
	HeadDim               int64
	VocabSize             int64
	MaxPositionEmbeddings int64
	RMSNormEps            float64 // GPT-2: layer_norm_epsilon
	TieWordEmbeddings     bool
	AttentionBias         bool
	MLPBias               bool
	RopeTheta             float64
	RopeScaling           nn.RopeScaling
	PartialRotaryFactor   float64        // the share of a head's features that is rotated
	LocalRopeTheta        float64        // Gemma 3, layers with a window
	LocalRopeScaling      nn.RopeScaling // the same
	Rotates               []bool         // of each layer; SmolLM3's every fourth does not
	Windows               []int64        // of each layer: sliding_window where it slides; 0 is none
	QueryPreAttnScalar    float64        // Gemma: scores are divided by its root
	AttnLogitSoftcapping  float64        // Gemma 2; 0 is none
	FinalLogitSoftcapping float64        // the same
	Bidirectional         bool           // use_bidirectional_attention
	ScaleAttnWeights      bool           // GPT-2
	ScaleAttnByLayer      bool           // GPT-2: scale_attn_by_inverse_layer_idx
	Untied                bool           // config.json ties the head to the embedding, and the checkpoint holds another: see Load
	PadTokenID            int64          // whose embedding is not trained as an input; -1 is none
	Dtype                 string         // what the weights are stored in: float32, bfloat16, float16
}

// file is config.json as it is written. An architecture's defaults stand in it before it is read, as transformers' config
// class has them; what is nullable there is a pointer.
type file struct {
	HiddenSize           int64           `json:"hidden_size"`
	IntermediateSize     int64           `json:"intermediate_size"`
	NumHiddenLayers      int             `json:"num_hidden_layers"`
	NumAttentionHeads    int64           `json:"num_attention_heads"`
	KeyValueHeads        *int64          `json:"num_key_value_heads"`
	HeadDim              int64           `json:"head_dim"`
	VocabSize            int64           `json:"vocab_size"`
	MaxPositions         int64           `json:"max_position_embeddings"`
	OriginalMaxPositions int64           `json:"original_max_position_embeddings"`
	RMSNormEps           float64         `json:"rms_norm_eps"`
	Tie                  bool            `json:"tie_word_embeddings"`
	AttentionBias        bool            `json:"attention_bias"`
	MLPBias              bool            `json:"mlp_bias"`
	HiddenAct            string          `json:"hidden_act"`
	HiddenActivation     string          `json:"hidden_activation"` // Gemma's name of it
	SlidingWindow        *int64          `json:"sliding_window"`
	UseSlidingWindow     bool            `json:"use_sliding_window"` // true where there is no such field
	MaxWindowLayers      int             `json:"max_window_layers"`
	SlidingPattern       int             `json:"sliding_window_pattern"`
	LayerTypes           []string        `json:"layer_types"`
	NoRopeLayers         []int           `json:"no_rope_layers"` // 1 where a layer does rotate
	NoRopeInterval       int             `json:"no_rope_layer_interval"`
	QueryScalar          float64         `json:"query_pre_attn_scalar"`
	AttentionCap         *float64        `json:"attn_logit_softcapping"`
	FinalCap             *float64        `json:"final_logit_softcapping"`
	Bidirectional        bool            `json:"use_bidirectional_attention"`
	RopeTheta            *float64        `json:"rope_theta"`
	LocalTheta           *float64        `json:"rope_local_base_freq"`
	RopeScaling          json.RawMessage `json:"rope_scaling"`
	RopeParameters       json.RawMessage `json:"rope_parameters"`
	Partial              *float64        `json:"partial_rotary_factor"`
	Pad                  *int64          `json:"pad_token_id"`
	Dtype                string          `json:"dtype"`
	TorchDtype           string          `json:"torch_dtype"`
	Quantization         any             `json:"quantization_config"`
	gpt2File

	Activation string `json:"-"` // the one that the architecture has
	phi3       bool   // part of a head may be rotated, and LongRoPE is known
	uniform    bool   // all layers slide or none
}

// required are the fields without defaults: a model of a size that nobody named is nobody's wish.
var required = []string{"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}

// Fields names what is read of a config.json, of all architectures.
func Fields() []string {
	names := []string{"model_type"}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				add(f.Type)
			} else if name := f.Tag.Get("json"); name != "" && name != "-" {
				names = append(names, name)
			}
		}
	}
	add(reflect.TypeFor[file]())
	return names
}

func of[T any](x T) *T { return &x }

func always(*file, int) bool { return true }

// rotates reports whether layer i encodes positions.
func (f *file) rotates(i int) bool {
	switch {
	case f.NoRopeLayers != nil:
		return f.NoRopeLayers[i] != 0
	case f.NoRopeInterval > 0:
		return (i+1)%f.NoRopeInterval != 0
	}
	return true
}

// ReadConfig reads dir's config.json.
func ReadConfig(dir string) (*Config, error) {
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "config.json"), err)
	}
	return c, nil
}

// ParseConfig reads config.json's bytes and refuses what the architectures here would compute wrongly.
func ParseConfig(b []byte) (*Config, error) {
	var kind struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, ordjson.Explain(b, err)
	}
	f := file{RMSNormEps: 1e-6, RopeTheta: of(1e4), Activation: "silu"}
	a, known := architectures[kind.ModelType]
	if !known {
		return nil, unknown(kind.ModelType)
	}
	if a.defaults != nil {
		a.defaults(&f)
	}
	var given map[string]json.RawMessage
	if err := cmp.Or(json.Unmarshal(b, &f), json.Unmarshal(b, &given)); err != nil {
		return nil, ordjson.Explain(b, err)
	}
	sizes := required
	if a.sizes != nil {
		sizes = a.sizes
	}
	if missing := slices.DeleteFunc(slices.Clone(sizes), func(name string) bool { return present(given[name]) }); len(missing) > 0 {
		return nil, fmt.Errorf("%s: missing", strings.Join(missing, ", "))
	}
	if a.rename != nil {
		if err := a.rename(&f); err != nil {
			return nil, err
		}
	}
	c := &Config{
		ModelType: kind.ModelType, HiddenSize: f.HiddenSize, IntermediateSize: f.IntermediateSize,
		NumHiddenLayers: f.NumHiddenLayers, NumAttentionHeads: f.NumAttentionHeads, NumKeyValueHeads: f.NumAttentionHeads,
		HeadDim: f.HeadDim, VocabSize: f.VocabSize, MaxPositionEmbeddings: f.MaxPositions, RMSNormEps: f.RMSNormEps,
		TieWordEmbeddings: f.Tie, AttentionBias: f.AttentionBias, MLPBias: f.MLPBias, QueryPreAttnScalar: f.QueryScalar,
		Bidirectional: f.Bidirectional, ScaleAttnWeights: f.ScaleWeights, ScaleAttnByLayer: f.InverseLayer,
		PadTokenID: -1, Dtype: cmp.Or(f.Dtype, f.TorchDtype),
	}
	if f.Pad != nil {
		c.PadTokenID = *f.Pad
	}
	if f.KeyValueHeads != nil {
		c.NumKeyValueHeads = *f.KeyValueHeads
	}
	if f.AttentionCap != nil {
		c.AttnLogitSoftcapping = *f.AttentionCap
	}
	if f.FinalCap != nil {
		c.FinalLogitSoftcapping = *f.FinalCap
	}
	for name, v := range map[string]int64{"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": int64(c.NumHiddenLayers),
		"num_attention_heads": c.NumAttentionHeads, "vocab_size": c.VocabSize} {
		if v <= 0 || v > 1<<32 || name == "num_hidden_layers" && v > 1<<16 {
			return nil, fmt.Errorf("%s is %d", name, v)
		}
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if c.HeadDim < 1 || c.HeadDim > 1<<16 {
		return nil, fmt.Errorf("head_dim is %d", c.HeadDim)
	}
	if c.RMSNormEps < 0 || c.RMSNormEps > 1 {
		return nil, fmt.Errorf("rms_norm_eps is %g", c.RMSNormEps)
	}
	if n := float64(c.MaxPositionEmbeddings); n < 0 || n > 1<<32 {
		return nil, fmt.Errorf("max_position_embeddings is %g", n)
	}
	for name, v := range map[string]*float64{"attn_logit_softcapping": f.AttentionCap, "final_logit_softcapping": f.FinalCap} {
		if v != nil && *v <= 0 {
			return nil, fmt.Errorf("%s is %g", name, *v)
		}
	}
	if c.NumKeyValueHeads <= 0 || c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		return nil, fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	if f.Quantization != nil {
		return nil, fmt.Errorf("quantization_config: quantised checkpoints are read from GGUF alone")
	}
	if err := f.activation(); err != nil {
		return nil, err
	}
	if err := c.layers(&f, a.slides); err != nil {
		return nil, err
	}
	return c, c.ropes(&f)
}

// activation refuses another than the architecture's. The names of one function are taken for each other.
func (f *file) activation() error {
	same := map[string]string{"swish": "silu", "gelu_new": "gelu_pytorch_tanh"}
	canonical := func(name string) string { return cmp.Or(same[name], name) }
	stated := f.HiddenAct
	if canonical(f.Activation) == "gelu_pytorch_tanh" {
		stated = f.HiddenActivation // hidden_act, which old files have too, is not read
	}
	if stated != "" && canonical(stated) != canonical(f.Activation) {
		return fmt.Errorf("hidden_act %q is not known (%s is)", stated, f.Activation)
	}
	return nil
}

// layers fills in which layers have a window and which rotate; slides is the rule where layer_types is absent.
func (c *Config) layers(f *file, slides func(*file, int) bool) error {
	n := c.NumHiddenLayers
	if f.NoRopeLayers != nil && len(f.NoRopeLayers) < n {
		return fmt.Errorf("no_rope_layers has %d entries, there are %d layers", len(f.NoRopeLayers), n)
	}
	if f.LayerTypes != nil && len(f.LayerTypes) != n {
		return fmt.Errorf("layer_types has %d entries, there are %d layers", len(f.LayerTypes), n)
	}
	if f.LayerTypes != nil && f.uniform {
		return fmt.Errorf("layer_types is not known in a %s, whose layers are alike", c.ModelType)
	}
	if f.SlidingPattern < 0 || f.SlidingPattern == 0 && f.LocalTheta != nil {
		return fmt.Errorf("sliding_window_pattern is %d", f.SlidingPattern)
	}
	var window int64
	if f.UseSlidingWindow && f.SlidingWindow != nil && slides != nil {
		if window = *f.SlidingWindow; window <= 0 {
			return fmt.Errorf("sliding_window is %d", window)
		}
	}
	c.Rotates, c.Windows = make([]bool, n), make([]int64, n)
	for i := range n {
		c.Rotates[i] = f.rotates(i)
		slide := window > 0 && slides(f, i)
		if f.LayerTypes != nil {
			switch f.LayerTypes[i] {
			case "full_attention":
				slide = false
			case "sliding_attention":
				slide = true
			default:
				return fmt.Errorf("layer_types: %q is not known", f.LayerTypes[i])
			}
		}
		if slide && window == 0 {
			return fmt.Errorf("layer_types: layer %d slides, and there is no sliding_window", i)
		}
		if slide {
			c.Windows[i] = window
		}
	}
	return nil
}

type ropeFile struct {
	Theta     *float64  `json:"rope_theta"`
	Type      string    `json:"rope_type"`
	OldType   string    `json:"type"`
	Factor    float64   `json:"factor"`
	Low       float64   `json:"low_freq_factor"`
	High      float64   `json:"high_freq_factor"`
	Original  int64     `json:"original_max_position_embeddings"`
	Partial   *float64  `json:"partial_rotary_factor"`
	Short     []float64 `json:"short_factor"`
	Long      []float64 `json:"long_factor"`
	Attention float64   `json:"attention_factor"`
}

// ropes reads how positions are rotated: one way for all layers, or in Gemma 3 one for those with a window and one for the
// others, which transformers 5 writes by layer type.
func (c *Config) ropes(f *file) error {
	var byType struct {
		Full    *ropeFile `json:"full_attention"`
		Sliding *ropeFile `json:"sliding_attention"`
	}
	var one, local *ropeFile
	for _, field := range []struct {
		name string
		json.RawMessage
	}{{"rope_parameters", f.RopeParameters}, {"rope_scaling", f.RopeScaling}} {
		if !present(field.RawMessage) || one != nil {
			continue
		}
		if err := json.Unmarshal(field.RawMessage, &byType); err != nil {
			return fmt.Errorf("%s: %w", field.name, ordjson.Explain(field.RawMessage, err))
		}
		if one, local = byType.Full, byType.Sliding; one == nil {
			if err := json.Unmarshal(field.RawMessage, &one); err != nil {
				return fmt.Errorf("%s: %w", field.name, ordjson.Explain(field.RawMessage, err))
			}
		}
	}
	if local != nil && f.LocalTheta == nil {
		return fmt.Errorf("rope_parameters by layer type are not known in a %s", c.ModelType)
	}
	c.PartialRotaryFactor = 1
	if f.Partial != nil {
		c.PartialRotaryFactor = *f.Partial
	}
	var err error
	if c.RopeTheta, c.RopeScaling, err = c.rope(f, *cmp.Or(f.RopeTheta, of(1e4)), one); err != nil || f.LocalTheta == nil {
		return err
	}
	c.LocalRopeTheta, c.LocalRopeScaling, err = c.rope(f, *f.LocalTheta, local)
	return err
}

func (c *Config) rope(f *file, theta float64, r *ropeFile) (float64, nn.RopeScaling, error) {
	if r == nil {
		r = &ropeFile{}
	}
	if r.Theta != nil {
		theta = *r.Theta
	}
	if r.Partial != nil {
		c.PartialRotaryFactor = *r.Partial
	}
	s := nn.RopeScaling{Type: cmp.Or(r.Type, r.OldType), Factor: r.Factor, Low: r.Low, High: r.High, Original: r.Original,
		Short: r.Short, Long: r.Long, Attention: r.Attention}
	if f.phi3 && (s.Type == "su" || s.Type == "yarn") { // as LongRoPE was called before it had a name
		s.Type = "longrope"
	}
	switch {
	case theta <= 0:
		return 0, s, fmt.Errorf("rope_theta is %g", theta)
	case c.PartialRotaryFactor != 1 && !f.phi3:
		return 0, s, fmt.Errorf("partial_rotary_factor is not known")
	case c.PartialRotaryFactor <= 0 || c.PartialRotaryFactor > 1 || int64(float64(c.HeadDim)*c.PartialRotaryFactor) < 2:
		return 0, s, fmt.Errorf("partial_rotary_factor is %g", c.PartialRotaryFactor)
	case s.Type == "llama3" && (s.Factor <= 0 || s.Low <= 0 || s.High <= s.Low || s.Original <= 0):
		return 0, s, fmt.Errorf("rope_scaling: llama3 needs factor, low_freq_factor, high_freq_factor and original_max_position_embeddings")
	case s.Type == "linear" && s.Factor <= 0:
		return 0, s, fmt.Errorf("rope_scaling: linear needs a factor")
	case s.Type == "longrope" && !f.phi3:
		return 0, s, fmt.Errorf("rope_scaling: longrope is known in phi3 alone")
	}
	if s.Type != "longrope" {
		return theta, s, nil
	}
	s.Original = f.OriginalMaxPositions
	if s.Original <= 1 {
		return 0, s, fmt.Errorf("original_max_position_embeddings is %d", s.Original)
	}
	if s.Attention == 0 {
		s.Attention = 1
		if by := cmp.Or(s.Factor, float64(c.MaxPositionEmbeddings)/float64(s.Original)); by > 1 {
			s.Attention = math.Sqrt(1 + math.Log(by)/math.Log(float64(s.Original)))
		}
	}
	return theta, s, nil
}
