package pipelines

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/schemas"
)

// vetted is how the stages that Vet adds are called: NAME/vet stands for NAME.
const vetted = "/vet"

// Vetted says whether a stage of that name is one of those that Vet adds.
func Vetted(name string) bool { return strings.HasSuffix(name, vetted) }

// Vetting says what `hone vet --data` looks at, and what it may do for it.
type Vetting struct {
	Stages    []string // trainings; all where empty
	Rows      int64    // so many of a dataset; all where 0
	MaxBytes  int64    // of the sources that are read; no bound where 0
	AllowExec bool     // run the programs of exec stages that rows come from
	Run       string   // the command that makes what is not made: hone run examples/sft
	Refused   []string // stages whose rows cannot be read: what is measured by them is left out

	// Made says whether the store has what a stage gives now.
	Made func(*Stage) (bool, error)
	// Tokenizer is a folder of the files beside the weights of the model at a stage's port: a model.load, or a stage that is made.
	Tokenizer func(s *Stage, port string) (string, error)
}

// Proof is a training stage with the stage that proves that its rows reach its loss.
type Proof struct {
	Stage    *Stage
	By       *Stage            // STAGE/vet; nil where Unproven has "data"; without a tokenizer where it has "model"
	Against  []string          // whose rows By has at against[i]: eval.data, STAGE.suites.NAME
	Unproven map[string]string // why not, by what: model, data, eval.data, STAGE.suites.NAME
}

// Trains says whether a stage is a training, which Vet proves something of.
func Trains(s *Stage) bool {
	switch s.Kind {
	case "train.sft", "train.dpo", "train.grpo", "model.pretrain":
		return true
	}
	return false
}

// Vet is g with a stage NAME/vet for each training. It reads the rows that the training will read, where the stages that they come
// from are made, or need neither a model nor, unless AllowExec, a program. It reads no weights: in the place of each model on the way
// stands its tokenizer, NAME/vet too. The error is of Made or of Tokenizer.
func Vet(g *Graph, o Vetting) (*Graph, []*Proof, error) {
	v := &vet{Vetting: o, g: &Graph{Name: g.Name, Dir: g.Dir, Package: g.Package, Stages: slices.Clone(g.Stages)}, sizes: map[string]bool{}}
	var proofs []*Proof
	for _, s := range g.Stages {
		if Trains(s) && (len(o.Stages) == 0 || slices.Contains(o.Stages, s.Name)) {
			proofs = append(proofs, v.proof(s))
		}
	}
	return v.g, proofs, v.err
}

type vet struct {
	Vetting
	g     *Graph // grows
	bytes int64  // of the sources in sizes
	sizes map[string]bool
	err   error
}

