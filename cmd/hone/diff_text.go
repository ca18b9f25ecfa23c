package main

import (
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
)

// diffMarks are of changes, as they are printed.
var diffMarks = map[string]string{"added": "+", "removed": "-", "changed": "~", "renamed": ">", "same": " ", "uncompared": "?"}

// tells says whether a stage is worth a line: something of it differs, it runs again because of one before it, or a gate says something of it.
func (s *diffStage) tells() bool {
	if s.Internal { // it follows from the stage that it is of
		return false
	}
	return s.Change != "same" || s.Cause != nil || s.Why != nil
}

// again says whether the change makes a stage run that the store has no result of; one that a gate blocks would, whatever it follows from.
func (s *diffStage) again() bool {
	if s.does() == string(runner.Blocked) && s.Why != nil {
		return true
	}
	return s.Cause != nil && s.Action != nil && *s.Action != runner.Reuse
}

// says is a line a thing to say of the stage: its fields, else what it follows from, and what gates say.
func (s *diffStage) says() (lines []string) {
	if s.Was != "" {
		lines = append(lines, "was "+s.Was)
	}
	for _, f := range s.Fields {
		lines = append(lines, f.String())
		if f.Rows != nil {
			lines = append(lines, f.Field+": "+f.Rows.String())
		}
	}
	if s.Cause != nil && !slices.ContainsFunc(s.Fields, func(f diffField) bool { return f.Keyed }) && s.Change != "added" {
		lines = append(lines, "by "+*s.Cause)
	}
	return append(lines, s.Why...)
}

// String is the field with its old and new value and its place.
func (f diffField) String() string {
	line := fmt.Sprintf("%s %s → %s", f.Field, brief(f.Old), brief(f.New))
	if effect := f.effect(); effect != "" {
		line += " (" + effect + ")"
	}
	if at := f.places(); at != "" {
		line += "  " + at
	}
	return line
}

// effect is what follows from a field from which the stage's result does not.
func (f diffField) effect() string {
	switch {
	case f.Keyed:
		return ""
	case strings.HasPrefix(f.Field, "gate."):
		return "judged anew"
	}
	return "runs nothing again"
}

// places is where the field stands now, and where it stood if that was elsewhere.
func (f diffField) places() string {
	was, now := withoutColumn(f.OldPos), withoutColumn(f.NewPos)
	switch {
	case was == now || was == "" || f.Old == nil: // where there was no field is its stage
		return now
	case now == "":
		return was
	}
	file := now[:strings.LastIndexByte(now, ':')]
	return now + ", was " + strings.TrimPrefix(was, file)
}

// withoutColumn is FILE:LINE of FILE:LINE:COLUMN.
func withoutColumn(pos string) string {
	if strings.Count(pos, ":") < 2 {
		return pos
	}
	return pos[:strings.LastIndexByte(pos, ':')]
}

func printDiff(c *cobra.Command, d *comparison) error {
	w := c.OutOrStdout()
	for i := range d.Pipelines {
		p := &d.Pipelines[i]
		if p.silent() {
			continue
		}
		if err := p.print(w, d.Base[:12]); err != nil {
			return err
		}
	}
	if unknown := d.unknown(); unknown != nil {
		fmt.Fprintln(w, wrapped(onLine(notCompared+strings.Join(unknown, ", ")), width(w)-2, "  "))
	}
	_, err := fmt.Fprintln(w, wrapped(d.summary(), width(w)-2, "  "))
	return err
}

const notCompared = "not in both revisions, so not compared: "

