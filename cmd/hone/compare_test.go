package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hone-ml/hone/pipelines"
)

// A grid that is too wide is broken into blocks that fit, each behind the names; a column that fits nowhere stands alone.
func TestBlocks(t *testing.T) {
	grid := [][]string{{""}, {"loss"}}
	for i := range 9 {
		grid[0] = append(grid[0], fmt.Sprintf("tune-%d", i))
		grid[1] = append(grid[1], "0.1234 [0.1, 0.2]")
	}
	grid[0][9] = fmt.Sprintf("%0100d", 9)
	var columns []string
	for _, block := range blocks(grid, 80) {
		width := 0
		for i, name := range block[0] {
			width += max(len(name), len(block[1][i])) + gap
		}
		if width-gap > 80 && len(block[0]) > 2 {
			t.Errorf("%d columns: %q", width-gap, block[0])
		}
		if block[1][0] != "loss" {
			t.Errorf("without names: %q", block[1])
		}
		columns = append(columns, block[0][1:]...)
	}
	if !slices.Equal(columns, grid[0][1:]) {
		t.Errorf("%q", columns)
	}
}

// What is a run's own in its name is what the names of all do not have in common.
func TestCommon(t *testing.T) {
	for _, c := range []struct{ names, own []string }{
		{[]string{"tune-1e-4-x", "tune-3e-4-x"}, []string{"1", "3"}},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"tune", "tune-2"}, []string{"", "-2"}},
		{[]string{"aa", "aaa"}, []string{"", "a"}},
		{[]string{"alone"}, []string{""}},
	} {
		own := common(stagesCalled(c.names))
		for i, name := range c.names {
			if got := own(name); got != c.own[i] {
				t.Errorf("%s of %q: %q, want %q", name, c.names, got, c.own[i])
			}
		}
	}
}

func stagesCalled(names []string) (stages []*pipelines.Stage) {
	for _, name := range names {
		stages = append(stages, &pipelines.Stage{Name: name})
	}
	return stages
}
