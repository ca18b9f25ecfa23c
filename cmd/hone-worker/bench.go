package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
	hone "github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/optim"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/stages/model"
)

// bench measures what a stage that computes goes by, for `hone doctor --bench`, and prints a cost.Machine.
func bench(args []string, out io.Writer) int {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	device, threads := f.String("device", "auto", ""), f.Int("threads", 1, "")
	if f.Parse(args) != nil {
		return 2
	}
	var m cost.Machine
	err := tensor.Guard(func() (err error) { m, err = measure(*device, *threads); return err })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitEnvironment
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and text
	}
	fmt.Fprintf(out, "%s\n", b)
	return 0
}

func measure(device string, threads int) (m cost.Machine, err error) {
	n, err := model.Numerics(&job.Job{Kind: "train.sft", Device: device, Threads: threads})
	if err != nil {
		return m, err
	}
	defer tensor.Open().Close()
	m = cost.Machine{Device: "cuda", Name: n.Device, Threads: threads}
	if n.Device == "cpu" {
		m.Device, m.Name = "cpu", ""
		_, m.Memory = memory.Process()
	}
	w := &stopwatch{threads: threads}
	m.Float32 = w.products(tensor.Float32)
	m.BFloat16 = w.products(tensor.BFloat16)
	m.Bandwidth = w.bandwidth()
	large := shape{layers: 3, hidden: 576, inner: 1536, heads: 9, keys: 3, vocabulary: 8192, rows: 4, tokens: 64}
	if tensor.OnDevice() { // which less does not fill
		large = shape{layers: 3, hidden: 2048, inner: 8192, heads: 32, keys: 8, vocabulary: 32768, rows: 8, tokens: 256}
	}
	small := shape{layers: 4, hidden: 64, inner: 192, heads: 4, keys: 4, vocabulary: 256, rows: 4, tokens: 8}
	each, err := small.step(w)
	if err != nil {
		return m, err
	}
	if m.Device == "cpu" { // with the code of its operators, which the first step reads in
		m.Resident, _ = memory.Process()
	}
	m.Layer = each / float64(3*(small.layers+2)) // forward, and backward twice that; its arithmetic is next to nothing
	whole, err := large.step(w)
	if err != nil {
		return m, err
	}
	arithmetic := large.training().FLOP() * float64(large.rows)
	m.Step = min(arithmetic/max(whole-each-large.update(m), whole/4)/m.Products(stepDtype().String()), 1)
	m.Spread = w.spread
	return m, nil
}

// stopwatch times what is done again and again, and knows how much its times differed.
type stopwatch struct {
	threads int
	spread  float64 // the median over the least, at the worst
}

// best is the least seconds of a turn, of several that take half a second together and are at least three: what the machine does
// besides makes a turn slower, never faster. One thread is timed by the processor, which others do not lengthen.
func (w *stopwatch) best(turn func()) float64 {
	turn() // pages in, threads up
	var all []float64
	for began := time.Now(); len(all) < 3 || len(all) < 1000 && time.Since(began) < time.Second/2; {
		start, spent := time.Now(), processed()
		turn()
		wall, spent := time.Since(start).Seconds(), processed()-spent
		if w.threads == 1 && !tensor.OnDevice() {
			wall = min(wall, spent)
		}
		all = append(all, wall)
	}
	slices.Sort(all)
	w.spread = max(w.spread, all[len(all)/2]/all[0])
	return all[0]
}

// processed is the seconds that processors have worked for this process.
func processed() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return math.Inf(1)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// products is the FLOP a second of a matrix product in the sizes of a training step.
func (w *stopwatch) products(d tensor.Dtype) float64 {
	rows, in, out := int64(256), int64(1536), int64(1536)
	if tensor.OnDevice() {
		rows, in, out = 2048, 2048, 8192
	}
	return 2 * float64(rows*in*out) / w.product(rows, in, out, d)
}

