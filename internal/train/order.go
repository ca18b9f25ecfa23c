// Package train is the core of every training stage: examples in order, a step, checkpoints.
//
//	Example  token ids of a row and which of them are trained
//	Order    which examples a step takes: a pure function of seed and step, so a resume has nothing to remember
//	Trainer  a model with its optimiser; Step is forward, backward, clip and update
//	State    what a checkpoint holds: weights, moments, step
package train

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Example is a row made ready.
type Example struct {
	IDs     []int32
	Trained []bool // of each token, as a label; the first has no prediction and never counts
	Row     int64  // in the dataset
}

// Labels counts the tokens that are trained.
func (e Example) Labels() int64 {
	var n int64
	for i := 1; i < len(e.Trained); i++ {
		if e.Trained[i] {
			n++
		}
	}
	return n
}

// Order deals examples to steps. A step is Accumulate micro-batches of Rows; the last of an epoch may be smaller.
type Order struct {
	Examples         int
	Rows, Accumulate int
	Repeat           int // steps that take the same examples; 0 is 1
	Shuffle          bool
	Lengths          []int // of the examples, where those of like length are to share a step
	Seed             uint64

	epoch       int64
	permutation []int
}

// Batches is the micro-batches of an epoch.
func (o *Order) Batches() int64 { return int64((o.Examples + o.Rows - 1) / o.Rows) }

// StepsPerEpoch is the updates of an epoch.
func (o *Order) StepsPerEpoch() int64 {
	return (o.Batches() + int64(o.Accumulate) - 1) / int64(o.Accumulate) * o.repeat()
}

func (o *Order) repeat() int64 { return int64(max(o.Repeat, 1)) }

// Steps is the updates of so many epochs, as transformers' Trainer rounds them: up.
func (o *Order) Steps(epochs float64) int64 {
	return int64(math.Ceil(epochs * float64(o.StepsPerEpoch())))
}

// Epoch is how far the data has been gone through after step updates.
func (o *Order) Epoch(step int64) float64 {
	whole, k := step/o.StepsPerEpoch(), step%o.StepsPerEpoch()
	return float64(whole) + float64(k*int64(o.Accumulate))/float64(o.Batches()*o.repeat())
}

// Step is the examples of update number step, from zero: one list a micro-batch.
func (o *Order) Step(step int64) [][]int {
	epoch, k := step/o.StepsPerEpoch(), step%o.StepsPerEpoch()
	if o.permutation == nil || o.epoch != epoch {
		o.permutation, o.epoch = o.permute(epoch), epoch
	}
	k /= o.repeat()
	var micro [][]int
	for b := k * int64(o.Accumulate); b < min((k+1)*int64(o.Accumulate), o.Batches()); b++ {
		from := int(b) * o.Rows
		micro = append(micro, o.permutation[from:min(from+o.Rows, o.Examples)])
	}
	return micro
}

func (o *Order) permute(epoch int64) []int {
	p := make([]int, o.Examples)
	for i := range p {
		p[i] = i
	}
	if o.Shuffle {
		p = rand.New(rand.NewPCG(o.Seed, uint64(epoch))).Perm(o.Examples)
	}
	if o.Lengths != nil {
		group(p, o.Lengths, o.Rows*o.Accumulate)
	}
	return p
}

// group sorts an order, part by part, by falling length, as transformers' get_length_grouped_indices does: a part is 50 steps, or a
// fourth of all where that is less. The longest example comes first, so that memory runs out at once or never.
func group(order, lengths []int, step int) {
	part := max(1, min(len(order)/(4*step), 50)) * step
	longest := 0
	for from := 0; from < len(order); from += part {
		slices.SortStableFunc(order[from:min(from+part, len(order))], func(a, b int) int { return lengths[b] - lengths[a] })
		if lengths[order[from]] > lengths[order[longest]] {
			longest = from
		}
	}
	if len(order) > 0 {
		order[0], order[longest] = order[longest], order[0]
	}
}
