package data

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// mix is curate.mix: take from each part its share of the rows, in an order that the seed decides, and shuffle all of
// them. A part that has fewer rows than its share goes round: each of its rows is taken once before any twice.
func mix(ctx context.Context, j *stages.Job) error {
	var c schemas.CurateMix
	if err := j.Decode(&c); err != nil {
		return err
	}
	parts := make([]*dataset.Dataset, len(c.Data))
	weights := make([]float64, len(c.Data))
	for i, part := range c.Data {
		field := fmt.Sprintf("data[%d].data", i)
		d, err := open(j, field)
		if err != nil {
			return err
		}
		defer d.Close()
		if parts[i], weights[i] = d, part.Weight; weights[i] <= 0 {
			return stages.Errorf(fmt.Sprintf("data[%d].weight", i), "%g is not above 0", weights[i])
		}
		if d.Rows == 0 {
			return stages.Errorf(field, "no rows")
		}
	}
	renames, err := alignRoles(parts)
	if err != nil {
		return err
	}
	counts := apportion(mixRows(c.Rows, parts, weights), weights)
	picks := draw(parts, counts, uint64(c.Seed))
	w, err := dataset.Create(j.Out("data"), parts[0].Format, parts[0].Columns, parts[0].Names()...)
	if err != nil {
		return err
	}
	defer w.Discard()
	for i, p := range picks {
		if i%every == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row, err := parts[p.part].Row(p.row)
		if err != nil {
			return err
		}
		if err := w.Write(rename(row, renames[p.part])); err != nil {
			return err
		}
		j.From("data", fmt.Sprintf("data[%d].data", p.part), p.row+1)
		j.Progress(int64(i+1), int64(len(picks)), "rows")
	}
	if err := w.Close(); err != nil {
		return err
	}
	for i, n := range counts {
		j.Summary(fmt.Sprintf("rows.data[%d]", i), float64(n))
	}
	j.Summary("rows", float64(w.Rows()))
	return nil
}

// mixRows is how many rows the mixture has: as many as are asked for, else as many as the scarcest part allows
// without repeating a row.
func mixRows(rows *int64, parts []*dataset.Dataset, weights []float64) int64 {
	if rows != nil {
		return *rows
	}
	var sum float64
	for _, w := range weights {
		sum += w
	}
	most := math.Inf(1)
	for i, d := range parts {
		most = math.Min(most, float64(d.Rows)*sum/weights[i])
	}
	total := int64(most + 1e-9)
	for { // rounding must not ask the scarcest for one row too many
		enough := true
		for i, n := range apportion(total, weights) {
			enough = enough && n <= parts[i].Rows
		}
		if enough || total == 0 {
			return max(total, 1)
		}
		total--
	}
}

type pick struct {
	part int
	row  int64
}

// draw picks counts[i] rows of part i, and shuffles all picks.
func draw(parts []*dataset.Dataset, counts []int64, seed uint64) []pick {
	var picks []pick
	for i, d := range parts {
		left := counts[i]
		for round := uint64(0); left > 0; round++ {
			order := shuffled(d.Rows, mixBits(seed^uint64(i+1)<<32^round))
			order = order[:min(left, d.Rows)]
			left -= int64(len(order))
			for _, row := range order {
				picks = append(picks, pick{i, row})
			}
		}
	}
	all := make([]pick, len(picks))
	for at, from := range shuffled(int64(len(picks)), seed) {
		all[at] = picks[from]
	}
	return all
}

// alignRoles returns for each part the new names of its columns under which its roles are the first part's.
func alignRoles(parts []*dataset.Dataset) ([]map[string]string, error) {
	first := parts[0]
	renames := make([]map[string]string, len(parts))
	for i, d := range parts {
		if d.Format != first.Format {
			return nil, stages.Errorf(fmt.Sprintf("data[%d].data", i), "rows of format %s, where those of data[0] are %s", d.Format, first.Format)
		}
		renames[i] = map[string]string{}
		for role, column := range d.Columns {
			want, ok := first.Columns[role]
			if !ok || want == column {
				continue
			}
			if slices.Contains(d.Names(), want) {
				return nil, stages.Errorf(fmt.Sprintf("data[%d].data", i), "%s is column %s, where it is %s in data[0], and %s is there with another role", role, column, want, want)
			}
			renames[i][column] = want
		}
	}
	return renames, nil
}

func rename(row dataset.Row, names map[string]string) dataset.Row {
	if len(names) == 0 {
		return row
	}
	out := ordjson.New()
	for _, m := range row.Members() {
		if name, ok := names[m.Key]; ok {
			m.Key = name
		}
		out.Set(m.Key, m.Value)
	}
	return out
}
