package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

var (
	graphs = regexp.MustCompile("(?s)```mermaid\n(.*?)```")
	arrows = regexp.MustCompile(`-->|==>|-\.->`)
)

func markdownOf(t *testing.T, d *comparison) string {
	t.Helper()
	var b strings.Builder
	c := &cobra.Command{}
	c.SetOut(&b)
	if err := diffMarkdown(c, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// However much changes, a comment has room for what is said of it, and says that it is not all. What graphs are left GitHub draws: it takes
// 50,000 characters and 500 edges of one.
func TestMarkdownFitsAComment(t *testing.T) {
	run := runner.Run
	for _, size := range []struct {
		pipelines, stages, fields, edges int
		whole                            bool
	}{
		{1, 3, 2, 1, true}, {1, 30, 60, 1, false}, {1, 2000, 3, 1, false}, {1, 5000, 1, 3, false}, {3000, 2, 1, 1, false},
		{1, 39, 0, 15, true}, {80, 25, 0, 2, false}, {1, 450, 0, 1, true},
	} {
		d := &comparison{Base: strings.Repeat("a", 40), Head: strings.Repeat("b", 40)}
		for i := range size.pipelines {
			p := diffPipeline{Path: fmt.Sprintf("p%d", i), Name: "try", Change: "changed", graph: &pipelines.Graph{}}
			for j := range size.stages {
				s := diffStage{Name: fmt.Sprintf("s%d", j), Kind: "train.sft", Change: "changed", Action: &run, Cause: new(string)}
				for k := range size.fields {
					s.Fields = append(s.Fields, diffField{Field: fmt.Sprintf("f%d", k), Old: "x|`y`\n", New: strings.Repeat("é", 50), NewPos: "p.cue:1:2"})
				}
				p.Stages = append(p.Stages, s)
				of := &pipelines.Stage{Name: s.Name, Kind: s.Kind}
				for k := max(0, j-size.edges); k < j; k++ {
					of.Inputs = append(of.Inputs, pipelines.Input{Field: "data", Edge: pipelines.Edge{From: fmt.Sprintf("s%d", k)}})
				}
				p.graph.Stages = append(p.graph.Stages, of)
			}
			d.Pipelines = append(d.Pipelines, p)
		}
		text := markdownOf(t, d)
		n, whole := utf8.RuneCountInString(text), !strings.Contains(text, "too big for all of it")
		if n > 65536 || whole != size.whole {
			t.Errorf("%+v: %d characters, and says that it is all: %v", size, n, whole)
		}
		if !strings.Contains(text, "changed; stages:") {
			t.Errorf("%+v: no summary", size)
		}
		if size.pipelines == 1 && !strings.Contains(text, "| `s0` |") {
			t.Errorf("%+v: no stage is told of", size)
		}
		if rows := strings.Count(text, "\n| `s"); size.pipelines == 1 && rows < size.stages && n < commentLimit/3 {
			t.Errorf("%+v: %d rows in %d characters leave most of the room", size, rows, n)
		}
		for _, g := range graphs.FindAllStringSubmatch(text, -1) {
			if edges := len(arrows.FindAllString(g[1], -1)); len(g[1]) > 50_000 || edges > 500 {
				t.Errorf("%+v: a graph of %d characters and %d edges", size, len(g[1]), edges)
			}
		}
	}
}

// Nothing that a pipeline says becomes Markdown, HTML or mermaid of its own.
func TestMarkdownInjectsNothing(t *testing.T) {
	run := runner.Run
	for _, evil := range []string{"a|b", "`", "``` `", "<img src=x>", "</details>", "@team", "#1", "[x](y)", "**b**", "$x$", "a\nb", "| x |\n\n# y", "%%{init: {}}%%", `"];click s0 "x"`, "\x1b[2J", "&lt;"} {
		p := diffPipeline{Path: evil, Name: evil, Change: "changed", graph: &pipelines.Graph{}}
		for _, name := range []string{"s0", "s1"} {
			field := "suites." + evil + ".data"
			p.Stages = append(p.Stages, diffStage{Name: name, Kind: "eval", Change: "changed", Action: &run, Cause: &evil, Was: evil,
				Fields: []diffField{{Field: field, Old: evil + ".out", New: evil, OldPos: evil + ":1:1", NewPos: evil + ":2:1"}}})
			p.graph.Stages = append(p.graph.Stages, &pipelines.Stage{Name: name, Kind: "eval", Inputs: []pipelines.Input{{Field: field, Edge: pipelines.Edge{From: "s0"}}}})
		}
		p.Advice = []finding{{evil + ":1:1", evil, evil}}
		d := &comparison{Base: strings.Repeat("a", 40), Pipelines: []diffPipeline{p}, Errors: []finding{{"", "", evil}}}
		text := markdownOf(t, d)
		graph := graphs.FindString(text)
		for _, bad := range []string{"%%", "click s0 \"", "<img", "`"} {
			if inside := strings.TrimSuffix(strings.TrimPrefix(graph, "```mermaid"), "```"); strings.Contains(inside, bad) {
				t.Errorf("%q: in the graph:\n%s", evil, graph)
			}
		}
		rest := spans.ReplaceAllString(strings.Replace(text, graph, "", 1), "CODE")
		for _, bad := range []string{"<img", "@team", "**b**", " #1", " [x](y)", "\x1b", "$x$", "`"} {
			if strings.Contains(rest, bad) {
				t.Errorf("%q: %q in\n%s", evil, bad, rest)
			}
		}
		if n := strings.Count(rest, "</details>"); n != 1 {
			t.Errorf("%q: %d ends of details in\n%s", evil, n, rest)
		}
		for line := range strings.Lines(text) {
			if columns := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); strings.HasPrefix(line, "|") && columns != 6 && columns != 5 {
				t.Errorf("%q: %d columns in %s", evil, columns-1, line)
			}
			if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "b") {
				t.Errorf("%q: a line of its own: %s", evil, line)
			}
		}
	}
}

// spans are spans of code (CommonMark 6.1) of the fences that occur here, the longest first, and backticks that are escaped.
var spans = regexp.MustCompile("````.*?[^`]````|```[^`].*?[^`]```|``[^`].*?[^`]``|\\\\`|`[^`]+`")
