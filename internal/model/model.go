// Package model is the architectures: one file each, its weights bound in the open to the names of its checkpoint.
//
//	Config   config.json
//	Model    weights and the forward pass of a decoder, over rows of tokens that stand behind one another without padding
//	Input    the tokens of a pass and how attention sees them: packed rows, or rows with a cache
//	LoRA     an adapter on a model's linear layers; its file layout is PEFT's
package model

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
)

// Model is a decoder. Base holds its weights, Adapter those of LoRA on it.
type Model struct {
	Config  *Config
	Base    nn.Store
	Adapter nn.Store
	Draws   nn.Draws // dropout
	Dtype   tensor.Dtype

	LoRA *LoRA // absent without an adapter

	Noise float64 // NEFTune's alpha, of embeddings while Draws is on; 0 is none

	embedding, head *nn.Weight
	positions       *nn.Weight // learned, GPT-2's; absent in all others
	embeddingScale  float64    // Gemma's; 0 is none
	padding         int64      // the token whose embedding is not trained as an input
	logitCap        float64    // Gemma 2's; 0 is none
	layers          []layer
	norm            *nn.Norm
	rope            *nn.Rope // of layers that have no other
	ropes           []*nn.Rope
}

// layer takes the stream x and what is still to be added to it, r (absent before the first), and returns the same after it.
// x, r: [tokens, hidden].
type layer interface {
	forward(x, r tensor.Tensor, in Input) (tensor.Tensor, tensor.Tensor)
	linears() []*nn.Linear
}

// architecture is a model_type of transformers. Its config.json is read over defaults, rename moves fields that it calls
// otherwise, slides is which layers have the window where layer_types is absent, and declare binds the weights.
type architecture struct {
	defaults func(*file)
	rename   func(*file) error
	sizes    []string // the fields that a config.json must have, where they are not those of required
	slides   func(f *file, layer int) bool
	declare  func(*Model) error
}

var architectures = map[string]architecture{"llama": llama, "mistral": mistral, "qwen2": qwen2, "qwen3": qwen3, "gemma2": gemma2,
	"gemma3_text": gemma3, "phi3": phi3, "olmo2": olmo2, "smollm3": smollm3, "gpt2": gpt2}

// Architectures is the model types that are known, in order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

func unknown(kind string) error {
	known := Architectures()
	last := len(known) - 1
	return fmt.Errorf("model_type %q is not known (%s and %s are)", kind, strings.Join(known[:last], ", "), known[last])
}

// New declares the weights of a model without laying them out.
func New(c *Config) (*Model, error) {
	a, known := architectures[c.ModelType]
	if !known {
		return nil, unknown(c.ModelType)
	}
	rope, err := nn.NewRope(int64(float64(c.HeadDim)*c.PartialRotaryFactor), c.RopeTheta, c.RopeScaling)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, padding: c.PadTokenID, rope: rope, ropes: []*nn.Rope{rope}}
	if err := a.declare(m); err != nil {
		return nil, err
	}
	return m, nil
}

// declareEmbedding declares NAME.weight, the token embedding.
func (m *Model) declareEmbedding(name string) {
	m.embedding = m.Base.Declare(nn.Tensor{Name: name + ".weight", Shape: []int64{m.Config.VocabSize, m.Config.HiddenSize}})
}

// declareHead ties the vocabulary projection to the embedding, or declares lm_head.weight.
func (m *Model) declareHead() {
	if m.head = m.embedding; !m.Config.TieWordEmbeddings {
		m.head = m.Base.Declare(nn.Tensor{Name: "lm_head.weight", Shape: []int64{m.Config.VocabSize, m.Config.HiddenSize}})
	}
}

// Padding is the name of the token embedding, and the row of it that is zero in a fresh model; below zero none is.
func (m *Model) Padding() (name string, row int64) { return m.embedding.Parts[0].Name, m.padding }

