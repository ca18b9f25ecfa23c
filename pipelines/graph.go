package pipelines

import (
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"
)

// Graph is a compiled pipeline: what was said, in the order in which it can be done.
type Graph struct {
	Name    string
	Dir     string // absolute folder of the package; relative sources resolve from it
	Package string
	Intent  *Intent  // what it is to achieve; nil where nobody said
	Stages  []*Stage // topological: a stage stands after all that it reads or needs
	Advice  Errors   // what works and is probably not meant
	Notes   Errors   // what is as it should be, and why
	Reads   *Reads   // what it was made from
}

// Intent is what a pipeline is to achieve. It is in no key: advice follows from it, and nothing else.
type Intent struct {
	Goal         string                    // behaviour, capability, knowledge or live data
	Instructions int64                     // that the model is to hold to; 0 where nobody said
	Pos          map[string]token.Position // of goal and instructions
}

// Stage is a node of the graph with its configuration resolved.
type Stage struct {
	Name        string
	Kind        string
	Pos         token.Position // where the user wrote it
	Internal    bool           // added by Compile: score/baseline
	Description string
	Config      json.RawMessage // the kind's fields with defaults filled; an edge is {"kind", "from", "port"}
	Inputs      []Input         // by Field, sorted
	Sources     []Source        // by Field, sorted
	Outputs     []Output        // by Port, sorted
	Needs       []Edge          // reports that must be there, and whose gates must hold
	Resources   Resources
	Fields      []Field // every leaf of Config by path, sorted: for why and diff
	Rows        int64   // of each dataset and source that it reads, in a smoke; 0 is all
	Apart       bool    // what it makes is a smoke's: it is reduced, or reads what such a stage made
}

// Edge names an out port of a stage.
type Edge struct {
	Kind string `json:"kind"` // model, adapter, dataset, report, files
	From string `json:"from"`
	Port string `json:"port"`
}

// Input is an edge with the field that holds it, for example suites.sql.data.
type Input struct {
	Field string
	Edge  Edge
}

// Source is a file or folder of the user's that a field names. Its bytes are an ingredient of the key, its path is not.
type Source struct {
	Field   string
	Written string // as the user wrote it
	Get     string // the command that makes it, where the field has one: source: "…" @get("…")
	Path    string // absolute; empty where Hub is set
	Hub     string // hf://org/name@revision
	Absent  bool   // it is not there, and Options.Absent allows that
	Named   bool   // a program opens it by the path as written, which lies below the pipeline's folder
}

// Absent tells of the files that are not there, where Options.Absent allows it.
func (g *Graph) Absent() (all Errors) {
	for _, s := range g.Stages {
		for _, f := range s.Sources {
			if f.Absent && !s.Internal {
				all = append(all, Error{Pos: s.At(f.Field), Path: "stages." + s.Name + "." + f.Field, Msg: f.Written + ": not here", Get: f.Get})
			}
		}
	}
	return all
}

// Output is an out port. Base is set for adapters: the model that it adapts.
type Output struct {
	Port string
	Kind string
	Base *Edge
}

// Resources is what the scheduler reserves, and what predictions are for. Only Threads touches numbers.
type Resources struct {
	CPUs    int
	Memory  int64 // bytes
	Device  string
	Threads int
	Machine *Machine                  // nil where the stage names none
	Price   string                    // of an hour of it: 2.50 USD/h
	Pos     map[string]token.Position // of the fields that the user wrote
}

// Machine is #MachineName or #Machine: its name, or its figures, of which those are zero that nobody said.
type Machine struct {
	Name                         string
	Device                       string
	Memory                       int64 // bytes
	Float32, BFloat16, Bandwidth float64
}

// Field is a leaf of a stage's configuration: its path within the stage, its value and where the user wrote it.
type Field struct {
	Path     string
	Value    any
	Explicit bool // false for a default
	Pos      token.Position
}

// Stage returns the stage of that name, or nil.
func (g *Graph) Stage(name string) *Stage {
	for _, s := range g.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// At is where the user wrote a field of the stage, else the field that holds it, else the stage.
func (n *Stage) At(field string) token.Position {
	if name, ok := strings.CutPrefix(field, "resources."); ok {
		if pos, ok := n.Resources.Pos[name]; ok {
			return pos
		}
	}
	for path := field; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		i := slices.IndexFunc(n.Fields, func(f Field) bool { return f.Path == path && f.Pos.IsValid() })
		if i >= 0 {
			return n.Fields[i].Pos
		}
	}
	return n.Pos
}

// Base is the edge of the model that the adapter at e adapts; nil where e is no adapter.
func (g *Graph) Base(e Edge) *Edge {
	if from := g.Stage(e.From); from != nil {
		for _, out := range from.Outputs {
			if out.Port == e.Port {
				return out.Base
			}
		}
	}
	return nil
}
