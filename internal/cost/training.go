package cost

import "math"

// Training is steps of gradient descent.
type Training struct {
	Model      Model
	Adapter    int64 // weights of the adapter that is trained; 0 where the model is
	Quantized  bool  // the model's linear layers are in four bits (NF4)
	Double     bool  // and their scales in eight
	DType      string
	Optimizer  string // adamw, adafactor, lion, muon
	Checkpoint bool   // activations are computed again (gradient checkpointing)

	Steps      float64
	Accumulate float64 // passes of a step
	Rows       float64 // of a pass
	Tokens     float64 // of a row
	Labels     float64 // of them trained
	Longest    float64 // tokens of the longest row, which memory is for
	Gathered   float64 // tokens of the longest pass that attention has copies of
	Likelihood bool    // the loss is a function of log-likelihoods: logits are computed twice
	Forwards   float64 // further forward passes over the same rows: a reference's

	Evaluated float64 // tokens of forward passes between the steps
	Saves     float64 // checkpoints written
	Kept      int64   // checkpoints kept at once
	Text      float64 // bytes of text to tokenize
}

// Bytes of float32, and of weights that an optimiser remembers of each: AdamW two moments, Lion one, Muon one of matrices and two of the
// embedding, Adafactor the means of rows and columns, which are next to nothing.
const word = 4

func moments(optimizer string, m Model) float64 {
	switch optimizer {
	case "lion":
		return 1
	case "adafactor":
		return 0.01
	case "muon":
		return 1 + float64(m.Head())/float64(max(m.Parameters(), 1))
	}
	return 2
}

// forward is the FLOP of a token's forward pass through all but the head: two a weight, and attention over half of a row (Kaplan et al.
// 2020, table 1: 2·N + 2·n_layer·n_ctx·d_attn, of which a causal kernel computes half).
func (m Model) forward(row float64) float64 {
	return 2*float64(m.Linear()) + 2*float64(m.Layers*m.Heads*m.HeadDim)*row
}

// head is the FLOP of a token's logits.
func (m Model) head() float64 { return 2 * float64(m.Head()) }

// FLOP is that of one pass forward and back, per row of a batch.
func (t Training) FLOP() float64 {
	body, head := t.Model.forward(t.Tokens)*t.Tokens, t.Model.head()*t.Labels
	times := 3.0 // forward, and backward to activations and to weights: 6·N a token
	if t.Adapter > 0 {
		times = 2 // nothing goes back to weights that stand still: 4·N
	}
	if t.Checkpoint {
		times++
	}
	flop := times*body + (times+t.Forwards)*head + t.Forwards*body
	if t.Likelihood {
		flop += head
	}
	return flop + thin*6*float64(t.Adapter)*t.Tokens
}

// thin is how much longer an adapter's products take than others of as many FLOP: a rank is narrow.
const thin = 4

// Estimate predicts a training on a machine.
func (t Training) Estimate(m Machine) Estimate {
	trained := float64(t.trained())
	passes := t.Steps * t.Accumulate
	rate := m.Products(t.DType) * m.Step
	layers := float64(t.Model.Layers) + 2 // embedding and head cost about what a layer does
	pass := t.FLOP()*t.Rows/rate + (3+t.Forwards)*layers*m.Layer
	remembered := moments(t.Optimizer, t.Model)
	update := trained * word * (4 + 2*remembered) / m.Bandwidth // weights, gradients and moments, read and written
	state := trained * word * (1 + remembered)
	e := Estimate{
		Mapped: m.Resident + int64(t.weights()+t.load()),
		Fixed:  m.Start + t.load()/m.Disk + t.Text/textRate + trained*word*(1/m.Disk+1/m.Hash),
		Work: passes*pass + t.Steps*update +
			t.Evaluated*(t.Model.forward(t.Tokens)+t.Model.head())/rate,
	}
	saves := max(t.Saves, math.Floor(e.Work/saveAfter))
	e.Work += saves * state / m.Disk
	e.Disk = int64(trained*word + min(float64(t.Kept), saves)*state)
	if t.Adapter == 0 {
		e.Least = int64(t.weights() + trained*word*(1+remembered)) // gradients, moments; the weights are counted
	} else {
		e.Least = int64(t.weights() + trained*word*(2+remembered))
	}
	e.Memory = e.Least + m.Resident + int64(t.activations())
	e.Fixed += t.Model.opened(m, t.load(), float64(e.Least))
	if m.Device != "cpu" {
		e.Mapped = 0
	}
	return e
}

