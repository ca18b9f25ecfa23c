package cost

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/hone-ml/hone/internal/bounded"
)

// Model is the shape of a language model.
type Model struct {
	Layers, Hidden, Inner    int64 // Inner is the width of the feed-forward network
	Heads, KeyHeads, HeadDim int64
	Vocabulary               int64
	Gated                    bool  // a feed-forward network of three matrices, not two
	Tied                     bool  // the head is the embedding
	StoredBytes              int64 // of a weight in the checkpoint: 2 or 4
	Adapter                  int64 // weights of an adapter on it
	Tuned                    bool  // it was trained on answers, and ends them
	Prelude                  int64 // bytes that its template puts before a conversation without a system message
}

// Linear is the weights of the linear layers but the head.
func (m Model) Linear() int64 {
	attention := m.Hidden * m.HeadDim * (2*m.Heads + 2*m.KeyHeads)
	matrices := int64(2)
	if m.Gated {
		matrices = 3
	}
	return m.Layers * (attention + matrices*m.Hidden*m.Inner)
}

// Head is the weights that turn a state into logits.
func (m Model) Head() int64 { return m.Vocabulary * m.Hidden }

// Parameters is all weights, without an adapter.
func (m Model) Parameters() int64 {
	n := m.Linear() + m.Head() + m.Hidden*(2*m.Layers+1)
	if !m.Tied {
		n += m.Head()
	}
	return n
}

// LoRA is the weights of an adapter of that rank on every linear layer but the head (Hu et al. 2021, arXiv:2106.09685): rank
// times the width of each layer's input and output.
func (m Model) LoRA(rank int64) int64 {
	q, kv := m.Heads*m.HeadDim, m.KeyHeads*m.HeadDim
	widths := 2*(m.Hidden+q) + 2*(m.Hidden+kv) + 2*(m.Hidden+m.Inner)
	if m.Gated {
		widths += m.Hidden + m.Inner
	}
	return m.Layers * rank * widths
}

// BytesPerToken is the text that a token stands for. It grows with the logarithm of the vocabulary: English has about four bytes a token
// at 32,000 and four and a half at 128,000; a vocabulary of bytes has one.
func (m Model) BytesPerToken() float64 {
	return max(1, 1+0.43*math.Log2(float64(m.Vocabulary)/256))
}

// Same says whether two models are of one shape.
func (m Model) Same(o Model) bool {
	o.StoredBytes, o.Adapter, o.Tuned, o.Prelude = m.StoredBytes, m.Adapter, m.Tuned, m.Prelude
	return m == o
}

// configLimit bounds a config.json and a tokenizer.json.
const configLimit = 64 << 20

// ReadModel reads the shape of a model out of a Hugging Face folder's config.json.
func ReadModel(dir string) (Model, error) {
	b, err := bounded.ReadFile(filepath.Join(dir, "config.json"), configLimit)
	if err != nil {
		return Model{}, err
	}
	return ParseModel(b)
}

// ParseModel reads the shape out of a config.json. What it leaves out is as transformers has it.
func ParseModel(b []byte) (Model, error) {
	var c struct {
		ModelType string `json:"model_type"`
		Hidden    int64  `json:"hidden_size"`
		Inner     int64  `json:"intermediate_size"`
		Layers    int64  `json:"num_hidden_layers"`
		Heads     int64  `json:"num_attention_heads"`
		KeyHeads  int64  `json:"num_key_value_heads"`
		HeadDim   int64  `json:"head_dim"`
		Vocab     int64  `json:"vocab_size"`
		Tied      *bool  `json:"tie_word_embeddings"`
		Dtype     string `json:"dtype"`
		Torch     string `json:"torch_dtype"`
		Embd      int64  `json:"n_embd"` // GPT-2's names
		Layer     int64  `json:"n_layer"`
		Head      int64  `json:"n_head"`
		NInner    int64  `json:"n_inner"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return Model{}, err
	}
	m := Model{
		Layers: c.Layers, Hidden: c.Hidden, Inner: c.Inner, Heads: c.Heads, KeyHeads: c.KeyHeads, HeadDim: c.HeadDim, Vocabulary: c.Vocab,
		Gated: true, StoredBytes: 4,
	}
	if c.ModelType == "gpt2" {
		m.Layers, m.Hidden, m.Heads, m.Inner, m.Gated, m.Tied = c.Layer, c.Embd, c.Head, c.NInner, false, true
		if m.Inner == 0 {
			m.Inner = 4 * m.Hidden
		}
	}
	switch c.ModelType {
	case "gemma2", "gemma3_text", "smollm3":
		m.Tied = true
	}
	if c.Tied != nil {
		m.Tied = *c.Tied
	}
	if m.KeyHeads == 0 {
		m.KeyHeads = m.Heads
	}
	if m.HeadDim == 0 && m.Heads > 0 {
		m.HeadDim = m.Hidden / m.Heads
	}
	if dtype := c.Dtype + c.Torch; strings.Contains(dtype, "16") {
		m.StoredBytes = 2
	}
	return m, m.Check()
}

// largest bounds each size, so that no product of them overflows.
const largest = 1 << 20

// Check says whether sizes are those of a model, of which no product overflows.
func (m Model) Check() error {
	for _, size := range []struct {
		name string
		n    int64
	}{{"hidden size", m.Hidden}, {"intermediate size", m.Inner}, {"layers", m.Layers}, {"heads", m.Heads}, {"key heads", m.KeyHeads}, {"head dimension", m.HeadDim}} {
		if size.n < 1 || size.n > largest {
			return fmt.Errorf("%s: %d", size.name, size.n)
		}
	}
	if m.Vocabulary < 0 || m.Vocabulary > 16*largest {
		return fmt.Errorf("vocabulary: %d", m.Vocabulary)
	}
	return nil
}

// ReadVocabulary counts the tokens of a folder's tokenizer.json.
func ReadVocabulary(dir string) (int64, error) {
	path := filepath.Join(dir, "tokenizer.json")
	b, err := bounded.ReadFile(path, configLimit)
	if err != nil {
		return 0, err
	}
	var t struct {
		Model struct {
			Vocab json.RawMessage `json:"vocab"` // tokens by name, or a list of them with scores
		} `json:"model"`
		Added []struct {
			ID int64 `json:"id"`
		} `json:"added_tokens"`
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	var named map[string]json.RawMessage
	var listed []json.RawMessage
	if json.Unmarshal(t.Model.Vocab, &named) != nil && json.Unmarshal(t.Model.Vocab, &listed) != nil {
		return 0, fmt.Errorf("%s: no vocabulary", path)
	}
	n := int64(len(named) + len(listed))
	for _, added := range t.Added {
		n = max(n, added.ID+1)
	}
	return n, nil
}
