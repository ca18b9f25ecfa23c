package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// glimpse is what is known of an artifact or a source: one of a model, and rows.
type glimpse struct {
	model cost.Model
	text  cost.Text
	err   error
}

// remembered looks at an artifact or a source once a process.
func (f *forecast) remembered(name string, look func() glimpse) glimpse {
	f.mu.Lock()
	s, ok := f.shapes[name]
	f.mu.Unlock()
	if !ok {
		s = look()
		f.mu.Lock()
		f.shapes[name] = s
		f.mu.Unlock()
	}
	return s
}

// modelAt is the shape of a model in the store.
func (f *forecast) modelAt(hash string) (cost.Model, error) { return f.look(f.store.Tree(hash)) }

// look reads the shape of the model at a path.
func (f *forecast) look(path string) (cost.Model, error) {
	s := f.remembered("model "+path, func() (s glimpse) {
		if f.opts.Shape == nil {
			s.err = errors.New("nobody reads models here")
		} else {
			s.model, s.err = f.opts.Shape(path)
		}
		return s
	})
	return s.model, s.err
}

// textAt is the rows of a dataset in the store.
func (f *forecast) textAt(hash string) (cost.Text, error) {
	return f.sample("data "+hash, f.store.Tree(hash), nil)
}

func (f *forecast) sample(name, path string, source *schemas.DataLoad) (cost.Text, error) {
	if f.opts.Sample == nil {
		return cost.Text{}, errors.New("nobody reads data here")
	}
	s := f.remembered(name, func() (s glimpse) {
		s.text, s.err = f.opts.Sample(path, source)
		return s
	})
	return s.text, s.err
}

// model is the shape of the model at an edge: of the artifact where it is made, else as what comes before it says. An adapter is its base
// with so many weights more.
func (f *forecast) model(e pipelines.Edge) (cost.Model, error) {
	s := f.graph.Stage(e.From)
	made := f.outputs[e.From][e.Port].Hash
	if made != "" && e.Kind == "model" {
		m, err := f.modelAt(made)
		m.Tuned = f.tuned(s)
		return m, err
	}
	config, err := schemas.Decode(s.Kind, s.Config)
	if err != nil {
		return cost.Model{}, err
	}
	var m cost.Model
	switch c := config.(type) {
	case *schemas.ModelLoad:
		return f.source(s)
	case *schemas.TemplateSet:
		m, err = f.input(s, "model")
		m.Prelude = 0 // most have none
	case *schemas.ModelMerge:
		m, err = f.input(s, "model")
		m.Adapter = 0
	case *schemas.ModelPretrain, *schemas.TrainSFT, *schemas.TrainDPO, *schemas.TrainGRPO:
		if m, err = f.input(s, "model"); err != nil {
			break
		}
		if _, lora := trainingOf(c); lora != nil {
			m.Adapter = m.LoRA(int64(lora.Rank))
		} else {
			m.StoredBytes = 4
		}
		m.Tuned = f.tuned(s)
	default:
		return m, fmt.Errorf("what model %s makes is not known yet", s.Name)
	}
	return m, err
}

func (f *forecast) input(s *pipelines.Stage, field string) (cost.Model, error) {
	for _, in := range s.Inputs {
		if in.Field == field {
			return f.model(in.Edge)
		}
	}
	return cost.Model{}, fmt.Errorf("%s has no %s", s.Name, field)
}

// tuned says whether a stage, or one before it, trains on answers.
func (f *forecast) tuned(s *pipelines.Stage) bool {
	for s != nil {
		switch s.Kind {
		case "train.sft", "train.dpo":
			return true
		case "template.set", "model.merge", "train.grpo", "model.pretrain":
		default:
			return false
		}
		i := slices.IndexFunc(s.Inputs, func(in pipelines.Input) bool { return in.Field == "model" })
		if i < 0 {
			return false
		}
		s = f.graph.Stage(s.Inputs[i].Edge.From)
	}
	return false
}

