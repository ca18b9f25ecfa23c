package runner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// SavedFormat is the version of Saved. docs/before-a-run.md is the prose of it.
const SavedFormat = 1

// Saved is a plan in a file: what it decided, and all that this followed from. `hone plan --out` writes it, `hone run FILE`
// carries it out. Values of environments are in it as hashes: a program may be given a secret so.
type Saved struct {
	Format   int          `json:"hone_plan"`
	Digest   string       `json:"digest"`         // of the rest
	Version  string       `json:"hone"`           // that planned
	Pipeline string       `json:"pipeline"`       // its name
	Dir      string       `json:"dir"`            // its folder, from the file's own
	Package  string       `json:"package"`        //
	Tags     []string     `json:"tags,omitempty"` // -t, as given
	Only     []string     `json:"stage,omitempty"`
	Store    string       `json:"store"` // absolute
	Device   string       `json:"device"`
	Threads  int          `json:"threads"` // 0 is all cores
	Numerics string       `json:"numerics"`
	Stages   []SavedStage `json:"stages"`
}

// SavedStage is one stage of a saved plan.
type SavedStage struct {
	Name           string                     `json:"name"`
	Kind           string                     `json:"kind"`
	Implementation int                        `json:"implementation"`
	Action         Action                     `json:"action"`
	Key            *string                    `json:"key"`    // null where an upstream output was not known
	Fields         map[string]json.RawMessage `json:"fields"` // by path, defaults filled, and what the scheduler reserves
	Sources        map[string]SavedSource     `json:"sources,omitempty"`
}

// SavedSource is a file or folder of the user's by what was in it, or what a hub's revision meant.
type SavedSource struct {
	Written string `json:"written"`
	Hash    string `json:"hash"` // BLAKE3, or the commit; empty where hone.lock had none yet
}

// Save fills in what a plan decided and followed from. Dir, Tags and the flags are the caller's.
func (r *Runner) Save(plan *Plan, into *Saved) error {
	into.Format, into.Version, into.Pipeline, into.Package, into.Store = SavedFormat, r.opts.Version, r.graph.Name, r.graph.Package, r.store.Dir
	into.Stages = nil
	for _, p := range plan.Stages {
		s := SavedStage{Name: p.Name, Kind: p.Kind, Implementation: schemas.Implementation(p.Kind), Action: p.Action, Key: p.Key, Sources: map[string]SavedSource{}}
		var err error
		if s.Fields, err = savedFields(p.Stage); err != nil {
			return err
		}
		for _, src := range p.Stage.Sources {
			var hash string
			if src.Hub != "" {
				hash = r.lock.commit(src.Hub)
			} else if hash, err = r.hash(src.Path); err != nil {
				return err
			}
			s.Sources[src.Field] = SavedSource{src.Written, hash}
		}
		into.Stages = append(into.Stages, s)
	}
	into.Digest = into.digest()
	return nil
}

// Whole says whether a file is as Save left it.
func (s *Saved) Whole() bool { return s.Digest == s.digest() }

func (s *Saved) digest() string {
	rest := *s
	rest.Digest = ""
	b, err := json.Marshal(rest)
	if err != nil {
		panic(err) // it was JSON, or is made of it
	}
	return store.Sum(b)
}

// savedFields is every leaf of a stage's configuration, whether its key has it or not, what it waits for, and what is reserved.
func savedFields(s *pipelines.Stage) (map[string]json.RawMessage, error) {
	list, err := leaves(s.Config)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	for _, in := range list {
		if s.Kind == "exec" && strings.HasPrefix(in.Field, "env.") {
			in.Value, err = json.Marshal("blake3:" + store.Sum(in.Value)[:16])
		}
		fields[in.Field] = in.Value
	}
	for i, e := range s.Needs {
		b, _ := json.Marshal(e.From + "." + e.Port)
		fields[fmt.Sprintf("needs[%d]", i)] = b
	}
	for name, v := range map[string]any{"cpus": s.Resources.CPUs, "memory": s.Resources.Memory, "device": s.Resources.Device, "threads": s.Resources.Threads} {
		if !reflect.ValueOf(v).IsZero() {
			b, _ := json.Marshal(v)
			fields["resources."+name] = b
		}
	}
	return fields, err
}

