package pipelines

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/hone-ml/hone/schemas"
)

// refuseCycles tells each cycle once, at the edge where the walk found it, with the way round.
func (c *compiler) refuseCycles() {
	const unseen, open, done = 0, 1, 2
	state := map[string]int{}
	var way []string
	var visit func(s *stage)
	visit = func(s *stage) {
		state[s.name] = open
		way = append(way, s.name)
		for _, e := range s.edges {
			next := c.byName[e.edge.From]
			switch {
			case next == nil:
			case state[next.name] == unseen:
				visit(next)
			case state[next.name] == open:
				round := append(slices.Clone(way[slices.Index(way, next.name):]), next.name)
				slices.Reverse(round)
				c.errorf(s, e.path, "a cycle: %s", strings.Join(round, " → "))
			}
		}
		way = way[:len(way)-1]
		state[s.name] = done
	}
	for _, s := range c.stages {
		if state[s.name] == unseen {
			visit(s)
		}
	}
}

// order puts each stage after what it reads and needs, and otherwise leaves the order in which they were written.
func order(stages []*Stage) []*Stage {
	byName := map[string]*Stage{}
	for _, s := range stages {
		byName[s.Name] = s
	}
	var sorted []*Stage
	placed := map[string]bool{}
	var place func(s *Stage)
	place = func(s *Stage) {
		if placed[s.Name] {
			return
		}
		placed[s.Name] = true
		for _, e := range s.Edges() {
			place(byName[e.From])
		}
		sorted = append(sorted, s)
	}
	for _, s := range stages {
		place(s)
	}
	return sorted
}

// Edges is all that must be there before the stage: inputs, then needs.
func (n *Stage) Edges() []Edge {
	edges := make([]Edge, 0, len(n.Inputs)+len(n.Needs))
	for _, i := range n.Inputs {
		edges = append(edges, i.Edge)
	}
	return append(edges, n.Needs...)
}

// addInternal puts the work that deserves reuse of its own before the stage that wants it, which then reads its output: an eval's
// baseline measured on the same suites, NAME/baseline; what a train.dpo's reference says of the answers, NAME/reference, and of those
// that it is evaluated on, NAME/eval.reference.
func addInternal(stages []*Stage) []*Stage {
	var all []*Stage
	for _, s := range stages {
		switch s.Kind {
		case "eval":
			all = append(all, baseline(s)...)
		case "train.dpo":
			all = append(all, references(s)...)
		}
		all = append(all, s)
	}
	return all
}

// references are the stages that ask the reference of s; none where its loss has none.
func references(s *Stage) []*Stage {
	config := decode[schemas.TrainDPO](s)
	own := config.ReferenceOf()
	if own == nil {
		return nil
	}
	all := []*Stage{reference(s, "reference", "data", own)}
	if config.Eval != nil {
		held := *own
		held.Data = config.Eval.Data
		all = append(all, reference(s, "eval.reference", "eval.data", &held))
	}
	s.Inputs = slices.DeleteFunc(s.Inputs, func(in Input) bool { return in.Field == "reference" })
	for i, field := range []string{"reference", "eval.reference"}[:len(all)] {
		s.Inputs = append(s.Inputs, Input{field, Edge{Kind: "files", From: all[i].Name, Port: "logps"}})
	}
	s.sort()
	config.Reference = &schemas.Edge{Kind: "files", From: all[0].Name, Port: "logps"}
	s.Config = encode(config)
	return all
}

// reference has the fields, inputs and sources of s that its configuration has too, under their names; its rows are those of data.
func reference(s *Stage, name, data string, own *schemas.TrainDPOReference) *Stage {
	r := &Stage{
		Name: s.Name + "/" + name, Kind: schemas.Reference, Pos: s.Pos, Internal: true, Config: encode(own),
		Needs: s.Needs, Resources: s.Resources,
		Outputs: []Output{{Port: "logps", Kind: "files"}},
	}
	kept := map[string]bool{"model": true, "reference": true, "maxLength": true, "dtype": true, "date": true}
	if lora := own.LoRA; lora != nil {
		kept["lora.init"], kept["lora.quantize"], kept["lora.doubleQuantize"] = lora.Init != nil, lora.Quantize != "", lora.Quantize != ""
	}
	kept["batch.rows"] = own.Batch != nil
	for _, in := range s.Inputs {
		if in.Field == data {
			r.Inputs = append(r.Inputs, Input{"data", in.Edge})
		} else if kept[in.Field] {
			r.Inputs = append(r.Inputs, in)
		}
	}
	for _, source := range s.Sources {
		if kept[source.Field] {
			r.Sources = append(r.Sources, source)
		}
	}
	for _, f := range s.Fields {
		if f.Path == data {
			f.Path = "data"
			r.Fields = append(r.Fields, f)
		} else if kept[f.Path] {
			r.Fields = append(r.Fields, f)
		}
	}
	r.sort()
	slices.SortFunc(r.Fields, func(x, y Field) int { return cmp.Compare(x.Path, y.Path) })
	return r
}

// baseline is none or one stage.
func baseline(s *Stage) []*Stage {
	i := slices.IndexFunc(s.Inputs, func(in Input) bool { return in.Field == "baseline" })
	if i < 0 {
		return nil
	}
	config := decode[schemas.Eval](s)
	other := *config
	other.Model, other.Baseline, other.Gate = *config.Baseline, nil, nil
	b := &Stage{
		Name: s.Name + "/baseline", Kind: s.Kind, Pos: s.Pos, Internal: true, Config: encode(other),
		Needs: s.Needs, Resources: s.Resources, Sources: s.Sources, // its graders'
		Outputs: []Output{{Port: "report", Kind: "report"}},
	}
	for _, in := range s.Inputs {
		switch in.Field {
		case "model":
		case "baseline":
			b.Inputs = append(b.Inputs, Input{Field: "model", Edge: in.Edge})
		default:
			b.Inputs = append(b.Inputs, in)
		}
	}
	for _, f := range s.Fields {
		switch {
		case f.Path == "model" || strings.HasPrefix(f.Path, "gate."):
		case f.Path == "baseline":
			f.Path = "model"
			b.Fields = append(b.Fields, f)
		default:
			b.Fields = append(b.Fields, f)
		}
	}
	b.sort()
	slices.SortFunc(b.Fields, func(x, y Field) int { return cmp.Compare(x.Path, y.Path) })
	report := Edge{Kind: "report", From: b.Name, Port: "report"}
	s.Inputs[i].Edge = report
	config.Baseline = &schemas.Edge{Kind: report.Kind, From: report.From, Port: report.Port}
	s.Config = encode(config)
	return []*Stage{b}
}

func decode[T any](s *Stage) *T {
	v, err := schemas.Decode(s.Kind, s.Config)
	if err != nil {
		panic(err) // Compile made it
	}
	return v.(*T)
}

func encode(config any) json.RawMessage {
	b, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	return b
}