// bandwidth is the bytes of weights a second that a product of one row reads: more than caches hold.
func (w *stopwatch) bandwidth() float64 {
	const in, out = 4096, 8192
	return 4 * in * out / w.product(1, in, out, tensor.Float32)
}

// product is the seconds of x [rows, in] times a weight [out, in]. A device is asked for many before it is waited for.
func (w *stopwatch) product(rows, in, out int64, d tensor.Dtype) (seconds float64) {
	repeat := 1
	if tensor.OnDevice() {
		repeat = 100
	}
	tensor.NoGrad(func() {
		defer tensor.Open().Close()
		x, weight := tensor.Uniform(rows, in).To(d), tensor.Uniform(out, in).To(d)
		seconds = w.best(func() {
			defer tensor.Open().Close()
			var y tensor.Tensor
			for range repeat {
				y = tensor.Linear(x, weight, tensor.Tensor{}, d)
			}
			if tensor.OnDevice() { // reading waits
				y.Narrow(0, 0, 1).Narrow(1, 0, 1).To(tensor.Float32).Contiguous().Floats()
			}
		})
	})
	return seconds / float64(repeat)
}

// shape is a model without a checkpoint, and a batch for it.
type shape struct{ layers, hidden, inner, heads, keys, vocabulary, rows, tokens int }

// stepDtype is what training computes in where nobody says otherwise.
func stepDtype() tensor.Dtype {
	if tensor.OnDevice() {
		return tensor.BFloat16
	}
	return tensor.Float32
}

// step is the seconds of a training step: forward, backward, clip and AdamW. The weights are zero, which costs as much.
func (s shape) step(w *stopwatch) (float64, error) {
	c, err := hone.ParseConfig(fmt.Appendf(nil, `{"model_type": "llama", "num_hidden_layers": %d, "hidden_size": %d, "intermediate_size": %d,
		"num_attention_heads": %d, "num_key_value_heads": %d, "vocab_size": %d, "max_position_embeddings": 2048, "tie_word_embeddings": true}`,
		s.layers, s.hidden, s.inner, s.heads, s.keys, s.vocabulary))
	if err != nil {
		return 0, err
	}
	m, err := hone.New(c)
	if err != nil {
		return 0, err
	}
	defer m.Free()
	m.Dtype = stepDtype()
	m.Base.Allocate(tensor.Float32, m.Dtype, true)
	m.Base.Refresh()
	o, err := optim.New(optim.Config{Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, &m.Base)
	if err != nil {
		return 0, err
	}
	t := &train.Trainer{Model: m, Store: &m.Base, Clip: 1, Optimizer: o}
	defer t.Free()
	batch := make([]train.Example, s.rows)
	for i := range batch {
		e := train.Example{IDs: make([]int32, s.tokens), Trained: slices.Repeat([]bool{true}, s.tokens)}
		for j := range e.IDs {
			e.IDs[j] = int32((j*17 + i*31 + 1) % s.vocabulary) // rows that begin unlike
		}
		batch[i] = e
	}
	seconds := w.best(func() {
		if err != nil {
			return
		}
		_, err = t.Step(context.Background(), 1, func(int) (float64, error) {
			sums, err := t.NLL(batch, 1/float64(s.rows*s.tokens), false)
			return sums.Loss, err
		}, 0)
	})
	return seconds, err
}

// training is the same for package cost.
func (s shape) training() cost.Training {
	return cost.Training{Model: cost.Model{
		Layers: int64(s.layers), Hidden: int64(s.hidden), Inner: int64(s.inner), Heads: int64(s.heads), KeyHeads: int64(s.keys),
		HeadDim: int64(s.hidden / s.heads), Vocabulary: int64(s.vocabulary), Gated: true, Tied: true,
	}, Tokens: float64(s.tokens), Labels: float64(s.tokens)}
}

// update is the seconds of AdamW's pass over weights, gradients and moments.
func (s shape) update(m cost.Machine) float64 {
	return float64(s.training().Model.Parameters()) * 4 * 8 / m.Bandwidth
}
