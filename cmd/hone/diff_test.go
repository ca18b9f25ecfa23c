package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// However much changes, a comment has room for what is said of it, and says that it is not all.
func TestMarkdownFitsAComment(t *testing.T) {
	run := runner.Run
	for _, size := range []struct{ pipelines, stages, fields int }{{1, 3, 2}, {1, 30, 60}, {1, 2000, 3}, {3000, 2, 1}} {
		d := &comparison{Base: strings.Repeat("a", 40), Head: strings.Repeat("b", 40)}
		for i := range size.pipelines {
			p := diffPipeline{Path: fmt.Sprintf("p%d", i), Name: "try", Change: "changed", graph: &pipelines.Graph{}}
			for j := range size.stages {
				s := diffStage{Name: fmt.Sprintf("s%d", j), Kind: "train.sft", Change: "changed", Action: &run, Cause: new(string)}
				for k := range size.fields {
					s.Fields = append(s.Fields, diffField{Field: fmt.Sprintf("f%d", k), Old: "x|`y`\n", New: strings.Repeat("é", 50), NewPos: "p.cue:1:2"})
				}
				p.Stages = append(p.Stages, s)
				p.graph.Stages = append(p.graph.Stages, &pipelines.Stage{Name: s.Name, Kind: s.Kind})
			}
			d.Pipelines = append(d.Pipelines, p)
		}
		var b strings.Builder
		c := &cobra.Command{}
		c.SetOut(&b)
		if err := diffMarkdown(c, d); err != nil {
			t.Fatal(err)
		}
		n, whole := utf8.RuneCountInString(b.String()), strings.Contains(b.String(), "too big for all of it")
		if n > 65536 || whole == (size.stages == 3) {
			t.Errorf("%+v: %d characters, and says that it is not all: %v", size, n, whole)
		}
		if !strings.Contains(b.String(), "changed; stages:") {
			t.Errorf("%+v: no summary", size)
		}
	}
}
