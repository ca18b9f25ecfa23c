package pipelines

import (
	"encoding/json"
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

// Compile makes the graph of a pipeline, or says everything that is wrong with it as Errors.
func Compile(p *Pipeline) (*Graph, error) {
	c := &compiler{
		p: p, definitions: p.definitions(p.context), places: p.places(),
		byName: map[string]*stage{}, choosing: map[string]bool{}, programs: map[string]error{},
	}
	g := &Graph{Dir: p.Dir, Package: p.Package, Name: c.header()}
	g.Intent = c.intent()
	c.collectStages()
	for _, s := range c.stages {
		c.resolveEdges(s)
		c.resolveSources(s)
		c.requireShape(s)
	}
	c.conformAll()
	for _, s := range c.stages {
		if s.config != nil {
			c.requireSense(s)
		}
	}
	c.refuseCycles()
	if len(c.errs) == 0 { // what the walk does not see: conflicts in helpers that no stage reads
		if err := p.value.Validate(); err != nil {
			return nil, p.cueErrors(err)
		}
	}
	if err := c.errs.dropEchoes().sorted(); err != nil {
		return nil, err
	}
	for _, s := range c.stages {
		g.Stages = append(g.Stages, s.node())
	}
	g.Stages = order(addInternal(g.Stages))
	c.senseIntent(g)
	c.senseOverlap(g)
	g.Advice, g.Notes = c.advice, c.notes
	g.Reads = p.reader.reads()
	return g, nil
}

type compiler struct {
	*definitions
	p        *Pipeline
	places   map[string]token.Pos // of fields that are written out
	stages   []*stage             // as written
	byName   map[string]*stage
	choosing map[string]bool  // structs that lack one field of several, or have too many
	programs map[string]error // by name and PATH: why the machine has none
	errs     Errors
	advice   Errors
	notes    Errors
}

// stage is a stage on its way from CUE to a node of the graph.
type stage struct {
	name  string
	kind  string // empty where it is unknown
	shape *schemas.Shape
	pos   token.Position
	tree  map[string]any            // what the user said, by field; numbers are json.Number, an edge is an *Edge
	where map[string]token.Position // of each field that the user wrote, by its path in the stage
	edges []edgeField
	files []Source

	outs   []Output
	config any // the kind's type with defaults filled; nil while something is wrong
}

// edgeField is a field that holds an edge, not yet looked at.
type edgeField struct {
	path  string
	value cue.Value
	kinds []string // that it takes
	set   func(Edge)
	edge  Edge // once resolved
}

// at is the place of a field: its own, else that of the nearest struct around it that the user wrote.
func (s *stage) at(path string) token.Position {
	for path != "" {
		if pos, ok := s.where[path]; ok {
			return pos
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return s.pos
}

func (c *compiler) errorf(s *stage, path, format string, args ...any) {
	c.errs = append(c.errs, s.problem(path, format, args...))
}

func (c *compiler) advisef(s *stage, path, format string, args ...any) {
	c.advice = append(c.advice, s.problem(path, format, args...))
}

func (s *stage) problem(path, format string, args ...any) Error {
	return Error{Pos: s.at(path), Path: s.path(path), Msg: fmt.Sprintf(format, args...)}
}

// path is a field's path in the pipeline: stages.tune.learningRate.
func (s *stage) path(field string) string {
	full := "stages." + s.name
	if !nameRule.MatchString(s.name) {
		full = fmt.Sprintf("stages.%q", s.name)
	}
	return strings.TrimSuffix(full+"."+field, ".")
}

// told says whether something has been said about a field of a stage, or about a field around it, or that one of
// several fields is wanted of which it is one. About a stage as a whole nothing more is said once anything has been.
func (c *compiler) told(s *stage, path string) bool {
	own, full := s.path(""), s.path(path)
	for _, e := range c.errs {
		around := strings.HasPrefix(full, e.Path+".") || strings.HasPrefix(full, e.Path+"[")
		switch {
		case e.Path == full, around && e.Path != own, path == "" && strings.HasPrefix(e.Path, own+"."):
			return true
		}
	}
	return c.choosing[full] || c.choosing[full[:max(strings.LastIndexByte(full, '.'), 0)]]
}

// node is the stage as the graph has it.
func (s *stage) node() *Stage {
	config, err := json.Marshal(s.config)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	n := &Stage{Name: s.name, Kind: s.kind, Pos: s.pos, Config: config, Outputs: s.outs, Sources: s.files}
	n.Description, _ = s.tree["description"].(string)
	n.Resources = s.resources()
	for _, e := range s.edges {
		if strings.HasPrefix(e.path, "needs[") {
			n.Needs = append(n.Needs, e.edge)
		} else {
			n.Inputs = append(n.Inputs, Input{Field: e.path, Edge: e.edge})
		}
	}
	n.Fields = s.leaves(config)
	n.sort()
	return n
}
