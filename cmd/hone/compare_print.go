package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// relative is a folder as it is seen from the working folder, where it lies below.
func relative(dir string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, dir); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	return dir
}

// notThere is what there is no value of.
const notThere = "–"

// cellWidth is the most characters of a parameter's value.
const cellWidth = 32

// parameter is a parameter's value in a run, as a cell.
func (r *comparedRun) parameter(name string) string {
	v, ok := r.Parameters[name]
	if !ok {
		return notThere
	}
	text := []rune(printable(brief(v)))
	if len(text) > cellWidth {
		text = append(text[:cellWidth-1:cellWidth-1], '…')
	}
	return string(text)
}

// metric is a metric's value in a run with its interval, as a cell.
func (r *comparedRun) metric(name string) string {
	m := r.Metrics[name]
	switch {
	case m == nil:
		return notThere
	case m.Value == nil:
		return fmt.Sprintf("%s (%s)", notThere, m.Action)
	case name == "seconds" || strings.HasSuffix(name, ".seconds"):
		return duration(time.Duration(*m.Value * float64(time.Second)))
	}
	one, factor, unit := "%.4g", 1.0, ""
	switch m.kind {
	case "score":
		one, factor, unit = "%.1f", 100, "%"
	case "perplexity":
		one = "%.3f"
	}
	text := fmt.Sprintf(one, factor**m.Value) + unit
	if m.Low != nil {
		text += fmt.Sprintf(" ["+one+", "+one+"]", factor**m.Low, factor**m.High)
	}
	return text
}

// grid is the table as cells: a line for what the runs are called, a line a parameter, a line a metric. mark puts a sign on the best.
func (t *comparedRuns) grid(mark func(cell string) string) [][]string {
	head := []string{""}
	for _, r := range t.Runs {
		head = append(head, r.Name)
	}
	grid := [][]string{head}
	line := func(name string, cell func(r *comparedRun) string) {
		row := []string{name}
		for _, r := range t.Runs {
			row = append(row, cell(r))
		}
		grid = append(grid, row)
	}
	for _, name := range t.Parameters {
		line(name, func(r *comparedRun) string { return r.parameter(name) })
	}
	for _, name := range t.Metrics {
		line(name, func(r *comparedRun) string {
			if cell := r.metric(name); t.Best[name] == r.Name {
				return mark(cell)
			} else {
				return cell
			}
		})
	}
	return grid
}

// turned is a grid with a line a run.
func turned(grid [][]string) [][]string {
	out := make([][]string, len(grid[0]))
	for i := range out {
		for _, row := range grid {
			out[i] = append(out[i], row[i])
		}
	}
	return out
}

const gap = 2