// proof adds the stage that proves, as far as there is something to prove it with.
func (v *vet) proof(s *Stage) *Proof {
	p := &Proof{Stage: s, Unproven: map[string]string{}}
	decoded, err := schemas.Decode(s.Kind, s.Config)
	if err != nil {
		panic(err) // Compile made it
	}
	config := schemas.VetDataOf(decoded)
	config.Rows = v.Rows
	by := &Stage{
		Name: s.Name + vetted, Kind: schemas.Proof, Pos: s.Pos, Internal: true,
		Outputs: []Output{{Port: "report", Kind: "report"}},
	}
	add := func(field string, e Edge, find func(Edge) (Edge, error)) (schemas.Edge, bool) {
		e, err := find(e)
		if err != nil {
			p.Unproven[field] = err.Error()
			return schemas.Edge{}, false
		}
		by.Inputs = append(by.Inputs, Input{field, e})
		return schemas.Edge(e), true
	}
	var speaks, ok bool
	config.Model, speaks = add("model", Edge(config.Model), v.tokenizer)
	if config.Data, ok = add("data", Edge(config.Data), v.rows); !ok {
		return p
	}
	against := func(name string, e schemas.Edge) *schemas.VetSuite {
		i := slices.Index(config.Against, e)
		if i >= 0 { // rows may be there to measure by more than once
			p.Against[i] += ", " + name
			return &config.Suites[i]
		}
		by.Inputs = append(by.Inputs, Input{fmt.Sprintf("against[%d]", len(p.Against)), Edge(e)})
		config.Against, config.Suites = append(config.Against, e), append(config.Suites, schemas.VetSuite{})
		p.Against = append(p.Against, name)
		return &config.Suites[len(config.Suites)-1]
	}
	if config.Eval != nil {
		if config.Eval.Data, ok = add("eval.data", Edge(config.Eval.Data), v.rows); ok {
			against("eval.data", config.Eval.Data)
		} else {
			config.Eval = nil
		}
	}
	for _, e := range v.g.Stages {
		if e.Kind != "eval" || e.Internal || !v.judges(e, s) {
			continue
		}
		decoded, err := schemas.Decode(e.Kind, e.Config)
		if err != nil {
			panic(err) // Compile made it
		}
		suites := decoded.(*schemas.Eval).Suites
		for _, in := range e.Inputs {
			if field, ok := strings.CutSuffix(in.Field, ".data"); ok && strings.HasPrefix(field, "suites.") {
				name := e.Name + "." + field
				edge, err := v.rows(in.Edge)
				if err != nil {
					p.Unproven[name] = err.Error()
					continue
				}
				rows := against(name, schemas.Edge(edge))
				if suite := suites[strings.TrimPrefix(field, "suites.")]; v.gives(s, e) {
					rows.Add(&suite)
				}
			}
		}
	}
	if by.Config = encode(config); !speaks {
		by.Kind, by.Config = schemas.RowsProof, encode(config.VetRows)
	}
	by.sort()
	v.g.Stages = append(v.g.Stages, by)
	p.By = by
	return p
}

// judges says whether the model that an eval measures comes of a training.
func (v *vet) judges(eval, training *Stage) bool {
	var from func(s *Stage) bool
	from = func(s *Stage) bool {
		if s == training {
			return true
		}
		return slices.ContainsFunc(s.Inputs, func(in Input) bool { return in.Field == "model" && from(v.g.Stage(in.Edge.From)) })
	}
	return from(eval)
}

// gives says whether the model that a stage reads is that of a training, with the tokenizer and template of it: neither another training
// nor a template.set is between.
func (v *vet) gives(training, s *Stage) bool {
	return slices.ContainsFunc(s.Inputs, func(in Input) bool {
		from := v.g.Stage(in.Edge.From)
		return in.Field == "model" && (from == training || !Trains(from) && from.Kind != "template.set" && v.gives(training, from))
	})
}

// rows is the edge of a dataset, or of another input of a program, that can be had without a model; else the error says what would
// make it.
func (v *vet) rows(e Edge) (Edge, error) {
	s := v.g.Stage(e.From)
	if slices.Contains(v.Refused, s.Name) {
		return e, fmt.Errorf("the rows of %s cannot be read", s.Name)
	}
	cheap := s.Kind == "data.load" || s.Kind == "curate.split" || s.Kind == "curate.mix" || s.Kind == "curate.filter"
	switch {
	case cheap && len(s.Needs) == 0:
	case v.made(s):
		return e, nil
	case len(s.Needs) > 0:
		return e, fmt.Errorf("%s waits for %s, which a model is to give first\n%s --stage %s", s.Name, s.Needs[0].From, v.Run, s.Name)
	case s.Kind != "exec":
		return e, fmt.Errorf("a model is to make the rows of %s first\n%s --stage %s", s.Name, v.Run, s.Name)
	case !v.AllowExec:
		return e, fmt.Errorf("%s runs a program: --allow-exec runs it", s.Name)
	}
	shadow := *s
	shadow.Name, shadow.Internal = s.Name+vetted, true
	shadow.Inputs = slices.Clone(s.Inputs)
	for i, in := range s.Inputs {
		var err error
		switch model := in.Edge.Kind == "model" || in.Edge.Kind == "adapter"; {
		case !model:
			shadow.Inputs[i].Edge, err = v.rows(in.Edge)
		case s.Kind == "curate.filter": // for its tokenizer
			shadow.Inputs[i].Edge, err = v.tokenizer(in.Edge)
		case !v.made(v.g.Stage(in.Edge.From)):
			err = fmt.Errorf("%s reads the model of %s, which is not made yet\n%s --stage %s", s.Name, in.Edge.From, v.Run, in.Edge.From)
		}
		if err != nil && v.made(s) {
			return e, nil
		}
		if err != nil {
			return e, err
		}
	}
	if err := v.fits(s); err != nil {
		return e, err
	}
	if slices.Equal(shadow.Inputs, s.Inputs) {
		return e, nil // the stage itself, for the run that follows to find
	}
	return v.add(&shadow, e), nil
}

