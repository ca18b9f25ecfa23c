package data

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// load is data.load: read a source, give its columns roles, check every row, write a dataset.
func load(ctx context.Context, j *stages.Job) error {
	var c schemas.DataLoad
	if err := j.Decode(&c); err != nil {
		return err
	}
	if strings.HasPrefix(c.Source, "hf://") {
		return stages.Errorf("source", "%s: data sets of the hub are not read yet; name a file or folder", c.Source)
	}
	source := &dataset.Source{Path: j.File("source"), Name: c.Source, Format: c.Format, Split: c.Split, Warn: j.Warn}
	return loadSource(ctx, j, source, c.Columns, "data")
}

// loadSource writes the source's rows to the port as a dataset.
func loadSource(ctx context.Context, j *stages.Job, source *dataset.Source, mapped map[string]string, port string) error {
	columns, err := source.Columns()
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return noRows(source)
	}
	header, rows, err := source.Typed(columns, mapped)
	if err != nil {
		return stages.Errorf(source.Name, "%w", err)
	}
	w, err := dataset.Create(j.Out(port), header.Format, header.Columns)
	if err != nil {
		return err
	}
	defer w.Discard()
	var bad dataset.BadRows
	var seen int64
	for record, err := range rows {
		if seen%every == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if j.Rows > 0 && seen == j.Rows {
			break
		}
		seen++
		j.Progress(seen, 0, "rows")
		var rowError *dataset.RowError
		if err != nil && !errors.As(err, &rowError) {
			return errors.Join(bad.Err(), err)
		}
		if err != nil {
			bad.Add(err)
			continue
		}
		if bad.Err() == nil {
			if err := w.Write(record.Row); err != nil {
				return err
			}
			from, line := place(source.Name, record.Where)
			j.From(port, from, line)
		}
	}
	if err := bad.Err(); err != nil {
		return err
	}
	if w.Rows() == 0 {
		return noRows(source)
	}
	if err := w.Close(); err != nil {
		return err
	}
	j.Summary("rows", float64(w.Rows()))
	j.Log("format %s, rows %d", header.Format, w.Rows())
	return nil
}

// place takes the name of a source from the place of a row, and its last number: data, data/a.jsonl:12 → /a.jsonl:, 12.
func place(name, where string) (below string, line int64) {
	where, ok := strings.CutPrefix(where, name)
	if !ok {
		where = strings.TrimPrefix(where, filepath.Clean(name)) // as the files of a folder are named
	}
	below = strings.TrimRight(where, "0123456789")
	line, _ = strconv.ParseInt(where[len(below):], 10, 64) // a place ends in a number
	return below, line
}

// noRows tells why a source gave no columns: its rows cannot be read, or there are none.
func noRows(source *dataset.Source) error {
	var bad dataset.BadRows
	for _, err := range source.Rows() {
		if err != nil {
			bad.Add(err)
		}
	}
	if err := bad.Err(); err != nil {
		return err
	}
	return stages.Errorf(source.Name, "no rows")
}