// Stale lists what has changed since a plan was saved, so that a run would be another or do more. That some of it is done
// meanwhile, by an interrupted run of the file say, is no change.
func (r *Runner) Stale(saved *Saved, plan *Plan) ([]Change, error) {
	now := Saved{}
	if err := r.Save(plan, &now); err != nil {
		return nil, err
	}
	var changes []Change
	if saved.Version != now.Version {
		changes = append(changes, Change{Field: "hone", Old: saved.Version, New: now.Version})
	}
	if saved.Pipeline != now.Pipeline {
		changes = append(changes, Change{Field: "name", Old: saved.Pipeline, New: now.Pipeline})
	}
	before := map[string]SavedStage{}
	for _, s := range saved.Stages {
		before[s.Name] = s
	}
	of := map[string][]Change{}
	for i, s := range now.Stages {
		if was, ok := before[s.Name]; ok {
			of[s.Name] = was.changes(&s, plan.Stages[i])
		} else {
			of[s.Name] = []Change{{Field: s.Name, New: "a new stage", Pos: position(plan.Stages[i].Stage, "kind"), Says: true}}
		}
		delete(before, s.Name)
	}
	for _, p := range plan.Stages {
		owner, _, _ := strings.Cut(p.Name, "/")
		if !p.Internal || len(of[owner]) == 0 { // else its stage says it, where the user wrote it
			changes = append(changes, of[p.Name]...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		changes = append(changes, Change{Field: name, New: "no stage any more", Says: true})
	}
	return changes, nil
}

// changes of one stage: what the user said and the sources first, and only where that is as it was what the store has.
func (s *SavedStage) changes(now *SavedStage, p *StagePlan) (changes []Change) {
	add := func(field string, old, new any, says bool) {
		changes = append(changes, Change{Field: s.Name + "." + field, Old: old, New: new, Pos: position(p.Stage, field), Says: says})
	}
	if s.Kind != now.Kind {
		add("kind", s.Kind, now.Kind, false)
		return changes
	}
	if s.Implementation != now.Implementation {
		add("kind", fmt.Sprintf("%s, version %d", s.Kind, s.Implementation), fmt.Sprintf("version %d", now.Implementation), false)
	}
	fields := maps.Clone(now.Fields)
	maps.Copy(fields, s.Fields)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		old, new := s.Fields[field], now.Fields[field]
		switch {
		case equal(some(old), some(new)):
		case s.Kind == "exec" && strings.HasPrefix(field, "env.") && old != nil && new != nil:
			add(field, nil, "another value", true)
		default:
			add(field, some(old), some(new), false)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(now.Sources)) {
		if old, new := s.Sources[field].Hash, now.Sources[field].Hash; old != new && old != "" { // else the run was to ask the hub, and one has
			add(field, nil, fmt.Sprintf("%s has other content: %s → %s", now.Sources[field].Written, short(old), short(new)), true)
		}
	}
	switch {
	case len(changes) > 0:
	case s.Key != nil && now.Key == nil:
		add("inputs", nil, "what it reads is not there any more", true)
	case s.Key != nil && *s.Key != *now.Key:
		add("inputs", nil, "what it reads was made again, and is not what it was", true)
	case now.Action == Run && s.Action != Run || now.Action == Resume && s.Action != Run && s.Action != Resume:
		add("action", nil, fmt.Sprintf("was to %s, and would %s: %s", verb(s.Action), now.Action, gone(s, p)), true)
	}
	return changes
}

// gone is why a stage would do more than was planned, though all is as it was but the store.
func gone(s *SavedStage, p *StagePlan) string {
	switch {
	case p.Gone != nil:
		return p.Gone.Error()
	case s.Action == Reuse:
		return "the store has its record no more"
	case s.Action == Resume:
		return "the store has its checkpoint no more"
	}
	return "nothing blocks it any more"
}

func verb(a Action) string {
	if a == Blocked {
		return "be blocked"
	}
	return string(a)
}

func short(hash string) string { return cmp.Or(hash[:min(12, len(hash))], "unknown") }

func some(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return value(raw)
}

// Keep holds a run to a saved plan: a stage that it does not run or resume is not run, whatever turns out on the way.
func (r *Runner) Keep(saved *Saved) {
	r.planned = map[string]bool{}
	for _, s := range saved.Stages {
		r.planned[s.Name] = s.Action == Run || s.Action == Resume
	}
}

// beyond says of a stage about to run that the plan has it not.
func (r *Runner) beyond(s *pipelines.Stage) bool { return r.planned != nil && !r.planned[s.Name] }
