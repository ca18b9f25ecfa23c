package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

func graphCommand() *cobra.Command {
	var f flags
	var format string
	c := &cobra.Command{
		Use:   "graph [PATH]",
		Short: "the stages and what they read from each other, as mermaid or dot",
		Long: `graph draws a pipeline: a box a stage, in the colour of what run would do with it, an arrow to what reads it. mermaid is shown
by GitHub and GitLab in a Markdown file, dot is for Graphviz. It executes nothing and needs no network.`,
		Example: `  hone graph examples/sft > graph.mmd
  hone graph --format dot | dot -Tsvg -o graph.svg`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			draw := map[string]func(*pipelines.Graph, *runner.Plan) string{"mermaid": drawMermaid, "dot": drawDot}[format]
			if draw == nil {
				return usage("--format %s: mermaid or dot", format)
			}
			r, _, err := f.runner(args, runner.Options{})
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), draw(r.Graph(), plan))
			return err
		},
	}
	f.register(c, "store", "tags", "device", "threads", "stage", "numerics")
	c.Flags().StringVar(&format, "format", "mermaid", "`FORMAT`: mermaid or dot")
	return c
}

// box is what stands in a stage's box.
func box(s *runner.StagePlan) []string { return []string{s.Name, s.Kind + " · " + string(s.Action)} }

func drawMermaid(g *pipelines.Graph, plan *runner.Plan) string {
	m := newMermaid()
	for _, s := range plan.Stages {
		if !s.Internal {
			m.node(s.Name, string(s.Action), box(s)...)
		}
	}
	for _, s := range plan.Stages {
		if !s.Internal {
			for _, e := range drawnEdges(g, s.Stage) {
				m.edge(e[1], s.Name, "", "-->")
			}
		}
	}
	return m.String()
}

// drawDot is the same for Graphviz (https://graphviz.org/doc/info/lang.html).
func drawDot(g *pipelines.Graph, plan *runner.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=LR\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"]\n", dotText(plan.Pipeline))
	for _, s := range plan.Stages {
		if !s.Internal {
			c := colours[slices.IndexFunc(colours, func(c colour) bool { return c.class == string(s.Action) })]
			fmt.Fprintf(&b, "  %s [label=%s, fillcolor=%s, color=%s]\n", dotText(s.Name), dotText(box(s)...), dotText(c.fill), dotText(c.stroke))
		}
	}
	drawn := map[string]bool{}
	for _, s := range plan.Stages {
		if s.Internal {
			continue
		}
		for _, e := range drawnEdges(g, s.Stage) {
			line := fmt.Sprintf("  %s -> %s\n", dotText(e[1]), dotText(s.Name))
			if !drawn[line] {
				drawn[line] = true
				b.WriteString(line)
			}
		}
	}
	return b.String() + "}\n"
}

// dotText is lines as a quoted string of dot.
func dotText(lines ...string) string {
	for i, line := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(printable(line))
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}
