package train

import (
	"math"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// chunk is the rows of logits held at once: 128 of a vocabulary of 150,000 in float32 are 77 MB.
const chunk = 128

// Tally is what a pass over a batch comes to: its share of the step's loss, and over its labels the mean entropy of the predictions
// and the share of them whose likeliest token is the label.
type Tally struct{ Loss, Entropy, Accuracy float64 }

// NLL adds the gradients of weight times the summed negative log-likelihood of the batch's labels, and tells that as the loss. With
// dft each label's part is multiplied by its probability, which counts as a constant (Wu et al. 2025). On a device it tells
// nothing: Step adds the loss that the device has summed.
func (t *Trainer) NLL(batch []Example, weight float64, dft bool) (sums Tally, err error) {
	if tensor.OnDevice() {
		return sums, t.nll(batch, weight, dft)
	}
	defer tensor.Open().Close()
	in, at, labels := shared(t.Model, batch)
	if len(labels) == 0 {
		return sums, nil
	}
	err = t.Model.WithHidden(in, t.Checkpointing, func(h tensor.Tensor) {
		n := int64(len(labels))
		l, logp, stats := tensor.CrossEntropy(h.Rows(tensor.Of(at, n)), t.Model.Head(),
			tensor.Labels{IDs: tensor.Of(labels, n), Weights: tensor.Of(repeated(weight, int(n)), n), DFT: dft}, chunk)
		l.Backward()
		sums = tally(logp.Floats(), stats.Floats(), 2, dft)
		sums.Loss *= weight
	})
	return sums, err
}

func repeated(v float64, n int) []float32 {
	x := make([]float32, n)
	fill(x, v)
	return x
}

// tally sums up in double: the sum of a large batch is exact to the last digit that is shown. stats has width numbers a label.
func tally(logp, stats []float32, width int, dft bool) (t Tally) {
	n := float64(len(logp))
	for i, l := range logp {
		p := 1.0
		if dft {
			p = math.Exp(float64(l))
		}
		t.Loss -= p * float64(l)
		t.Entropy += float64(stats[width*i+tensor.Entropy]) / n
		t.Accuracy += float64(stats[width*i+tensor.Likeliest]) / n
	}
	return t
}

// Likelihoods is the log-likelihoods of a batch's labels, in the order of the examples and of their tokens, with what else a
// forward pass tells of each.
type Likelihoods struct {
	LogProbs []float32
	Stats    []float32 // tensor.TokenStats a label
}

// Backward adds the gradients of a loss that is any function of a batch's log-likelihoods under logits times scale (the inverse of
// a sampling temperature; 1 where there is none): the function returns the loss and fills grad with its derivative by each. On a
// device it is what a pass waits for in its middle; nothing else does.
func (t *Trainer) Backward(batch []Example, scale float64, loss func(l Likelihoods, grad []float32) (float64, error)) (total float64, err error) {
	defer tensor.Open().Close()
	in, at, labels := shared(t.Model, batch)
	if len(labels) == 0 {
		return loss(Likelihoods{}, nil)
	}
	p, err := t.pass(in, at, labels)
	if err != nil {
		return 0, err
	}
	var inner error
	n := len(labels)
	p.record.RunAround(func() {
		grad := make([]float32, n)
		total, inner = loss(Likelihoods{p.logp.Floats()[:n], p.stats.Floats()[:n*tensor.TokenStats]}, grad)
		if inner != nil {
			clear(grad)
		}
		p.weight.PutFloats(grad)
	}, func(ask func()) {
		err = t.Model.WithHidden(p.in, t.Checkpointing, func(h tensor.Tensor) {
			logp, stats := tensor.LogProbs(h.Rows(p.at), t.Model.Head(), p.ids, scale, chunk, true)
			tensor.NoGrad(func() {
				p.logp.CopyFrom(logp)
				p.stats.CopyFrom(stats)
			})
			ask()
			tensor.BackwardFrom([]tensor.Tensor{logp}, []tensor.Tensor{p.weight})
		})
	})
	if inner != nil {
		return 0, inner
	}
	return total, err
}

// Evaluate is the log-likelihoods of a batch's labels, without gradients.
func Evaluate(m *model.Model, batch []Example, scale float64) (l Likelihoods, err error) {
	defer tensor.Open().Close()
	in, at, labels := shared(m, batch)
	if len(labels) == 0 {
		return l, nil
	}
	tensor.NoGrad(func() {
		var h tensor.Tensor
		if h, err = m.Hidden(in); err != nil {
			return
		}
		n := int64(len(labels))
		logp, stats := tensor.LogProbs(h.Rows(tensor.Of(at, n)), m.Head(), tensor.Of(labels, n), scale, chunk, true)
		l = Likelihoods{append([]float32(nil), logp.Floats()...), append([]float32(nil), stats.Floats()...)}
	})
	return l, err
}

// shared is a batch as the model reads it, what rows have in common at their beginnings once, with the places whose prediction is
// trained and the labels there.
func shared(m *model.Model, batch []Example) (in model.Input, at, labels []int64) {
	in, places := m.Shared(tokens(batch))
	at, labels = targets(batch, func(row, token int) int64 { return places[row][token] })
	return in, at, labels
}

// tokens is a batch's rows.
func tokens(batch []Example) [][]int32 {
	rows := make([][]int32, len(batch))
	for i, e := range batch {
		rows[i] = e.IDs
	}
	return rows
}

// targets is the places whose prediction is trained and the labels there; place is where a row's token is in the pass.
func targets(batch []Example, place func(row, token int) int64) (at, labels []int64) {
	for i, e := range batch {
		for j := 1; j < len(e.IDs); j++ {
			if e.Trained[j] {
				at, labels = append(at, place(i, j-1)), append(labels, int64(e.IDs[j]))
			}
		}
	}
	return at, labels
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}
