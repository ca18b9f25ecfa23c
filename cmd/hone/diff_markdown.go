package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// commentLimit is the characters of a comment on GitHub (65,536), less some for what others put around it.
const commentLimit = 60_000

// detail is how much a comment shows.
type detail struct {
	graphs, fields    bool
	stages, pipelines int // so many; stages of each pipeline
}

// fewFields is how many fields a comment shows unfolded.
const fewFields = 10

// diffMarkdown writes a comment for a pull request: a summary; a pipeline what is wrong with it and advice, a table, the fields, folded where
// they are many, and a graph; those that are invalid first. A change too big for a
// comment loses its graphs first, then its fields, then ever more stages of each pipeline, then pipelines, and says so.
func diffMarkdown(c *cobra.Command, d *comparison) error {
	var text string
	n, all := len(d.Pipelines), 0
	for _, p := range d.Pipelines {
		all = max(all, len(p.Stages))
	}
	steps := []detail{{true, true, all, n}, {false, true, all, n}}
	for stages := all; stages > 0; stages /= 2 {
		steps = append(steps, detail{stages: stages, pipelines: n})
	}
	for k := n; k > 0; k /= 2 {
		steps = append(steps, detail{pipelines: k})
	}
	for _, how := range append(steps, detail{}) {
		if text = d.markdown(how); utf8.RuneCountInString(text) <= commentLimit {
			break
		}
	}
	_, err := fmt.Fprint(c.OutOrStdout(), text)
	return err
}

func (d *comparison) markdown(how detail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### hone diff\n\n%s\n", d.summary())
	for i, e := range d.Errors {
		if i == 10 {
			fmt.Fprintf(&b, "\n> and %s more: hone vet ./...\n", count(len(d.Errors)-i, "error"))
			break
		}
		fmt.Fprintf(&b, "\n> **invalid** %s\n", e.markdown())
	}
	var order []*diffPipeline // those that are invalid first
	fields := 0
	for _, invalid := range []bool{true, false} {
		for i := range d.Pipelines {
			if p := &d.Pipelines[i]; (p.Change == "invalid") == invalid {
				order = append(order, p)
				fields += p.fields()
			}
		}
	}
	shown, more := 0, 0
	for _, p := range order {
		if p.silent() {
			continue
		}
		if shown++; shown > how.pipelines {
			more++
			continue
		}
		p.markdown(&b, how, d.Base[:12], fields <= fewFields)
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nand %s more: too much for a comment\n", count(more, "pipeline"))
	}
	if unknown := d.unknown(); unknown != nil {
		const most = 20
		if len(unknown) > most {
			unknown = append(unknown[:most:most], fmt.Sprintf("%d more", len(unknown)-most))
		}
		fmt.Fprintf(&b, "\n%s%s\n", notCompared, code(unknown...))
	}
	if !how.fields && shown > 0 {
		fmt.Fprintf(&b, "\nThe change is too big for all of it to be shown here; %s shows it.\n", code("hone diff "+d.arguments()))
	}
	return b.String()
}

// arguments are what shows the same comparison again.
func (d *comparison) arguments() string {
	line := d.Base[:12]
	if d.Head != "" {
		line += " " + d.Head[:12]
	}
	if len(d.Paths) > 0 {
		line += " --"
	}
	for _, path := range d.Paths {
		line += " " + word(path)
	}
	return line
}

func (p *diffPipeline) markdown(b *strings.Builder, how detail, base string, open bool) {
	title := code(p.Path)
	if p.Name != "" && p.Name != path.Base(p.Path) {
		title = escaped(p.Name) + " in " + title
	}
	switch {
	case p.Was != "":
		title += ", was in " + code(p.Was)
	case p.Change == "added", p.Change == "removed":
		title += ": " + p.Change
	case p.Change == "uncompared":
		title += ": not compared: invalid in " + base
	case p.Change == "invalid":
		title += ": not compared: invalid"
	}
	fmt.Fprintf(b, "\n#### %s\n", title)
	if p.Change == "same" {
		b.WriteString("\nno change in meaning\n")
	}
	for _, f := range p.Intent {
		fmt.Fprintf(b, "\n%s: %s → %s (%s)\n", code(f.Field), code(brief(f.Old)), code(brief(f.New)), f.effect())
	}
	tell := func(kind string, findings []finding) {
		for _, a := range findings {
			fmt.Fprintf(b, "\n> **%s** %s\n", kind, a.markdown())
		}
	}
	tell("advice", p.Advice)
	tell("note", p.Notes)
	if how.stages > 0 {
		p.table(b, how.stages)
	}
	if how.fields {
		p.values(b, open)
		p.invalidThen(b, base)
	}
	if how.graphs && p.Change != "same" && p.Change != "invalid" {
		if m := p.mermaid(); m.fits() {
			fmt.Fprintf(b, "\n```mermaid\n%s```\n", m)
		} else {
			b.WriteString("\nThe graph is too big to be drawn here.\n")
		}
	}
}