// opened is the seconds until a model of so many bytes is read: the tokenizer is built, the checkpoint's hash is checked, and memory is
// taken from the system, which clears it.
func (m Model) opened(on Machine, checkpoint, held float64) float64 {
	return float64(m.Vocabulary)*tokenTime + checkpoint/on.Hash + held/clearRate
}

// Seconds that a token costs a tokenizer as it is built, and bytes a second that a system gives a process.
const tokenTime, clearRate = 8e-6, 1e9

// saveAfter is the seconds after which a step is saved whatever saveEvery says (stages/model/fit.go).
const saveAfter = 120

// textRate is bytes of text a second through template and tokenizer, of one thread.
const textRate = 2e6

func (t Training) trained() int64 {
	if t.Adapter > 0 {
		return t.Adapter
	}
	return t.Model.Parameters()
}

// load is the bytes of the checkpoint.
func (t Training) load() float64 { return float64(t.Model.Parameters() * t.Model.StoredBytes) }

// weights is the bytes that hold the model: float32 where it is trained, with a copy in bfloat16 where it computes in that; where it
// stands still, the dtype of the computation; NF4 is four bits and a scale a block of 64, eight bits and a scale a block of 256 of them
// where doubled (Dettmers et al. 2023, arXiv:2305.14314).
func (t Training) weights() float64 {
	n, width := float64(t.Model.Parameters()), float64(word)
	if t.DType == "bfloat16" {
		width = 2
	}
	switch {
	case t.Adapter == 0 && width == 2:
		return n * (word + width)
	case t.Adapter == 0:
		return n * word
	case t.Quantized:
		scale := word / 64.0
		if t.Double {
			scale = 1/64.0 + word/(64*256.0)
		}
		packed := float64(t.Model.Linear())
		return packed*(0.5+scale) + (n-packed)*width
	}
	return n * width
}

// activations is the bytes that a backward pass needs of the forward pass, as Korthikanti et al. 2022 (arXiv:2205.05198, section 4)
// count them, for the operators here, which keep no scores of attention: of a token and layer the stream, both norms' outputs, q, k and v
// with their rotated copies, what attention gave, and gate, up and their product. The stream is float32, the rest of the dtype. With
// checkpointing the stream of each layer and all of one layer is kept. Where rows share their beginnings, attention has q, k, v and its output of all rows.
func (t Training) activations() float64 {
	m, width := t.Model, float64(word)
	if t.DType == "bfloat16" {
		width = 2
	}
	q, kv, gates := float64(m.Heads*m.HeadDim), float64(m.KeyHeads*m.HeadDim), 2.0
	if m.Gated {
		gates = 3
	}
	stream := 2 * word * float64(m.Hidden)
	layer := stream + width*(3*float64(m.Hidden)+3*q+4*kv+gates*float64(m.Inner))
	tokens, layers := t.Rows*t.Longest, float64(m.Layers)
	kept := layers * layer
	if t.Checkpoint {
		kept = layers*word*float64(m.Hidden) + layer
	}
	backward := layer // gradients of one layer's activations
	gathered := t.Gathered * width * 2 * (q + kv)
	if !t.Checkpoint {
		gathered *= layers
	}
	return tokens*(kept+backward) + gathered + 2*logitRows*word*float64(m.Vocabulary)
}

// logitRows is the rows of logits that are held at once (internal/train).
const logitRows = 128
