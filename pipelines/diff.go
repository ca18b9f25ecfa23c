package pipelines

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

// StageChange is a stage in two graphs of a pipeline. Old is nil of an added one, New of a removed one; where their names
// differ it was renamed.
type StageChange struct {
	Old, New *Stage
	Fields   []FieldChange // what differs, by field
	Cause    string        // STAGE.FIELD that changes its key: its own or that of a stage before it; empty where nothing does
}

// FieldChange is a field of a stage that differs. Old and New are nil where the one or the other side has no such field.
type FieldChange struct {
	Field    string
	Old, New any
	OldPos   token.Position
	NewPos   token.Position
	Keyed    bool // the stage's result follows from it
}

// Differs says whether anything of the stage's meaning differs.
func (s *StageChange) Differs() bool { return s.Old == nil || s.New == nil || len(s.Fields) > 0 }

// Name is the stage's name, that of before where it is no more.
func (s *StageChange) Name() string {
	if s.New == nil {
		return s.Old.Name
	}
	return s.New.Name
}

// Diff compares two graphs stage by stage: those of after in their order, then those that are gone. A stage is known by its
// name; one of another name may be the same (match). Names of stages and files, places and
// order mean nothing: an edge is compared by the stage that it leads to, a file by content, which gives its hash or nothing
// where that is not known.
func Diff(before, after *Graph, content func(Source) string) []StageChange {
	d := &differ{before: before, after: after, content: content}
	d.was = match(before, after, content)
	causes := map[string]string{}
	var all []StageChange
	olds := byName(before)
	for _, s := range after.Stages {
		c := StageChange{Old: olds[d.was[s.Name]], New: s}
		if c.Old != nil {
			c.Fields = d.fields(c.Old, s)
		}
		c.Cause = cause(after, &c, causes)
		causes[s.Name] = c.Cause
		all = append(all, c)
	}
	kept := map[string]bool{}
	for _, was := range d.was {
		kept[was] = true
	}
	for _, s := range before.Stages {
		if !kept[s.Name] {
			all = append(all, StageChange{Old: s})
		}
	}
	return all
}

// DiffIntent is what differs in what two pipelines are to achieve. No key has it.
func DiffIntent(before, after *Graph) (changes []FieldChange) {
	a, b := before.Intent.fields(), after.Intent.fields()
	for i := range a {
		if a[i].Value != b[i].Value {
			changes = append(changes, FieldChange{Field: a[i].Path, Old: a[i].Value, New: b[i].Value, OldPos: a[i].Pos, NewPos: b[i].Pos})
		}
	}
	return changes
}

// fields is the intent's fields; nil values where nobody said.
func (in *Intent) fields() []Field {
	if in == nil {
		return []Field{{Path: "intent.goal"}, {Path: "intent.instructions"}}
	}
	return []Field{
		{Path: "intent.goal", Value: orNil(in.Goal), Pos: in.Pos["goal"]},
		{Path: "intent.instructions", Value: orNil(in.Instructions), Pos: in.Pos["instructions"]},
	}
}

type differ struct {
	before, after *Graph
	content       func(Source) string
	was           map[string]string // by a stage's name after: its name before
}

// pairsOf is the leaves of both by path.
func pairsOf(a, b []Field) map[string][2]*Field {
	all := map[string][2]*Field{}
	for i := range a {
		all[a[i].Path] = [2]*Field{&a[i], nil}
	}
	for i := range b {
		all[b[i].Path] = [2]*Field{all[b[i].Path][0], &b[i]}
	}
	return all
}

// edge is the edge that a field was written with; nil where it holds none.
func (n *Stage) edge(field string) *Edge {
	for i := range n.Inputs {
		if n.Inputs[i].Field == field {
			return &n.Inputs[i].Edge
		}
	}
	return nil
}

// source is the file that a field names; nil where it names none.
func (n *Stage) source(field string) *Source {
	for i := range n.Sources {
		if n.Sources[i].Field == field {
			return &n.Sources[i]
		}
	}
	return nil
}

