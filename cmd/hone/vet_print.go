package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// colours of states on a terminal.
var stateColour = map[job.State]string{job.Proven: "32", job.Advice: "33", job.Fails: "31", job.Unproven: "2"}

// coloured says whether w is a terminal that wants colour.
func coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// print shows the proofs of a training, and so many rows with what trains marked.
//
//	tune  train.sft  200 of 272 rows
//	  proven    form     rows of conversations
//	  advice    length   12 of 200 rows (6%) are cut (maxLength 256, the longest has 511 tokens)
//	                     row 4 (data/train.jsonl:9), row 17 (data/train.jsonl:31)
func (v *proven) print(w io.Writer, examples int) {
	colour := coloured(w)
	head := v.Stage + "  " + v.Kind
	for _, s := range v.Sets {
		name := map[bool]string{false: s.Data + " "}[s.Data == "data"]
		head += fmt.Sprintf("  %s%s of %s rows", name, grouped(s.Looked), grouped(s.Rows))
	}
	if v.Before {
		head += "  proven before"
	}
	fmt.Fprintln(w, head)
	for i := 0; i < len(v.Proofs); i++ {
		p := v.Proofs[i]
		names := []string{p.Name}
		for i+1 < len(v.Proofs) && together(p, v.Proofs[i+1]) {
			i++
			names = append(names, v.Proofs[i].Name)
		}
		state := fmt.Sprintf("%-8s", p.State)
		if colour {
			state = "\x1b[" + stateColour[p.State] + "m" + state + "\x1b[0m"
		}
		line, message := strings.Join(names, ", "), printable(p.Message)
		if p.Data != "data" && p.Data != "model" {
			message = p.Data + ": " + message
		}
		const gap = "                     "
		if len(names) > 1 && p.State == job.Proven {
			fmt.Fprintf(w, "  %s  %s\n", state, wrapped(line+" of "+p.Data, 68, "            "))
		} else if len(names) > 1 {
			fmt.Fprintf(w, "  %s  %s\n%s%s\n", state, wrapped(line, 68, "            "), gap, folded(message, gap))
		} else {
			fmt.Fprintf(w, "  %s  %-8s %s\n", state, line, folded(message, gap))
		}
		if p.State == job.Advice && len(p.Found) > 0 {
			v.printRows(w, gap, p)
		}
	}
	for _, e := range v.Examples[:min(len(v.Examples), examples)] {
		fmt.Fprintf(w, "\n%s:\n%s\n", rowAt(e.Row, e.Where), withMarks(e, colour))
	}
	if examples > 0 && len(v.Examples) > 0 {
		fmt.Fprintln(w)
	}
}

// folded is a message's lines behind a gap, each no longer than a terminal's.
func folded(text, gap string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = wrapped(line, 80-len(gap), gap)
	}
	return strings.Join(lines, "\n"+gap)
}

// together says whether two proofs, one after another, are told in a line: what is unproven for one reason, and what is right with
// other rows than the training's data.
func together(a, b *job.Proof) bool {
	if a.State != b.State || a.Data != b.Data {
		return false
	}
	other := a.Data != "data" && a.Data != "model" && b.Name != job.ProofOverlap && b.Name != job.ProofNear
	return a.State == job.Unproven && a.Message == b.Message || a.State == job.Proven && other
}

// printRows names a few rows of a proof.
func (v *proven) printRows(w io.Writer, gap string, p *job.Proof) {
	const few = 3
	told := p.Found[:min(len(p.Found), few)]
	for _, f := range told {
		line := rowAt(f.Row, f.Where)
		if f.Same > 0 {
			line += map[bool]string{true: " ~ ", false: " = "}[p.Name == job.ProofNear] + rowAt(f.Same, f.SameWhere)
		}
		if f.Message != "" {
			line += ": " + printable(f.Message)
		}
		fmt.Fprintln(w, gap+folded(line+andMore(f), gap+"  "))
	}
	if more := unnamed(p, told); more > 0 {
		fmt.Fprintf(w, "%sand %d more rows\n", gap, more)
	}
}

// withMarks is an example with what trains in green, or without colour in brackets.
func withMarks(e *job.Example, colour bool) string {
	var b strings.Builder
	for _, p := range e.Parts {
		text := printable(p.Text)
		switch {
		case p.Trained && colour:
			b.WriteString("\x1b[32m" + strings.ReplaceAll(text, "\n", "\x1b[0m\n\x1b[32m") + "\x1b[0m")
		case p.Trained:
			b.WriteString("⟦" + text + "⟧")
		default:
			b.WriteString(text)
		}
	}
	return "  " + strings.ReplaceAll(strings.TrimRight(b.String(), "\n"), "\n", "\n  ")
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// place is where the user wrote a stage.
func place(s *pipelines.Stage) string { return (pipelines.Error{Pos: s.Pos}).Place() }

// quiet shows progress on a terminal, and nothing anywhere else: what vet has to say comes at the end.
type quiet struct{ progress }

func newQuiet(w io.Writer) progress {
	if p := newProgress(w); p.live() {
		return p
	}
	return quiet{newProgress(io.Discard)}
}

func (quiet) update(runner.Update) {}
