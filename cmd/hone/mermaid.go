package main

import (
	"fmt"
	"strings"

	"github.com/hone-ml/hone/pipelines"
)

// mermaid draws a graph for GitHub, GitLab and whatever else reads https://mermaid.js.org: a box a stage in the colour of its class, an
// arrow an edge. Lines that the graph has no longer are dotted.
type mermaid struct {
	ids     map[string]string
	nodes   strings.Builder
	edges   strings.Builder
	classes map[string]bool
	drawn   map[string]bool // lines of edges
}

// colours of classes; those of GitHub's diff where there is one. Text stays dark on them in either theme.
var colours = []colour{
	{"added", "#d1f0d9", "#1a7f37", ""},
	{"removed", "#ffd7d5", "#cf222e", dashed},
	{"changed", "#fff3c4", "#9a6700", ""},
	{"renamed", "#e7e0ff", "#8250df", ""},
	{"run", "#dbedff", "#0969da", ""},
	{"resume", "#dbedff", "#0969da", dashed},
	{"blocked", "#ffd7d5", "#cf222e", ""},
	{"reuse", "#f6f8fa", "#8c959f", ""},
}

type colour struct{ class, fill, stroke, more string }

const dashed = ",stroke-dasharray:4"

func newMermaid() *mermaid {
	return &mermaid{ids: map[string]string{}, classes: map[string]bool{}, drawn: map[string]bool{}}
}

// node adds a stage; line by line what stands in its box.
func (m *mermaid) node(name, class string, lines ...string) {
	id := fmt.Sprintf("s%d", len(m.ids))
	m.ids[name] = id
	for i, line := range lines {
		lines[i] = mermaidText(line)
	}
	fmt.Fprintf(&m.nodes, "  %s[\"%s\"]", id, strings.Join(lines, "<br/>"))
	if class != "" {
		m.classes[class] = true
		fmt.Fprintf(&m.nodes, ":::%s", class)
	}
	m.nodes.WriteByte('\n')
}

// edge adds an arrow, once; one whose ends are not both drawn is left out.
func (m *mermaid) edge(from, to, label, arrow string) {
	a, b := m.ids[from], m.ids[to]
	if a == "" || b == "" {
		return
	}
	if label != "" {
		label = "|\"" + mermaidText(label) + "\"|"
	}
	line := fmt.Sprintf("  %s %s%s %s\n", a, arrow, label, b)
	if !m.drawn[line] {
		m.drawn[line] = true
		m.edges.WriteString(line)
	}
}

func (m *mermaid) String() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n" + m.nodes.String() + m.edges.String())
	for _, c := range colours {
		if m.classes[c.class] {
			fmt.Fprintf(&b, "  classDef %s fill:%s,stroke:%s,color:#1f2328%s\n", c.class, c.fill, c.stroke, c.more)
		}
	}
	return b.String()
}

// fits says whether mermaid draws it with the limits that GitHub leaves as they are (maxTextSize, maxEdges).
func (m *mermaid) fits() bool { return len(m.String()) < 50_000 && len(m.drawn) <= 500 }

// mermaidText is text as a quoted label takes it. Its comments and directives begin with %% anywhere in a line, its formulas with $$,
// and its Markdown with a backtick.
func mermaidText(text string) string {
	return strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "%", "#37;", "$", "#36;", "`", "#96;", "&", "#38;", "\n", " ").Replace(printable(text))
}

// drawnEdges is what leads into a stage as its author wrote it: field, and the stage that it reads. What internal stages stand between
// is left out.
func drawnEdges(g *pipelines.Graph, s *pipelines.Stage) (edges [][2]string) {
	for _, in := range s.Inputs {
		if from := g.Stage(in.Edge.From); from == nil || !from.Internal {
			edges = append(edges, [2]string{in.Field, in.Edge.From})
			continue
		}
		for _, inner := range g.Stage(in.Edge.From).Inputs {
			if inner.Field == "model" || inner.Field == "reference" {
				edges = append(edges, [2]string{in.Field, inner.Edge.From})
			}
		}
	}
	for _, e := range s.Needs {
		edges = append(edges, [2]string{"needs", e.From})
	}
	return edges
}
