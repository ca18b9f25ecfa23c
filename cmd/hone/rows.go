package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// rowsDiffer is how the rows behind two hashes differ, as --json prints it beside old and new.
type rowsDiffer struct {
	*dataset.Delta
	Unknown string `json:"unknown,omitempty"` // why they were not compared; then there is nothing else
}

// String is as in 120 rows added, 3 removed, 14 changed.
func (r *rowsDiffer) String() string {
	if r.Unknown != "" {
		return "rows not compared: " + r.Unknown
	}
	var parts []string
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Added, "added"}, {r.Removed, "removed"}, {r.Changed, "changed"}} {
		switch {
		case part.n == 0:
		case parts == nil:
			parts = append(parts, rowsOf(part.n)+" "+part.what)
		default:
			parts = append(parts, grouped(part.n)+" "+part.what)
		}
	}
	said := strings.Join(parts, ", ")
	switch {
	case said != "":
		said += " (" + grouped(r.Before) + " before"
		if r.By != "" && r.Changed > 0 {
			said += ", known by " + r.By
		}
		said += ")"
	case r.Reordered:
		said = "the same " + rowsOf(r.After) + " in another order"
	default:
		said = "the same " + rowsOf(r.After)
	}
	for _, columns := range []struct {
		what  string
		names []string
	}{{"added", r.ColumnsAdded}, {"removed", r.ColumnsRemoved}} {
		if n := len(columns.names); n > 0 {
			said += "; " + map[bool]string{true: "column", false: "columns"}[n == 1] + " " + columns.what + ": " + shortList(columns.names)
		}
	}
	return printable(said)
}

func rowsOf(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return grouped(n) + " rows"
}

// shortList is names in a line, the first ten of many.
func shortList(names []string) string {
	const most = 10
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// comparing is how long rows are read for a command, before it says that it did not compare them.
const comparing = time.Minute

// compareRows reads both sides. Where the one or the other cannot be read, that is the answer; only the end of the command itself is an error.
func compareRows(ctx, within context.Context, before, after rowsAt) (*rowsDiffer, error) {
	delta, err := func() (*dataset.Delta, error) {
		a, done, err := before()
		if err != nil {
			return nil, err
		}
		defer done()
		b, done, err := after()
		if err != nil {
			return nil, err
		}
		defer done()
		return dataset.Compare(within, a, b)
	}()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return &rowsDiffer{Unknown: "that takes more than a minute"}, nil
	case err != nil:
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &rowsDiffer{Unknown: first}, nil
	}
	return &rowsDiffer{Delta: delta}, nil
}

// rowsAt opens the rows of a side; done frees them.
type rowsAt func() (side dataset.Side, done func(), err error)

// rowsIn is the rows of an artifact.
func rowsIn(st *store.Store, hash string) rowsAt {
	return func() (dataset.Side, func(), error) {
		if err := st.Check(hash); err != nil {
			return dataset.Side{}, nil, err
		}
		d, err := dataset.Open(st.Tree(hash))
		if err != nil {
			return dataset.Side{}, nil, fmt.Errorf("the artifact %.12s: %w", hash, err)
		}
		return d.Side(), d.Close, nil
	}
}

// rowsFrom is the rows that a data.load makes of its source as it is now; nil of a stage that has none.
func rowsFrom(s *pipelines.Stage) rowsAt {
	if s == nil || s.Kind != "data.load" || len(s.Sources) != 1 || s.Sources[0].Path == "" || s.Sources[0].Absent {
		return nil
	}
	return func() (dataset.Side, func(), error) {
		var c schemas.DataLoad
		if err := json.Unmarshal(s.Config, &c); err != nil {
			return dataset.Side{}, nil, err
		}
		source := &dataset.Source{Path: s.Sources[0].Path, Name: c.Source, Format: c.Format, Split: c.Split}
		side, err := source.Side(c.Columns)
		return side, func() {}, err
	}
}

// rowsBehind is the rows before and after a change of a stage's input or source; nil where it is of something else, or the new rows
// are not made yet.
func rowsBehind(st *store.Store, s *runner.StagePlan, c runner.Change) (before, after rowsAt) {
	old, _ := c.Old.(string)
	now, _ := c.New.(string)
	if c.Says || !isHex(old) || !isHex(now) {
		return nil, nil
	}
	if s.Kind == "data.load" && c.Field == "source" && s.Before != nil {
		after = rowsFrom(s.Stage)
		if s.Record != nil {
			after = rowsIn(st, s.Record.Outputs["data"].Hash)
		}
		return rowsIn(st, s.Before.Outputs["data"].Hash), after
	}
	for _, in := range s.Stage.Inputs {
		if in.Field == c.Field && in.Edge.Kind == "dataset" {
			return rowsIn(st, old), rowsIn(st, now)
		}
	}
	return nil, nil
}

// explained is a reason with what it means for rows, as --json prints it.
type explained struct {
	runner.Change
	Rows *rowsDiffer `json:"rows,omitempty"`
}

// explain counts the rows of what changed in a stage.
func explain(ctx, within context.Context, st *store.Store, s *runner.StagePlan, why []runner.Change) ([]explained, error) {
	all := make([]explained, len(why))
	for i, c := range why {
		all[i].Change = c
		before, after := rowsBehind(st, s, c)
		if before == nil || after == nil {
			continue
		}
		var err error
		if all[i].Rows, err = compareRows(ctx, within, before, after); err != nil {
			return nil, err
		}
	}
	return all, nil
}