// Input is the tokens of a forward pass.
type Input struct {
	IDs       []int64
	Positions []int64 // of each token within its row
	Lengths   []int64 // of each token's row; absent, each token is the last of its row
	// Attend is attention of a layer: q [tokens, heads, width], k [tokens, kv heads, width], v [tokens, kv heads·width] to
	// [tokens, heads, width]. Absent, it is WithinRows.
	Attend func(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor

	borders []int64 // of the rows
	whole   []int64 // where rows share what they begin with: each row's tokens behind one another, as places among the pass's
	own     []int64 // and where each of the pass's tokens is among those

	ids, position, rotation tensor.Tensor // IDs, Positions, and the rows of the rotations' tables
	rows                    tensor.Rows
	gather, back            tensor.Tensor // whole and own
	bound                   tensor.Tensor // of each token's noise, on a device: [tokens, 1]
}

// WithinRows is causal attention within each row of a packed or shared input.
func (in Input) WithinRows(q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
	if !in.gather.Defined() {
		return tensor.Attention(q, k, v, in.rows, s)
	}
	return tensor.Attention(q.Rows(in.gather), k.Rows(in.gather), v.Rows(in.gather), in.rows, s).Rows(in.back)
}

// attend is attention of a layer, as Attend.
func (in Input) attend(layer int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
	if in.Attend != nil {
		return in.Attend(layer, q, k, v, s)
	}
	return in.WithinRows(q, k, v, s)
}

// Packed is an input of whole rows behind one another, none seeing another.
func Packed(rows [][]int32) (Input, []int64) {
	in := Input{borders: []int64{0}}
	for _, row := range rows {
		for i, id := range row {
			in.IDs = append(in.IDs, int64(id))
			in.Positions = append(in.Positions, int64(i))
			in.Lengths = append(in.Lengths, int64(len(row)))
		}
		in.borders = append(in.borders, int64(len(in.IDs)))
	}
	in.rows = tensor.NewRows(in.borders)
	return in, in.borders
}

// begin makes an input known to the device. One over memory that stays is so already.
func (m *Model) begin(in *Input) error {
	if in.ids.Defined() {
		return nil
	}
	if err := m.check(in); err != nil {
		return err
	}
	n := int64(len(in.Positions))
	in.ids = tensor.Of(in.IDs, n)
	in.position = tensor.Of(in.Positions, n)
	in.rotation = in.position
	if len(m.ropes) == 1 {
		in.rotation = tensor.Of(m.rope.Rows(in.Positions, in.Lengths), n)
	}
	if m.noisy() && tensor.OnDevice() {
		in.bound = tensor.Of(m.bounds(*in), n, 1)
	}
	return nil
}

// check refuses what the model cannot read, and makes its tables reach as far as it goes.
func (m *Model) check(in *Input) error {
	top := int64(0)
	for _, p := range in.Positions {
		top = max(top, p)
	}
	for _, id := range in.IDs {
		if id < 0 || id >= m.Config.VocabSize {
			return fmt.Errorf("token %d is outside the vocabulary of %d", id, m.Config.VocabSize)
		}
	}
	if len(in.IDs) == 0 {
		return errors.New("no tokens")
	}
	if m.positions != nil && top >= m.positions.Shape[0] {
		return fmt.Errorf("a row of %d tokens: the model has %d positions", top+1, m.positions.Shape[0])
	}
	for _, r := range m.ropes {
		r.Reserve(top + 1)
	}
	return nil
}

// embed is the stream before the first layer: [tokens, hidden], float32 whatever products compute in, as under torch.autocast:
// what layers add to it is small, and bfloat16 would round it away.
func (m *Model) embed(in Input) tensor.Tensor {
	x := tensor.Embedding(m.embedding.Exact, in.ids, m.padding).To(tensor.Float32)
	if m.positions != nil {
		x = x.Add(tensor.Embedding(m.positions.Exact, in.position, -1))
	}
	if m.embeddingScale != 0 {
		x = x.Scaled(m.embeddingScale)
	}
	if m.noisy() {
		x = x.Add(m.noise(in))
	}
	return x
}

// Turns reports whether a row that grows to length tokens must be computed anew, all its tokens: LongRoPE rotates long rows
// otherwise, and what a cache holds of them was rotated as a short one's.
func (m *Model) Turns(length int64) bool { return length > 0 && length == m.rope.Turn() }

// Reach is how many tokens may follow a row of length tokens in one pass with a cache: up to such a turn, or the last position.
func (m *Model) Reach(length int64) int64 {
	reach := int64(math.MaxInt64)
	if m.positions != nil {
		reach = m.positions.Shape[0] - length
	}
	if turn := m.rope.Turn(); length < turn {
		reach = min(reach, turn-1-length)
	}
	return reach
}

// Hidden is the last layer's normalised output: [tokens, hidden].
func (m *Model) Hidden(in Input) (tensor.Tensor, error) {
	if err := m.begin(&in); err != nil {
		return tensor.Tensor{}, err
	}
	x, r := m.embed(in), tensor.Tensor{}
	for _, l := range m.layers {
		scope := tensor.Open()
		x, r = l.forward(x, r, in)
		scope.Close(x, r)
	}
	_, h := m.norm.Apply(x, r)
	return h, nil
}

// Head is the projection to the vocabulary.
func (m *Model) Head() tensor.Head { return tensor.Head{Weight: m.head.Tensor, Cap: m.logitCap} }

// Logits is the head's of h: [rows, vocabulary]. For a few rows; training goes through tensor.CrossEntropy.
func (m *Model) Logits(h tensor.Tensor) tensor.Tensor {
	z := tensor.Linear(h, m.head.Tensor, tensor.Tensor{}, h.Dtype())
	if m.logitCap == 0 {
		return z
	}
	by := func(x float64) tensor.Tensor { return tensor.Of([]float32{float32(x)}).To(z.Dtype()) }
	return z.Mul(by(1 / m.logitCap)).Tanh().Mul(by(m.logitCap))
}

// Layers is the number of layers, for a cache.
func (m *Model) Layers() int { return len(m.layers) }

// Linears is all linear layers but the head, with the names of the checkpoint, in order.
func (m *Model) Linears() []*nn.Linear {
	var all []*nn.Linear
	for _, l := range m.layers {
		all = append(all, l.linears()...)
	}
	return all
}

// Parameters counts the weights of the base.
func (m *Model) Parameters() int64 {
	var n int64
	for _, w := range m.Base.Weights {
		n += w.Count()
	}
	return n
}

// AdapterParameters counts the weights of the adapter.
func (m *Model) AdapterParameters() int64 {
	var n int64
	for _, l := range m.Linears() {
		if l.Adapter == nil {
			continue
		}
		for i := range l.Adapter.Targets {
			a, b := l.Adapter.Factors(i)
			n += a.Rows*a.Columns + b.Rows*b.Columns
			if l.Adapter.Magnitude != nil {
				n += b.Rows
			}
		}
	}
	return n
}

// Free releases the weights.
func (m *Model) Free() {
	for _, l := range m.Linears() {
		if l.Adapter != nil {
			l.Adapter.Free()
		}
	}
	m.Base.Free()
	m.Adapter.Free()
	for _, r := range m.ropes {
		r.Free()
	}
}
