package cost

import "math"

// Answering is rows that a model reads, and perhaps answers.
type Answering struct {
	Model  Model
	DType  string
	Frozen bool // the weights are as training holds them, not as answering does

	Rows    float64 // prompts
	Prompt  float64 // tokens of each
	Answers float64 // of each; 0 where rows are only read
	New     float64 // tokens of an answer
	Batch   float64 // answers decoded at once
	Longest int64   // tokens that the cache has room for
	Text    float64 // bytes of text to tokenize
	Heads   float64 // tokens of a row whose logits are computed
	Drawn   bool    // tokens are drawn from a distribution
	Graded  float64 // answers that a program of the user's scores, which nobody can foresee
}

// fewRows is the share of the rate of matrix products that products of few rows reach.
const fewRows = 0.35

// Estimate predicts answering on a machine. A token that is decoded costs the reading of all weights, once for all rows of a batch, and their
// products; the two do not overlap.
func (a Answering) Estimate(m Machine) Estimate {
	rate := m.Products(a.DType)
	layers := float64(a.Model.Layers) + 2
	n := float64(a.Model.Parameters())
	if !a.Model.Tied {
		n -= float64(a.Model.Head()) // looked up
	}
	n += float64(a.Model.Adapter)
	logits := a.Heads
	if a.Answers > 0 {
		logits = 1
	}
	read := a.Rows*a.Prompt*a.Model.forward(a.Prompt)/(rate*m.Step) + a.Rows*logits*a.Model.head()/(rate*m.Step)
	passes := math.Ceil(a.Rows / max(a.Batch, 1))
	e := Estimate{Fixed: m.Start + n*float64(a.Model.StoredBytes)/m.Disk + a.Text/textRate, Work: read + passes*layers*m.Layer}
	if a.Answers > 0 {
		tokens := a.Rows * a.Answers * a.New
		batch := min(a.Batch, a.Rows*a.Answers)
		context := a.Prompt + a.New/2
		once := n*a.width()/m.Bandwidth + layers*m.Layer
		each := 2*n/(rate*fewRows) + 2*float64(a.Model.Layers*a.Model.KeyHeads*a.Model.HeadDim)*word*context/m.Bandwidth
		e.Work += tokens/batch*once + tokens*each
	}
	if a.Drawn { // the processor draws, whatever the model is computed on
		e.Work += a.Rows * a.Answers * a.New * float64(a.Model.Vocabulary) * drawTime / min(float64(m.Threads), max(a.Batch, 1))
	}
	cache := 2 * float64(a.Model.Layers*a.Model.KeyHeads*a.Model.HeadDim) * a.cached()
	e.Least = int64(n * a.width())
	e.Memory = e.Least + m.Resident + int64(min(a.Batch, max(a.Rows*a.Answers, 1))*(cache*float64(a.Longest)+word*float64(a.Model.Vocabulary))) + int64(a.reading())
	if a.Drawn {
		e.Memory += int64(min(a.Batch, a.Rows*a.Answers) * float64(a.Model.Vocabulary) * (word + 2*candidate))
	}
	e.Fixed += a.Model.opened(m, n*float64(a.Model.StoredBytes), float64(e.Least))
	if m.Device == "cpu" {
		e.Mapped = m.Resident + e.Least + int64(n*float64(a.Model.StoredBytes))
	}
	e.Disk = int64(a.Rows * max(a.Answers, 1) * a.New * a.Model.BytesPerToken())
	return e
}

// candidate is the bytes of a token that may be drawn (internal/sample); a list of them is copied as it grows.
const candidate = 16

// drawTime is the seconds that a token of the vocabulary takes of each draw (BenchmarkWhole of internal/sample).
const drawTime = 15e-9

// width is the bytes of a weight as it is held: those of the checkpoint, since bfloat16 is widened on the way.
func (a Answering) width() float64 {
	switch {
	case a.DType == "bfloat16":
		return 2
	case a.Frozen:
		return word
	}
	return float64(a.Model.StoredBytes)
}

func (a Answering) cached() float64 {
	if a.DType == "bfloat16" {
		return 2
	}
	return word
}

// reading is the bytes of the widest layer over the prompts that are read at once.
func (a Answering) reading() float64 {
	return min(a.Batch, a.Rows) * a.Prompt * word * float64(4*a.Model.Hidden+3*a.Model.Inner)
}

// Copying is bytes that are read, changed and written.
type Copying struct {
	Bytes  float64
	Worker bool    // hone-worker does it, which starts more slowly than hone
	Rate   float64 // bytes a second that the change takes; 0 is none
	Tokens int64   // of a tokenizer that is built
	Memory int64   // beside what the process takes
	Rows   bool    // they are rows, which are held on the way
}

// childStart is the seconds until a child of hone works, and childResident the bytes that it takes.
const childStart, childResident = 0.05, 30 << 20

// Rows are held up to spilled bytes before they go to a file (internal/dataset), as text, as values and as columns.
const spilled, held = 64 << 20, 3

// Estimate predicts copying on a machine.
func (c Copying) Estimate(m Machine) Estimate {
	e := Estimate{Fixed: childStart, Memory: childResident + c.Memory, Disk: int64(c.Bytes)}
	if c.Worker {
		e.Fixed, e.Memory = m.Start, m.Resident+c.Memory
	}
	if c.Rows {
		e.Memory += int64(held * min(c.Bytes, spilled))
	}
	e.Fixed += float64(c.Tokens) * tokenTime
	e.Work = c.Bytes/m.Disk + c.Bytes/m.Hash
	if c.Rate > 0 {
		e.Work += c.Bytes / c.Rate
	}
	return e
}

// Plus is one piece of work after another in one process.
func (e Estimate) Plus(o Estimate) Estimate {
	e.Work += o.Work
	e.Memory, e.Mapped, e.Least = max(e.Memory, o.Memory), max(e.Mapped, o.Mapped), max(e.Least, o.Least)
	e.Disk += o.Disk
	return e
}
