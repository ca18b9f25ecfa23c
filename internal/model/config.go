package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/nn"
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
	RMSNormEps            float64
	TieWordEmbeddings     bool
	AttentionBias         bool
	MLPBias               bool
	RopeTheta             float64
	RopeScaling           nn.RopeScaling
	PadTokenID            int64  // whose embedding is not trained as an input; -1 is none
	Dtype                 string // what the weights are stored in: float32, bfloat16, float16
}

type ropeFile struct {
	Theta    *float64 `json:"rope_theta"`
	Type     string   `json:"rope_type"`
	OldType  string   `json:"type"`
	Factor   float64  `json:"factor"`
	Low      float64  `json:"low_freq_factor"`
	High     float64  `json:"high_freq_factor"`
	Original int64    `json:"original_max_position_embeddings"`
	Partial  *float64 `json:"partial_rotary_factor"`
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
	var f struct {
		ModelType             string    `json:"model_type"`
		HiddenSize            int64     `json:"hidden_size"`
		IntermediateSize      int64     `json:"intermediate_size"`
		NumHiddenLayers       int       `json:"num_hidden_layers"`
		NumAttentionHeads     int64     `json:"num_attention_heads"`
		NumKeyValueHeads      int64     `json:"num_key_value_heads"`
		HeadDim               int64     `json:"head_dim"`
		VocabSize             int64     `json:"vocab_size"`
		MaxPositionEmbeddings int64     `json:"max_position_embeddings"`
		RMSNormEps            *float64  `json:"rms_norm_eps"`
		Tie                   *bool     `json:"tie_word_embeddings"`
		AttentionBias         bool      `json:"attention_bias"`
		MLPBias               bool      `json:"mlp_bias"`
		HiddenAct             string    `json:"hidden_act"`
		UseSlidingWindow      bool      `json:"use_sliding_window"`
		RopeTheta             *float64  `json:"rope_theta"`
		RopeScaling           *ropeFile `json:"rope_scaling"`
		RopeParameters        *ropeFile `json:"rope_parameters"`
		Pad                   *int64    `json:"pad_token_id"`
		Dtype                 string    `json:"dtype"`
		TorchDtype            string    `json:"torch_dtype"`
		Quantization          any       `json:"quantization_config"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	c := &Config{
		ModelType: f.ModelType, HiddenSize: f.HiddenSize, IntermediateSize: f.IntermediateSize,
		NumHiddenLayers: f.NumHiddenLayers, NumAttentionHeads: f.NumAttentionHeads, NumKeyValueHeads: f.NumKeyValueHeads,
		HeadDim: f.HeadDim, VocabSize: f.VocabSize, MaxPositionEmbeddings: f.MaxPositionEmbeddings,
		AttentionBias: f.AttentionBias, MLPBias: f.MLPBias, RMSNormEps: 1e-6, RopeTheta: 10000,
		Dtype: f.Dtype,
	}
	if f.RMSNormEps != nil {
		c.RMSNormEps = *f.RMSNormEps
	}
	if c.Dtype == "" {
		c.Dtype = f.TorchDtype
	}
	c.PadTokenID = -1
	if f.Pad != nil {
		c.PadTokenID = *f.Pad
	}
	if f.Tie != nil {
		c.TieWordEmbeddings = *f.Tie
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	for name, v := range map[string]int64{"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": int64(c.NumHiddenLayers),
		"num_attention_heads": c.NumAttentionHeads, "vocab_size": c.VocabSize} {
		if v <= 0 || v > 1<<32 {
			return nil, fmt.Errorf("%s is %d", name, v)
		}
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if c.NumKeyValueHeads < 0 || c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		return nil, fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	if f.HiddenAct != "" && f.HiddenAct != "silu" && f.HiddenAct != "swish" {
		return nil, fmt.Errorf("hidden_act %q is not known (silu is)", f.HiddenAct)
	}
	if f.UseSlidingWindow {
		return nil, fmt.Errorf("use_sliding_window is not known")
	}
	if f.Quantization != nil {
		return nil, fmt.Errorf("quantization_config: quantised checkpoints are read from GGUF alone")
	}
	return c, c.rope(f.RopeTheta, f.RopeScaling, f.RopeParameters)
}

func (c *Config) rope(theta *float64, old, parameters *ropeFile) error {
	if theta != nil {
		c.RopeTheta = *theta
	}
	r := parameters
	if r == nil {
		r = old
	}
	if r == nil {
		return nil
	}
	if r.Theta != nil {
		c.RopeTheta = *r.Theta
	}
	if r.Partial != nil && *r.Partial != 1 {
		return fmt.Errorf("partial_rotary_factor is not known")
	}
	kind := r.Type
	if kind == "" {
		kind = r.OldType
	}
	c.RopeScaling = nn.RopeScaling{Type: kind, Factor: r.Factor, Low: r.Low, High: r.High, Original: r.Original}
	if kind == "llama3" && (r.Factor <= 0 || r.Low <= 0 || r.High <= r.Low || r.Original <= 0) {
		return fmt.Errorf("rope_scaling: llama3 needs factor, low_freq_factor, high_freq_factor and original_max_position_embeddings")
	}
	if kind == "linear" && r.Factor <= 0 {
		return fmt.Errorf("rope_scaling: linear needs a factor")
	}
	return nil
}