// fields lists what differs between a stage before and after.
func (d *differ) fields(old, now *Stage) []FieldChange {
	keyed := []any{keyTree(old), keyTree(now)}
	var changes []FieldChange
	for path, pair := range pairsOf(old.Fields, now.Fields) {
		c := FieldChange{Field: path, OldPos: old.Pos, NewPos: now.Pos}
		if pair[0] != nil {
			c.Old, c.OldPos = pair[0].Value, pair[0].Pos
		}
		if pair[1] != nil {
			c.New, c.NewPos = pair[1].Value, pair[1].Pos
		}
		if d.same(old, now, &c) {
			continue
		}
		for _, tree := range keyed {
			c.Keyed = c.Keyed || at(tree, path) != nil
		}
		changes = append(changes, c)
	}
	beside := func(field string, a, b any) {
		if !equal(a, b) {
			changes = append(changes, FieldChange{Field: field, Old: a, New: b, OldPos: old.Pos, NewPos: now.Pos})
		}
	}
	beside("needs", d.needs(old, false), d.needs(now, true))
	beside("resources.cpus", orNil(old.Resources.CPUs), orNil(now.Resources.CPUs))
	beside("resources.memory", orNil(old.Resources.Memory), orNil(now.Resources.Memory))
	beside("resources.device", orNil(old.Resources.Device), orNil(now.Resources.Device))
	beside("resources.threads", orNil(old.Resources.Threads), orNil(now.Resources.Threads))
	beside("resources.machine", old.Resources.Machine.said(), now.Resources.Machine.said())
	beside("resources.price", orNil(old.Resources.Price), orNil(now.Resources.Price))
	slices.SortFunc(changes, func(a, b FieldChange) int { return cmp.Compare(a.Field, b.Field) })
	return changes
}

// same says whether a field means the same on both sides, and puts the hashes of files whose bytes alone differ into the change.
func (d *differ) same(old, now *Stage, c *FieldChange) bool {
	if a, b := old.source(c.Field), now.source(c.Field); a != nil && b != nil && a.Hub == "" && b.Hub == "" {
		before, after := d.content(*a), d.content(*b)
		if before == "" || after == "" {
			return a.Written == b.Written
		}
		if before != after && a.Written == b.Written {
			c.Old, c.New = before, after
		}
		named := a.Named && a.Written != b.Written // a program opens it by that name
		return before == after && !named
	}
	from, port, isEdge := edgeParts(now, c.Field, c.New)
	if was, ok := d.was[from]; isEdge && ok {
		return equal(c.Old, was+"."+port)
	}
	return equal(c.Old, c.New)
}

// edgeParts takes FROM.PORT apart where a field holds an edge.
func edgeParts(s *Stage, field string, value any) (from, port string, ok bool) {
	text, _ := value.(string)
	if s.edge(field) == nil && field != "baseline" && field != "reference" { // the edges of these lead to internal stages
		return "", "", false
	}
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// needs is what a stage waits for, under the names of before; nil where that is nothing.
func (d *differ) needs(s *Stage, after bool) any {
	var list []any
	for _, e := range s.Needs {
		from := e.From
		if was, ok := d.was[from]; ok && after {
			from = was
		}
		list = append(list, from+"."+e.Port)
	}
	if list == nil {
		return nil
	}
	return list
}

// cause is what changes a stage's key: a field of its own, else what changes that of a stage it reads. Causes has those before it.
func cause(g *Graph, c *StageChange, causes map[string]string) string {
	if c.Old == nil {
		return c.New.Name + ".kind"
	}
	for _, f := range c.Fields {
		if f.Keyed {
			return c.New.Name + "." + f.Field
		}
	}
	for _, in := range c.New.Inputs {
		for e := &in.Edge; e != nil; e = g.Base(*e) {
			if causes[e.From] != "" {
				return causes[e.From]
			}
		}
	}
	return ""
}

// keyTree is what of a stage's configuration goes into its key.
func keyTree(s *Stage) (tree any) {
	b, err := schemas.KeyConfig(s.Kind, s.Config)
	if err == nil {
		err = json.Unmarshal(b, &tree)
	}
	if err != nil {
		panic(fmt.Errorf("%s: %w", s.Kind, err)) // Compile made it
	}
	return tree
}

func orNil[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }
