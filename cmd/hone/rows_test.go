package main

import (
	"context"
	"errors"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
)

// rowsWithoutEnd is a side that is never read to its end.
func rowsWithoutEnd() (dataset.Side, func(), error) {
	return dataset.Side{Header: dataset.Header{Format: dataset.Text}, All: func(yield func(dataset.Row, error) bool) {
		for yield(ordjson.New(ordjson.Member{Key: "text", Value: "x"}), nil) {
		}
	}}, func() {}, nil
}

// What takes too long is said to, and the command goes on; what the user interrupts ends it.
func TestCompareRowsEnds(t *testing.T) {
	within, stop := context.WithTimeout(context.Background(), 0)
	defer stop()
	d, err := compareRows(context.Background(), within, rowsWithoutEnd, rowsWithoutEnd)
	if err != nil || d.String() != "rows not compared: that takes more than a minute" {
		t.Errorf("%v, %v", d, err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	interrupt()
	if _, err := compareRows(ctx, ctx, rowsWithoutEnd, rowsWithoutEnd); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
