package data

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// split is curate.split: shuffle the row numbers by the seed, give each part its share of them, and write each part's
// rows in the order of the input. Shares are exact to a row. A shuffle of numbers rather than a hash of each row:
// equal rows then do not all fall into one part, and shares are not left to chance.
func split(ctx context.Context, j *stages.Job) error {
	var c schemas.CurateSplit
	if err := j.Decode(&c); err != nil {
		return err
	}
	d, err := open(j, "data")
	if err != nil {
		return err
	}
	defer d.Close()
	names := slices.Sorted(maps.Keys(c.Parts))
	counts, err := shares(d.Rows, names, c.Parts)
	if err != nil {
		return err
	}
	order := shuffled(d.Rows, uint64(c.Seed))
	part := make([]int32, d.Rows) // of each row, from 1; 0 is none
	writers := make([]*dataset.Writer, len(names))
	at := int64(0)
	for i, name := range names {
		for _, row := range order[at : at+counts[i]] {
			part[row] = int32(i + 1)
		}
		at += counts[i]
		if writers[i], err = dataset.Create(j.Out(name), d.Format, d.Columns, d.Names()...); err != nil {
			return err
		}
		defer writers[i].Discard()
	}
	err = each(ctx, j, d, func(i int64, row dataset.Row) error {
		if part[i] == 0 {
			return nil
		}
		j.From(names[part[i]-1], "data", i+1)
		return writers[part[i]-1].Write(row)
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := writers[i].Close(); err != nil {
			return err
		}
		j.Summary("rows."+name, float64(counts[i]))
	}
	return nil
}

// shares returns how many rows each part has. Where the shares sum to one, every row is in a part.
func shares(rows int64, names []string, parts map[string]float64) ([]int64, error) {
	var sum float64
	weights := make([]float64, 0, len(names)+1)
	for _, name := range names {
		if parts[name] <= 0 {
			return nil, stages.Errorf("parts."+name, "share %g is not above 0", parts[name])
		}
		sum += parts[name]
		weights = append(weights, parts[name])
	}
	if sum > 1+1e-9 {
		return nil, stages.Errorf("parts", "shares sum to %g, more than 1", sum)
	}
	weights = append(weights, math.Max(0, 1-sum)) // the rows of no part
	if weights[len(names)] < 1e-9 {
		weights = weights[:len(names)]
	}
	counts := apportion(rows, weights)
	for i, name := range names {
		if counts[i] == 0 {
			return nil, stages.Errorf("parts."+name, "a share of %g of %d rows is no row", parts[name], rows)
		}
	}
	return counts[:len(names)], nil
}