// tokenizer is the edge of a model without weights in the place of the model or adapter at e.
func (v *vet) tokenizer(e Edge) (Edge, error) {
	if base := v.g.Base(e); base != nil {
		return v.tokenizer(*base)
	}
	s := v.g.Stage(e.From)
	switch s.Kind {
	case "model.load":
		for _, in := range s.Inputs { // a fresh model has another's
			return v.tokenizer(in.Edge)
		}
	case "template.set":
		shadow := *s
		shadow.Name, shadow.Internal = s.Name+vetted, true
		in, err := v.tokenizer(s.Inputs[0].Edge)
		if err != nil {
			return e, err
		}
		shadow.Inputs, shadow.Needs = []Input{{s.Inputs[0].Field, in}}, nil
		return v.add(&shadow, e), nil
	case "model.merge", "model.pretrain", "train.sft", "train.dpo", "train.grpo":
		for _, in := range s.Inputs {
			if in.Field == "model" { // what they give has the tokenizer and template of what they read
				return v.tokenizer(in.Edge)
			}
		}
	default:
		if !v.made(s) {
			return e, fmt.Errorf("the model of %s is not made yet\n%s --stage %s", s.Name, v.Run, s.Name)
		}
	}
	name := s.Name + vetted
	if v.g.Stage(name) != nil {
		return Edge{Kind: "model", From: name, Port: "model"}, nil
	}
	dir, err := v.Tokenizer(s, e.Port)
	if err != nil {
		return e, err
	}
	return v.add(&Stage{
		Name: name, Kind: schemas.Tokenizer, Pos: s.Pos, Internal: true,
		Config:  encode(schemas.VetTokenizer{Source: "."}),
		Sources: []Source{{Field: "source", Written: s.Name, Path: dir}},
		Outputs: []Output{{Port: "model", Kind: "model"}},
	}, Edge{Kind: "model", Port: "model"}), nil
}

// add puts a stage into the graph, once, and gives the edge of its port that e names.
func (v *vet) add(s *Stage, e Edge) Edge {
	if v.g.Stage(s.Name) == nil {
		v.g.Stages = append(v.g.Stages, s)
	}
	e.From = s.Name
	return e
}

func (v *vet) made(s *Stage) bool {
	made, err := v.Made(s)
	if err != nil && v.err == nil {
		v.err = err
	}
	return made
}

// fits refuses to read more of the user's files than MaxBytes.
func (v *vet) fits(s *Stage) error {
	for _, src := range s.Sources {
		if v.MaxBytes > 0 && !v.sizes[src.Path] {
			v.sizes[src.Path] = true
			v.bytes += bytesAt(src.Path)
		}
		if v.bytes > v.MaxBytes {
			return fmt.Errorf("%s: with it %d MB are to be read, more than %d: --all reads them", src.Written, v.bytes>>20, v.MaxBytes>>20)
		}
	}
	return nil
}

// size is the bytes of a file, or of those in a folder. What cannot be read counts nothing: who reads it says why.
func bytesAt(path string) (n int64) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	_ = filepath.WalkDir(path, func(path string, _ fs.DirEntry, _ error) error {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
