package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// resolveEdges finds the port that each edge of a stage names, and refuses what carries the wrong kind.
func (c *compiler) resolveEdges(s *stage) {
	for i := range s.edges {
		f := &s.edges[i]
		edge, problem := c.resolve(f)
		if problem != "" {
			c.errorf(s, f.path, "%s", problem)
		}
		f.edge = edge
		f.set(edge)
	}
}

const howEdges = "an edge is written stages.NAME.out.PORT"

func (c *compiler) resolve(f *edgeField) (Edge, string) {
	edge, ok := asEdge(f.value)
	if !ok {
		return Edge{}, c.notAnEdge(f.value)
	}
	from := c.byName[edge.From]
	if from == nil {
		return Edge{}, fmt.Sprintf("there is no stage %s%s", edge.From, Suggest(edge.From, names(c.byName)))
	}
	if from.kind == "" {
		return Edge{}, "" // told at that stage
	}
	port := from.out(edge.Port)
	if port == nil {
		return Edge{}, from.noPort(edge.Port)
	}
	edge.Kind = port.Kind // of a literal edge too
	if port.Kind == "" || slices.Contains(f.kinds, port.Kind) {
		return edge, ""
	}
	msg := fmt.Sprintf("wants %s, and %s.%s is %s", article(f.kinds), edge.From, edge.Port, article([]string{port.Kind}))
	switch {
	case port.Kind == "adapter" && slices.Equal(f.kinds, []string{"model"}):
		msg += "; model.merge makes a model of it"
	case port.Kind == "model" && slices.Equal(f.kinds, []string{"adapter"}):
		msg += "; train.sft with lora makes an adapter"
	}
	return Edge{}, msg
}

// notAnEdge says what stands where an edge should.
func (c *compiler) notAnEdge(v cue.Value) string {
	if ref, name, port, ok := c.reference(v); ok {
		from := c.byName[name]
		switch {
		case from == nil:
			return fmt.Sprintf("there is no stage %s%s", name, Suggest(name, names(c.byName)))
		case from.kind == "":
			return "" // told at that stage
		case port != "" && (from.out(port) != nil || len(from.outs) == 0):
			return "" // there, or not to be known, but for what is wrong with that stage
		case port != "":
			return from.noPort(port)
		}
		return fmt.Sprintf("%s is no edge; it has %s", ref, from.edgesOut())
	}
	if err := v.Err(); err != nil {
		return oneLine("%s", []any{err.Error()}) + "; " + howEdges
	}
	if v.IncompleteKind() != cue.StructKind {
		b, _ := v.MarshalJSON()
		return fmt.Sprintf("%s is no edge; %s", b, howEdges)
	}
	return "no edge; " + howEdges
}

// reference reads the stage and port that an expression refers to, whether or not they are there.
func (c *compiler) reference(v cue.Value) (ref cue.Path, name, port string, ok bool) {
	op, parts := v.Expr()
	if op != cue.AndOp {
		parts = []cue.Value{v}
	}
	for _, part := range parts {
		_, path := part.ReferencePath()
		sel := path.Selectors()
		if len(sel) < 2 || sel[0].String() != "stages" {
			continue
		}
		name = sel[1].Unquoted()
		if len(sel) == 4 && sel[2].String() == "out" {
			port = sel[3].Unquoted()
		}
		return path, name, port, true
	}
	return cue.Path{}, "", "", false
}

func (s *stage) out(port string) *Output {
	for i := range s.outs {
		if s.outs[i].Port == port {
			return &s.outs[i]
		}
	}
	return nil
}

func (s *stage) noPort(port string) string {
	var have []string
	for _, o := range s.outs {
		have = append(have, o.Port)
	}
	return fmt.Sprintf("stage %s has no out port %s%s", s.name, port, Suggest(port, have))
}

func (s *stage) edgesOut() string {
	var edges []string
	for _, o := range s.outs {
		edges = append(edges, "stages."+s.name+".out."+o.Port)
	}
	return strings.Join(edges, ", ")
}

// article writes kinds for a sentence: a model or an adapter.
func article(kinds []string) string {
	var b strings.Builder
	for i, kind := range kinds {
		switch {
		case i > 0 && i == len(kinds)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		switch kind {
		case "adapter":
			b.WriteString("an adapter")
		case "files":
			b.WriteString("files")
		default:
			b.WriteString("a " + kind)
		}
	}
	return b.String()
}