// table is a line a stage that differs or runs again, so many at most.
func (p *diffPipeline) table(b *strings.Builder, most int) {
	if !slices.ContainsFunc(p.Stages, func(s diffStage) bool { return s.tells() }) {
		return
	}
	b.WriteString("\n| stage | kind | change | then | because of |\n|---|---|---|---|---|\n")
	shown, more := 0, 0
	for _, s := range p.Stages {
		if !s.tells() {
			continue
		}
		if shown++; shown > most {
			more++
			continue
		}
		change := s.Change
		if s.Was != "" {
			change += " from " + codeCell(s.Was)
		}
		switch s.Change {
		case "same":
			change = ""
		case "uncompared":
			change = "not compared"
		}
		var because []string
		if s.Cause != nil && s.Change != "added" {
			because = append(because, codeCell(*s.Cause))
		}
		for _, why := range s.Why {
			because = append(because, escaped(why))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", codeCell(s.Name), s.Kind, change, s.does(), strings.Join(because, "; "))
	}
	if more > 0 {
		fmt.Fprintf(b, "\nand %s more\n", count(more, "stage"))
	}
}

// fields is how many there are to show.
func (p *diffPipeline) fields() (n int) {
	for _, s := range p.Stages {
		n += len(s.Fields)
	}
	return n
}

// values is the fields with what they were and are, open or hidden until they are asked for.
func (p *diffPipeline) values(b *strings.Builder, open bool) {
	fields, details := p.fields(), "<details>"
	if fields == 0 {
		return
	}
	if open {
		details = "<details open>"
	}
	fmt.Fprintf(b, "\n%s<summary>%s</summary>\n\n| field | was | is | at |\n|---|---|---|---|\n", details, count(fields, "field"))
	for _, s := range p.Stages {
		for _, f := range s.Fields {
			name := codeCell(s.Name + "." + f.Field)
			if effect := f.effect(); effect != "" {
				name += " (" + effect + ")"
			}
			at := ""
			if places := f.places(); places != "" {
				at = codeCell(places)
			}
			now := codeCell(brief(f.New))
			if f.Rows != nil {
				now += " " + escaped(f.Rows.String())
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, codeCell(brief(f.Old)), now, at)
		}
	}
	b.WriteString("\n</details>\n")
}

// invalidThen is what was wrong in the base, hidden until it is asked for.
func (p *diffPipeline) invalidThen(b *strings.Builder, base string) {
	if len(p.BaseErrors) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>%s in %s</summary>\n\n", count(len(p.BaseErrors), "error"), base)
	for i, e := range p.BaseErrors {
		if i == manyErrors {
			fmt.Fprintf(b, "- and %s more\n", count(len(p.BaseErrors)-i, "error"))
			break
		}
		fmt.Fprintf(b, "- %s\n", e.markdown())
	}
	b.WriteString("\n</details>\n")
}

// mermaid draws the pipeline as it is now, with what is gone. A big one shows what differs or runs again, and what that reads.
func (p *diffPipeline) mermaid() *mermaid {
	const most = 40
	byName, drawn := map[string]*diffStage{}, map[string]bool{}
	for i := range p.Stages {
		s := &p.Stages[i]
		byName[s.Name] = s
		if !s.Internal && (len(p.Stages) <= most || s.tells()) {
			drawn[s.Name] = true
		}
	}
	if len(p.Stages) > most {
		for _, s := range p.graph.Stages {
			if drawn[s.Name] && byName[s.Name].tells() {
				for _, e := range drawnEdges(p.graph, s) {
					drawn[e[1]] = true
				}
			}
		}
	}
	m := newMermaid()
	for _, s := range p.Stages {
		if !drawn[s.Name] {
			continue
		}
		class, lines := s.Change, []string{s.Name, s.Kind}
		switch class {
		case "same":
			class = "reuse"
			if s.again() {
				class = s.does()
			}
		case "uncompared":
			class = s.does()
		}
		if does := s.does(); does != "" && s.tells() {
			lines[1] += " · " + does
		}
		m.node(s.Name, class, lines...)
	}
	for _, s := range p.graph.Stages {
		if s.Internal {
			continue
		}
		stage := byName[s.Name]
		for _, e := range drawnEdges(p.graph, s) {
			label, arrow := "", "-->"
			if f := stage.field(e[0]); f != nil && f.New != nil {
				label, arrow = e[0], "==>"
				if old, _ := f.Old.(string); old != "" {
					from := old[:max(0, strings.LastIndexByte(old, '.'))]
					m.edge(p.now(from), s.Name, e[0], "-.->")
				}
			}
			m.edge(e[1], s.Name, label, arrow)
		}
	}
	return m
}

// now is what a stage of before is called.
func (p *diffPipeline) now(was string) string {
	for _, s := range p.Stages {
		if s.Was == was {
			return s.Name
		}
	}
	return was
}

// field is the change of a field; nil where it is as it was.
func (s *diffStage) field(name string) *diffField {
	for i := range s.Fields {
		if s.Fields[i].Field == name {
			return &s.Fields[i]
		}
	}
	return nil
}

// code is text as it is, each in backticks.
func code(texts ...string) string {
	for i, text := range texts {
		text = onLine(text)
		fence := "`"
		for strings.Contains(text, fence) {
			fence += "`"
		}
		if len(fence) > 1 {
			text = " " + text + " "
		}
		texts[i] = fence + text + fence
	}
	return strings.Join(texts, ", ")
}

// codeCell is code within a table.
func codeCell(text string) string { return strings.ReplaceAll(code(text), "|", "\\|") }

// markdown is a finding's place and field, then what it says.
func (f finding) markdown() string {
	var at []string
	for _, part := range []string{withoutColumn(f.Pos), f.Path} {
		if part != "" {
			at = append(at, code(part))
		}
	}
	return strings.TrimPrefix(strings.Join(at, " ")+": ", ": ") + escaped(f.Message)
}

// escaped is text that Markdown takes for nothing but text, in a table too.
func escaped(text string) string {
	return strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "~", "\\~", "[", "\\[", "&", "&amp;", "<", "&lt;", "|", "\\|", "\n", " ",
		"#", "\\#", "$", "&#36;", "@", "@\u200b").Replace(printable(text))
}
