// Package data is the stage kinds that need no tensors: data.load, curate.filter, curate.split, curate.mix and exec.
//
//	load      rows of the user's become a dataset
//	filter    rows are dropped by an ordered list of steps
//	split     rows are dealt out to parts
//	mix       datasets become one, by weight
//	exec      a program of the user's
//	prove     what vet --data finds of rows without a tokenizer; overlap: of those that are trained on and measured by
//
// Every one gives equal bytes for equal inputs. The order of a shuffle comes from a function of seed and index that is
// written here, since a library's may change.
package data

import (
	"cmp"
	"context"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Stages returns the kinds of this package. Count opens what counts tokens for curate.filter; a program without
// tokenizers gives nil.
func Stages(count OpenCounter) stages.Registry {
	return stages.Registry{
		"data.load":     load,
		"curate.filter": Filter(count),
		"curate.split":  split,
		"curate.mix":    mix,
		"exec":          execute,

		schemas.Tokenizer: tokenizer,
		schemas.RowsProof: proveRows,
	}
}

// tokenizer is vet.tokenizer: the files beside a model's weights, which the source is a folder of.
func tokenizer(_ context.Context, j *stages.Job) error {
	return modeldir.CopyCompanions(j.Out("model"), j.File("source"))
}

// every is how many rows pass between two looks at the context.
const every = 256

// each calls f for every row of the dataset, says how far it is, and stops when ctx is cancelled.
func each(ctx context.Context, j *stages.Job, d *dataset.Dataset, f func(i int64, row dataset.Row) error) error {
	var i int64
	for row, err := range d.All() {
		if err != nil {
			return err
		}
		if i%every == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f(i, row); err != nil {
			return err
		}
		i++
		j.Progress(i, d.Rows, "rows")
	}
	return nil
}

// open opens the dataset of an input; an error names the field.
func open(j *stages.Job, field string) (*dataset.Dataset, error) {
	d, err := j.Dataset(field)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	return d, nil
}

// shuffled returns the numbers below n in an order that seed decides.
func shuffled(n int64, seed uint64) []int64 {
	type keyed struct {
		key uint64
		i   int64
	}
	all := make([]keyed, n)
	for i := range all {
		all[i] = keyed{mixBits(mixBits(seed) + uint64(i)*golden), int64(i)}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.i, b.i))
	})
	order := make([]int64, n)
	for i, k := range all {
		order[i] = k.i
	}
	return order
}

const golden = 0x9e3779b97f4a7c15

// mixBits is the output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
// 2014): a bijection whose every output bit depends on every input bit.
func mixBits(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// apportion deals total out by weights: whole numbers that sum to total, each within one of its exact share, the
// largest remainders rounded up, of equal ones the first.
func apportion(total int64, weights []float64) []int64 {
	var sum float64
	for _, w := range weights {
		sum += w
	}
	counts := make([]int64, len(weights))
	remainders := make([]float64, len(weights))
	order := make([]int, len(weights))
	left := total
	for i, w := range weights {
		exact := float64(total) * w / sum
		counts[i] = int64(exact + 1e-9)
		remainders[i] = exact - float64(counts[i])
		order[i] = i
		left -= counts[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainders[b], remainders[a]) })
	for k := 0; left > 0; k++ {
		counts[order[k%len(order)]]++
		left--
	}
	return counts
}