// source is the shape of what model.load loads.
func (f *forecast) source(s *pipelines.Stage) (m cost.Model, err error) {
	var c schemas.ModelLoad
	if s.Kind != "model.load" || json.Unmarshal(s.Config, &c) != nil {
		return m, fmt.Errorf("%s is no model.load", s.Name)
	}
	if c.Config == nil {
		for _, src := range s.Sources {
			switch {
			case src.Field != "source":
			case src.Hub != "":
				return m, fmt.Errorf("%s is on the hub, and was not loaded yet", src.Written)
			case src.Absent:
				return m, fmt.Errorf("%s is not there", src.Written)
			default:
				m, err = f.look(src.Path)
			}
		}
	} else {
		b, err := json.Marshal(c.Config)
		if err != nil {
			return m, err
		}
		if m, err = cost.ParseModel(b); err != nil {
			return m, err
		}
		if m.Vocabulary == 0 { // the tokenizer's
			for _, src := range s.Sources {
				if src.Field == "tokenizer" && src.Path != "" {
					if m.Vocabulary, err = cost.ReadVocabulary(src.Path); err != nil {
						return m, err
					}
				}
			}
			for _, in := range s.Inputs {
				if in.Field == "tokenizer" {
					of, err := f.model(in.Edge)
					if err != nil {
						return m, err
					}
					m.Vocabulary = of.Vocabulary
				}
			}
		}
	}
	switch c.Dtype {
	case "float32":
		m.StoredBytes = 4
	case "bfloat16":
		m.StoredBytes = 2
	}
	return m, err
}

// text is the rows at an edge: of the artifact where it is made, else as what comes before it says.
func (f *forecast) text(e pipelines.Edge) (cost.Text, error) {
	if made := f.outputs[e.From][e.Port].Hash; made != "" {
		return f.textAt(made)
	}
	return f.made(f.graph.Stage(e.From), e.Port)
}

// rows is the text of a data.load's source.
func (f *forecast) rows(s *pipelines.Stage) (cost.Text, error) {
	var c schemas.DataLoad
	if s.Kind != "data.load" || json.Unmarshal(s.Config, &c) != nil {
		return cost.Text{}, fmt.Errorf("%s is no data.load", s.Name)
	}
	for _, src := range s.Sources {
		if src.Field == "source" && src.Absent {
			return cost.Text{}, fmt.Errorf("%s is not there", src.Written)
		}
		if src.Field == "source" && src.Path != "" {
			return f.sample("source "+src.Path+" "+c.Format+" "+c.Split, src.Path, &c)
		}
	}
	return cost.Text{}, fmt.Errorf("%s has no source here", s.Name)
}

// made is the rows that a stage will make, at most.
func (f *forecast) made(s *pipelines.Stage, port string) (t cost.Text, err error) {
	in := func(field string) (cost.Text, error) {
		for _, in := range s.Inputs {
			if in.Field == field {
				return f.text(in.Edge)
			}
		}
		return cost.Text{}, fmt.Errorf("%s has no %s", s.Name, field)
	}
	config, err := schemas.Decode(s.Kind, s.Config)
	if err != nil {
		return t, err
	}
	answered := func(c *schemas.Answering, field string) (cost.Text, error) {
		t, err := in("data")
		if err != nil {
			return t, err
		}
		m, err := f.input(s, field)
		said := float64(c.MaxNewTokens) * m.BytesPerToken()
		t.Bytes, t.Answer, t.Turns = t.Bytes+said, said, t.Turns+1
		t.Pieces, t.Said = t.Pieces+float64(c.MaxNewTokens), float64(c.MaxNewTokens)
		return t, err
	}
	switch c := config.(type) {
	case *schemas.DataLoad:
		return f.rows(s)
	case *schemas.CurateFilter:
		if port == "dropped" {
			return t, fmt.Errorf("what %s drops is not known yet", s.Name)
		}
		return in("data")
	case *schemas.CurateSplit:
		t, err = in("data")
		t.Rows *= c.Parts[port]
		return t, err
	case *schemas.CurateMix:
		return mixed(c, in)
	case *schemas.Generate:
		return answered(&c.Answering, "model")
	case *schemas.CurateDistill:
		return answered(&c.Answering, "teacher")
	case *schemas.CurateReject:
		if t, err = answered(&c.Answering, "model"); port == "pairs" {
			t.Bytes, t.Answer, t.Pairs = t.Bytes+t.Answer, 2*t.Answer, true
			t.Pieces, t.Said = t.Pieces+t.Said, 2*t.Said
		}
		return t, err
	}
	return t, fmt.Errorf("what rows %s makes is not known yet", s.Name)
}

