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

type shape struct {
	model.Shape
	labels int64
}

// pass is a pass over a batch and its labels, and its memory.
type pass struct {
	in      model.Input
	at, ids tensor.Tensor // where labels are predicted, and what they are
	weight  tensor.Tensor // of the labels, or the loss's derivative by their log-likelihoods
	logp    tensor.Tensor // of the labels
	stats   tensor.Tensor // tensor.TokenStats of them
	record  tensor.Recording
}

func newPass(in model.Input, labels int64) *pass {
	return &pass{in: in, at: tensor.Zeros(tensor.Int64, labels), ids: tensor.Zeros(tensor.Int64, labels), weight: tensor.Zeros(tensor.Float32, labels),
		logp: tensor.Zeros(tensor.Float32, labels), stats: tensor.Zeros(tensor.Float32, labels, tensor.TokenStats)}
}

func (p *pass) own() []tensor.Tensor { return []tensor.Tensor{p.at, p.ids, p.weight, p.logp, p.stats} }

func (p *pass) free() {
	p.record.Free()
	p.in.Free()
	for _, t := range p.own() {
		t.Free()
	}
}

// pass is the pass over an input whose labels are predicted at those places, filled in: one for all batches of its shape where it
// can be recorded.
func (t *Trainer) pass(in model.Input, at, labels []int64) (p *pass, err error) {
	n := int64(len(labels))
	if t.Model.TrainsRecorded(t.Checkpointing) {
		d := t.onDevice()
		s := shape{in.Shape(), model.Filled(n)}
		if p = d.passes[s]; p == nil {
			p = newPass(t.Model.Frame(s.Shape), s.labels)
			for _, own := range p.own() {
				own.Forget()
			}
			d.passes[s] = p
		}
		err = t.Model.Fill(p.in, in)
	} else {
		p = newPass(in, n)
	}
	p.at.PutInts(at)
	p.ids.PutInts(labels)
	t.Model.Draws.Pass()
	return p, err
}

func (t *Trainer) onDevice() *device {
	if t.device == nil {
		t.device = &device{stats: tensor.Zeros(tensor.Float32, tensor.StepStats).Forget(), passes: map[shape]*pass{}}
	}
	return t.device
}

// advance ends a step on the device, and reads what it came to unless that may wait.
func (t *Trainer) advance(r Result, learningRate float64) (Result, error) {
	if notFinite(r.Loss) { // it came from the host
		return r, &NotFinite{What: "loss"}
	}
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

// nll is NLL on a device, the loss summed in its stats.
func (t *Trainer) nll(batch []Example, weight float64, dft bool) error {
	defer tensor.Open().Close()
	in, borders := model.Packed(tokens(batch))
	at, labels := targets(batch, func(row, token int) int64 { return borders[row] + int64(token) })
	if len(labels) == 0 {
		return nil
	}
	p, err := t.pass(in, at, labels)
	if err != nil {
		return err
	}
	p.weight.PutFloats(repeated(weight, len(labels)))
	stats := t.onDevice().stats
	p.record.Run(func() {
		err = t.Model.WithHidden(p.in, t.Checkpointing, func(h tensor.Tensor) {
			l, _, _ := tensor.CrossEntropy(h.Rows(p.at), t.Model.Head(), tensor.Labels{IDs: p.ids, Weights: p.weight, DFT: dft}, chunk)
			l.Backward()
			tensor.NoGrad(func() { stats.Narrow(0, tensor.StepLoss, 1).Accumulate(l) })
		})
	})
	return err
}

func (d *device) free() {
	if d == nil {
		return
	}
	d.stats.Free()
	for _, p := range d.passes {
		p.free()
	}
}

// Free releases what the trainer holds besides the model: its optimiser's moments, and a device's memory.
func (t *Trainer) Free() {
	t.device.free()
	t.Optimizer.Free()
}