// blocks are the first columns of a grid that fit a width, then the next ones behind the column of names, and so on.
func blocks(grid [][]string, columns int) (found [][][]string) {
	widths := make([]int, len(grid[0]))
	for _, row := range grid {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for from := 1; from < len(widths); {
		to, used := from, widths[0]
		for to < len(widths) && (to == from || used+gap+widths[to] <= columns) {
			used += gap + widths[to]
			to++
		}
		block := make([][]string, len(grid))
		for i, row := range grid {
			block[i] = append(slices.Clone(row[:1]), row[from:to]...)
		}
		found = append(found, block)
		from = to
	}
	return found
}

// notes are the lines below a table that say what its signs mean.
func (t *comparedRuns) notes(best string) (lines []string) {
	if len(t.Parameters) == 0 {
		lines = append(lines, "no parameter differs")
	}
	if len(t.Metrics) == 0 {
		lines = append(lines, "no metrics: nothing here trains or is measured")
	}
	if slices.ContainsFunc(t.Metrics, func(name string) bool {
		return slices.ContainsFunc(t.Runs, func(r *comparedRun) bool { m := r.Metrics[name]; return m != nil && m.Low != nil })
	}) {
		lines = append(lines, "[ ] is the 95% interval of the rows measured")
	}
	if len(t.Best) > 0 {
		lines = append(lines, best+" is the best: its interval overlaps no other's")
	}
	if len(t.Unlike) > 0 {
		lines = append(lines, "not comparable, for rows, grader or settings are not the same in all: "+strings.Join(t.Unlike, ", "))
	}
	for _, r := range t.Runs {
		if r.Action == nil && r.of == nil {
			lines = append(lines, "there is no such pipeline in "+r.Name)
		}
	}
	return lines
}

// title names the pipeline of a table.
func (t *comparedRuns) title() string {
	if t.Path == "." || t.Path == "" {
		return t.Pipeline
	}
	return t.Pipeline + " in " + t.Path
}

func compareText(c *cobra.Command, tables []*comparedRuns) error {
	w := c.OutOrStdout()
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if len(tables) > 1 {
			fmt.Fprintln(w, printable(t.title()))
		}
		grid := t.grid(func(cell string) string { return cell + " *" })
		found := blocks(grid, width(w))
		if other := blocks(turned(grid), width(w)); len(grid) > 1 && len(other) < len(found) {
			found = other
		}
		for i, block := range found {
			if i > 0 {
				fmt.Fprintln(w)
			}
			out := newTable(w)
			for _, row := range block {
				out.row(row...)
			}
			if err := out.flush(); err != nil {
				return err
			}
		}
		for _, note := range t.notes("*") {
			if _, err := fmt.Fprintln(w, wrapped(printable(note), width(w), "  ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// mostAcross is how many runs a Markdown table has beside each other.
const mostAcross = 4

func compareMarkdown(c *cobra.Command, tables []*comparedRuns) error {
	w := c.OutOrStdout()
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if len(tables) > 1 {
			fmt.Fprintf(w, "#### %s\n\n", escaped(t.title()))
		}
		grid := t.grid(func(cell string) string { return "\x00" + cell })
		if len(t.Runs) > mostAcross {
			grid = turned(grid)
		}
		for i, row := range grid {
			for j, cell := range row {
				bare, best := strings.CutPrefix(cell, "\x00")
				row[j] = escaped(bare)
				if best {
					row[j] = "**" + row[j] + "**"
				}
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
			}
		}
		for _, note := range t.notes("Bold") {
			if _, err := fmt.Fprintf(w, "\n%s\n", escaped(note)); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareCSV writes a line a run, numbers as they are, the two ends of an interval in columns of their own.
func compareCSV(c *cobra.Command, tables []*comparedRuns) error {
	for i, t := range tables {
		if i > 0 {
			if _, err := io.WriteString(c.OutOrStdout(), "\n"); err != nil {
				return err
			}
		}
		if err := t.csv(csv.NewWriter(c.OutOrStdout())); err != nil {
			return err
		}
	}
	return nil
}

func (t *comparedRuns) csv(w *csv.Writer) error {
	head := append([]string{"pipeline", "run", "action"}, t.Parameters...)
	for _, name := range t.Metrics {
		head = append(head, name)
		if t.hasIntervals(name) {
			head = append(head, name+"_low", name+"_high")
		}
	}
	if err := w.Write(head); err != nil {
		return err
	}
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	for _, r := range t.Runs {
		action := ""
		if r.Action != nil {
			action = string(*r.Action)
		}
		row := []string{t.Pipeline, r.Name, action}
		for _, name := range t.Parameters {
			value := ""
			if v, ok := r.Parameters[name]; ok {
				value = plain(v)
			}
			row = append(row, value)
		}
		for _, name := range t.Metrics {
			m := r.Metrics[name]
			if m == nil {
				m = &comparedMetric{}
			}
			row = append(row, number(m.Value))
			if t.hasIntervals(name) {
				row = append(row, number(m.Low), number(m.High))
			}
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (t *comparedRuns) hasIntervals(metric string) bool {
	return slices.ContainsFunc(t.Runs, func(r *comparedRun) bool { m := r.Metrics[metric]; return m != nil && m.Better != "" })
}

func compareJSON(c *cobra.Command, tables []*comparedRuns) error {
	return printJSON(c, map[string]any{"tables": tables})
}
