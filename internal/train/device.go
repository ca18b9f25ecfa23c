package train

import (
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// device is what a trainer keeps on an accelerator. The host fills a pass with a batch and the pass computes loss and gradients
// from its memory alone, so that it can be recorded, one for each shape that batches are filled up to.
type device struct {
	stats  tensor.Tensor // tensor.StepStats
	passes map[shape]*pass
}

type shape struct{ tokens, rows, longest, labels int64 }

type pass struct {
	in              model.Input
	rows            tensor.Rows
	at, ids, weight tensor.Tensor // of labels
	record          tensor.Recording
}

func (t *Trainer) onDevice() *device {
	if t.device == nil {
		t.device = &device{stats: tensor.Zeros(tensor.Float32, tensor.StepStats).Forget(), passes: map[shape]*pass{}}
	}
	return t.device
}

// advance ends a step on the device, and reads what it came to unless that may wait.
func (t *Trainer) advance(r Result, learningRate float64) (Result, error) {
	d := t.onDevice()
	t.Optimizer.Advance(learningRate, t.Clip, d.stats)
	if t.Unread {
		return r, nil
	}
	loss, norm, err := t.Pending()
	r.Loss, r.GradNorm = r.Loss+loss, norm
	return r, err
}

// Pending is the loss of the steps that were left unread, and the gradients' norm in the newest.
func (t *Trainer) Pending() (loss, norm float64, err error) {
	d := t.device
	if d == nil {
		return 0, 0, nil
	}
	stats := d.stats.Floats()
	d.stats.PutFloats(nil)
	loss, norm = float64(stats[tensor.StepLoss]), float64(stats[tensor.StepNorm])
	switch {
	case notFinite(loss):
		err = &NotFinite{What: "loss"}
	case notFinite(norm) || stats[tensor.StepBad] != 0:
		err = &NotFinite{What: "gradient norm"}
	}
	return loss, norm, err
}

// nll is Trainer.NLL, the loss summed in stats.
func (d *device) nll(t *Trainer, batch []Example, weight float64, dft bool) error {
	defer tensor.Open().Close()
	in, borders := model.Packed(tokens(batch))
	at, labels := targets(batch, func(row, token int) int64 { return borders[row] + int64(token) })
	n := len(labels)
	if n == 0 {
		return nil
	}
	weights := make([]float32, n)
	for i := range weights {
		weights[i] = float32(weight)
	}
	p := &pass{in: in}
	if t.Model.TrainsRecorded() {
		var err error
		if p, err = d.fill(t.Model, in, borders, n); err != nil {
			return err
		}
	} else {
		whole := int64(n)
		p.at, p.ids, p.weight = tensor.Zeros(tensor.Int64, whole), tensor.Zeros(tensor.Int64, whole), tensor.Zeros(tensor.Float32, whole)
	}
	p.at.PutInts(at)
	p.ids.PutInts(labels)
	p.weight.PutFloats(weights)
	var err error
	p.record.Run(func() {
		err = t.Model.WithHidden(p.in, t.Checkpointing, func(h tensor.Tensor) {
			l, _, _ := tensor.CrossEntropy(h.Rows(p.at), t.Model.Head(), tensor.Labels{IDs: p.ids, Weights: p.weight, DFT: dft}, chunk)
			l.Backward()
			d.stats.Narrow(0, tensor.StepLoss, 1).Accumulate(l)
		})
	})
	return err
}

// fill is the pass for batches of that shape, with its input filled in.
func (d *device) fill(m *model.Model, in model.Input, borders []int64, labels int) (*pass, error) {
	longest := int64(len(in.IDs)) - borders[len(borders)-1]
	for i := range len(borders) - 1 {
		longest = max(longest, borders[i+1]-borders[i])
	}
	tokens := filled(int64(len(in.IDs)))
	longest = max(longest, tokens-int64(len(in.IDs))) // the tokens that fill up are a row
	s := shape{tokens, power(int64(len(borders))), power(longest), filled(int64(labels))}
	p := d.passes[s]
	if p == nil {
		p = &pass{in: m.Frame(s.tokens), rows: tensor.FixedRows(s.rows, s.tokens, s.longest),
			at: tensor.Zeros(tensor.Int64, s.labels).Forget(), ids: tensor.Zeros(tensor.Int64, s.labels).Forget(),
			weight: tensor.Zeros(tensor.Float32, s.labels).Forget()}
		p.in.Attend = func(_ int, q, k, v tensor.Tensor, s tensor.Scoring) tensor.Tensor {
			return tensor.Attention(q, k, v, p.rows, s)
		}
		d.passes[s] = p
	}
	p.rows.Put(borders)
	return p, m.Fill(p.in, in)
}

// filled is the count that n tokens or labels are filled up to: an eighth more than they are, at most.
func filled(n int64) int64 {
	step := max(64, power(n)/16)
	return (n + step - 1) / step * step
}

// power is the power of two that is no less than n, from 16 on.
func power(n int64) int64 {
	p := int64(16)
	for p < n {
		p *= 2
	}
	return p
}

func (d *device) free() {
	if d == nil {
		return
	}
	d.stats.Free()
	for _, p := range d.passes {
		p.record.Free()
		p.in.Free()
		p.rows.Free()
		p.at.Free()
		p.ids.Free()
		p.weight.Free()
	}
}

// Free releases what the trainer holds besides the model: its optimiser's moments, and a device's memory.
func (t *Trainer) Free() {
	t.device.free()
	t.Optimizer.Free()
}
