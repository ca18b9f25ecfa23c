package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// table lines up columns, two spaces apart. Empty cells at the end of a row are left out.
type table struct {
	to   io.Writer
	w    *tabwriter.Writer
	text strings.Builder
	rows int
	more map[int]string // below a row, whatever its width
}

func newTable(w io.Writer) *table {
	t := &table{to: w, more: map[int]string{}}
	t.w = tabwriter.NewWriter(&t.text, 0, 8, 2, ' ', 0)
	return t
}

func (t *table) row(cells ...string) {
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(cell, "\t", " ")
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	t.rows++
}

// narrowest is the columns of a reason where names leave it less.
const narrowest = 28

// reasons is a row with reasons in its last column, each wrapped and on lines of its own. The column has so many columns of the terminal.
func (t *table) reasons(head, reasons []string, columns int) {
	for _, reason := range reasons {
		for line := range strings.Lines(wrapped(reason, max(columns-2, narrowest), "  ")) {
			t.row(append(slices.Clip(head), strings.TrimSuffix(line, "\n"))...)
			head = make([]string, len(head))
		}
	}
	if head[0] != "" {
		t.row(head...)
	}
}

// below puts lines under the last row.
func (t *table) below(lines string) {
	if lines != "" {
		t.more[t.rows] = indented(lines)
	}
}

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return err
	}
	out := bufio.NewWriter(t.to)
	n := 0
	for line := range strings.Lines(t.text.String()) {
		n++
		out.WriteString(line + t.more[n]) // Flush tells of an error
	}
	return out.Flush()
}

// indented is lines as they stand below what they belong to.
func indented(lines string) string {
	return "    " + strings.ReplaceAll(lines, "\n", "\n    ") + "\n"
}

// width is the columns of the terminal that w is, 80 where it is none.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns >= 20 {
			return columns
		}
	}
	return 80
}

// wrapped breaks text at spaces so that no line has more than columns, if a word allows, beside the indent of all but the first.
func wrapped(text string, columns int, indent string) string {
	var b strings.Builder
	rest := []rune(strings.TrimSpace(strings.ReplaceAll(text, "\n", " ")))
	for len(rest) > columns {
		at := columns
		for at > 0 && rest[at] != ' ' {
			at--
		}
		if at == 0 {
			for at = columns; at < len(rest) && rest[at] != ' '; at++ {
			}
		}
		b.WriteString(strings.TrimRight(string(rest[:at]), " ") + "\n" + indent)
		rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
	}
	return b.String() + string(rest)
}

// telling is the metrics that say most of a training, under TRL's names, the most telling first. Those of a method come before
// what every training has.
var telling = []string{
	"step", "reward", "loss", "rewards/accuracies", "rewards/margins", "reward_std", "frac_reward_zero_std", "kl",
	"epoch", "learning_rate", "grad_norm", "rewards/chosen", "rewards/rejected", "completions/mean_length",
	"completions/clipped_ratio", "entropy", "steps", "tokens", "tokens_per_second",
}

// byImportance sorts names of metrics, the telling ones first; others keep their order.
func byImportance(names []string) []string {
	rank := func(name string) int {
		if i := slices.Index(telling, name); i >= 0 {
			return i
		}
		return len(telling)
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}