// unknown is the files that could not be compared, from the repository's root.
func (d *comparison) unknown() (files []string) {
	for _, p := range d.Pipelines {
		for _, s := range p.Stages {
			for _, file := range s.Unknown {
				if !filepath.IsAbs(file) {
					file = path.Join(p.Path, file)
				}
				files = append(files, file)
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// silent says whether nothing of the pipeline is worth showing.
func (p *diffPipeline) silent() bool {
	return p.Change == "same" && p.Was == "" && len(p.Advice) == 0 &&
		!slices.ContainsFunc(p.Stages, func(s diffStage) bool { return s.Change != "same" })
}

// title is the pipeline and what of it differs as a whole since base.
func (p *diffPipeline) title(base string) string {
	title := p.Path
	if p.Name != "" {
		title = p.Name + " in " + p.Path
	}
	switch {
	case p.Change == "added", p.Change == "removed":
		title += ": " + p.Change
	case p.Change == "uncompared":
		title += ": not compared: invalid in " + base
	case p.Change == "invalid":
		title += ": not compared: invalid"
	case p.Was != "":
		title += ", was in " + p.Was
	}
	if p.Change == "same" {
		title += ": no change in meaning"
	}
	return title
}

func (p *diffPipeline) print(w io.Writer, base string) error {
	fmt.Fprintln(w, onLine(p.title(base)))
	for _, f := range p.Intent {
		fmt.Fprintf(w, "  ~ %s\n", wrapped(printable(f.String()), width(w)-4, "      "))
	}
	t := newTable(w)
	name, kind, action := 0, 0, 0
	for _, s := range p.Stages {
		if s.tells() {
			name, kind, action = max(name, len([]rune(s.Name))), max(kind, len(s.Kind)), max(action, len(s.does()))
		}
	}
	before := len("  + ") + name + kind + action + 3*2
	as := 0
	for _, s := range p.Stages {
		if !s.tells() {
			if !s.Internal {
				as++
			}
			continue
		}
		head := []string{"  " + diffMarks[s.Change] + " " + s.Name, s.Kind, s.does()}
		said := s.says()
		for i := range said {
			said[i] = printable(said[i])
		}
		t.reasons(head, said, width(w)-before)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if as > 0 && p.Change == "changed" {
		fmt.Fprintf(w, "    %s as before\n", count(as, "stage"))
	}
	tell := func(kind string, findings []finding) {
		for _, a := range findings {
			fmt.Fprintf(w, "  %s: %s\n", kind, wrapped(printable(a.String()), max(width(w)-12, narrowest), "    "))
		}
	}
	tell("advice", p.Advice)
	tell("note", p.Notes)
	for i, e := range p.BaseErrors {
		if i == manyErrors {
			fmt.Fprintf(w, "  in %s: and %s more\n", base, count(len(p.BaseErrors)-i, "error"))
			break
		}
		fmt.Fprintf(w, "  %s\n", wrapped(printable("in "+base+": "+e.String()), max(width(w)-4, narrowest), "    "))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// manyErrors is how many of the base's are shown.
const manyErrors = 10

// does is the stage's action, nothing of a removed one.
func (s *diffStage) does() string {
	if s.Action == nil {
		return ""
	}
	return string(*s.Action)
}

// summary is what was not compared, how much changed and what runs, in a line.
func (d *comparison) summary() string {
	changes, actions := map[string]int{}, map[runner.Action]int{}
	pipelines, uncompared := 0, 0
	for _, p := range d.Pipelines {
		switch p.Change {
		case "same":
		case "uncompared", "invalid":
			uncompared++
			continue
		default:
			pipelines++
		}
		for _, s := range p.Stages {
			if s.Internal {
				continue
			}
			changes[s.Change]++
			if s.again() {
				actions[*s.Action]++
			}
		}
	}
	line := d.apart(uncompared)
	switch {
	case uncompared > 0 && uncompared == len(d.Pipelines):
		return line
	case line != "":
		line += "; "
	}
	if pipelines == 0 {
		return line + "no change in meaning (" + count(len(d.Pipelines)-uncompared, "pipeline") + ")"
	}
	line += count(pipelines, "pipeline") + " changed"
	var parts []string
	for _, change := range []string{"added", "removed", "changed", "renamed"} {
		if n := changes[change]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, change))
		}
	}
	if parts != nil {
		line += "; stages: " + strings.Join(parts, ", ")
	}
	parts = nil
	for _, a := range []struct {
		runner.Action
		is string
	}{{runner.Run, "to run"}, {runner.Resume, "to resume"}, {runner.Blocked, "blocked"}} {
		if n := actions[a.Action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a.is))
		}
	}
	if parts == nil {
		return line + "; nothing to run for it"
	}
	return line + "; with what follows: " + strings.Join(parts, ", ")
}

// apart is what was not compared, so many pipelines among it, or else what is invalid; empty where that is nothing.
func (d *comparison) apart(pipelines int) string {
	var parts []string
	if pipelines > 0 {
		parts = append(parts, count(pipelines, "pipeline"))
	}
	if files := len(d.unknown()); files > 0 {
		parts = append(parts, count(files, "file"))
	}
	line := ""
	if parts != nil {
		line = "not compared: " + strings.Join(parts, ", ")
	}
	if pipelines == 0 && len(d.Errors) > 0 { // in what no pipeline imports
		line = strings.TrimPrefix(line+"; invalid: "+count(len(d.Errors), "error"), "; ")
	}
	return line
}