// mixed is the rows of a mixture: as many of each part as its weight says, until the scarcest part ends.
func mixed(c *schemas.CurateMix, in func(string) (cost.Text, error)) (sum cost.Text, err error) {
	weights, least := 0.0, -1.0
	parts := make([]cost.Text, len(c.Data))
	for i, part := range c.Data {
		if parts[i], err = in(fmt.Sprintf("data[%d].data", i)); err != nil {
			return sum, err
		}
		if weights += part.Weight; part.Weight > 0 {
			if rows := parts[i].Rows / part.Weight; least < 0 || rows < least {
				least = rows
			}
		}
	}
	sum.Rows = max(least, 0) * weights
	if c.Rows != nil {
		sum.Rows = float64(*c.Rows)
	}
	for i, part := range c.Data {
		share := part.Weight / max(weights, 1e-9)
		sum.Bytes += share * parts[i].Bytes
		sum.Pieces += share * parts[i].Pieces
		sum.Answer += share * parts[i].Answer
		sum.Said += share * parts[i].Said
		sum.Turns += share * parts[i].Turns
		sum.Longest = max(sum.Longest, parts[i].Longest)
		sum.Pairs = sum.Pairs || parts[i].Pairs
	}
	return sum, nil
}

// configOf is the config that a record was made with, but for what is no part of a key, out of its ingredients.
func configOf(rec *store.Record) (any, error) {
	tree := map[string]any{}
	for _, in := range rec.Ingredients {
		if in.From != "config" {
			continue
		}
		var v any
		if err := json.Unmarshal(in.Value, &v); err != nil {
			return nil, err
		}
		put(tree, steps(in.Field), v)
	}
	b, err := json.Marshal(plain(tree, schemas.ShapeOf(rec.Kind)))
	if err != nil {
		return nil, err
	}
	return schemas.Decode(rec.Kind, b)
}

// steps takes a path of leaves apart: steps[0].length → steps, 0, length. A quoted name is one step.
func steps(path string) (parts []any) {
	for path != "" {
		switch {
		case path[0] == '.':
			path = path[1:]
		case path[0] == '[':
			n, rest, _ := strings.Cut(path[1:], "]")
			i, _ := strconv.Atoi(n)
			parts, path = append(parts, i), rest
		case path[0] == '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return append(parts, path)
			}
			name, _ := strconv.Unquote(quoted)
			parts, path = append(parts, name), path[len(quoted):]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			parts, path = append(parts, path[:end]), path[end:]
		}
	}
	return parts
}

// put lays a leaf into a tree of maps; those with numbers for keys become lists in plain.
func put(tree map[string]any, path []any, v any) {
	for i, step := range path {
		name := fmt.Sprint(step)
		if _, number := step.(int); number {
			name = "[" + fmt.Sprintf("%09d", step)
		}
		if i == len(path)-1 {
			tree[name] = v
			return
		}
		below, ok := tree[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[name] = below
		}
		tree = below
	}
}

// plain makes of such a tree a config as it is decoded: a file's ending stands for its path.
func plain(v any, s *schemas.Shape) any {
	tree, ok := v.(map[string]any)
	if !ok {
		return v
	}
	child := func(name string) *schemas.Shape {
		switch {
		case s == nil:
			return nil
		case s.Map || s.List:
			return s.Elem
		}
		return s.Fields[name]
	}
	if ending, ok := tree["file"].(string); ok && s != nil && s.File {
		return "file" + ending
	}
	var list []any
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		below := plain(tree[name], child(name))
		if strings.HasPrefix(name, "[") {
			list = append(list, below)
		}
		tree[name] = below
	}
	if list != nil {
		return list
	}
	return tree
}
