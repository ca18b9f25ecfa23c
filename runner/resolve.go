package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Outputs is the artifacts of a stage by port; nil while they are not known.
type Outputs map[string]store.Output

// resolution is what is known of a stage once its upstream stages are.
type resolution struct {
	inputs      map[string]*Artifact // by field; nil where not known
	unknown     []string             // fields of inputs and sources that are not known yet
	from        map[string]string    // of unknown inputs: the stage that is to make them
	ingredients []store.Ingredient
	key         string            // empty where something is unknown
	files       map[string]string // for the job: by field, a path or hf://org/name@commit
	content     map[string]string // by field of a source
	numerics    job.Numerics
	record      *store.Record // to reuse
	place       Elsewhere     // that has it; nil where the store does
	gone        *store.Damage // why a record that is there cannot be reused
	resume      bool          // a checkpoint is there
	unfinished  *Unfinished   // how far an attempt came that made no record
	begun       *shorter      // an unfinished training of another length
	shorter     *shorter      // a training that this one goes on from; then resume is set too
	away        *shorter      // one that it would go on from with another device or number of threads
}

// resolve finds a stage's key from the outputs of the stages before it, and what the store has for it.
func (r *Runner) resolve(s *pipelines.Stage, outputs map[string]Outputs) (*resolution, error) {
	res := &resolution{
		inputs: map[string]*Artifact{}, from: map[string]string{}, files: map[string]string{}, content: map[string]string{},
		numerics: r.numerics(s),
	}
	known := map[string]*Artifact{}
	for _, in := range s.Inputs {
		a := r.artifact(in.Edge, outputs)
		res.inputs[in.Field] = a
		if a == nil {
			res.unknown = append(res.unknown, in.Field)
			for e := &in.Edge; e != nil && res.from[in.Field] == ""; e = r.graph.Base(*e) {
				if _, ok := outputs[e.From][e.Port]; !ok {
					res.from[in.Field] = e.From
				}
			}
			continue
		}
		known[in.Field] = a
	}
	for _, src := range s.Sources {
		if src.Hub != "" {
			commit := r.lock.commit(src.Hub)
			if commit == "" {
				res.unknown = append(res.unknown, src.Field)
				continue
			}
			repo, _ := splitHub(src.Hub)
			res.files[src.Field] = "hf://" + repo + "@" + commit
			res.content[src.Field] = commit
			continue
		}
		if src.Absent {
			res.unknown = append(res.unknown, src.Field)
			continue
		}
		hash, err := r.hash(src.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.Name, src.Field, err)
		}
		res.files[src.Field] = src.Path
		res.content[src.Field] = hash
	}
	var err error
	if res.ingredients, err = ingredients(s, known, res.content); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	if len(res.unknown) > 0 {
		return res, nil
	}
	res.key = key(res.ingredients)
	err = r.lookup(s, res)
	if res.record == nil && r.store.Held(res.key) {
		if res.unfinished == nil {
			res.unfinished = &Unfinished{}
		}
		res.unfinished.Now = true
	}
	return res, err
}

// lookup asks the store what it has for a key: a record to reuse, or a checkpoint to resume from.
func (r *Runner) lookup(s *pipelines.Stage, res *resolution) error {
	res.record, res.place, res.gone, res.resume, res.unfinished, res.begun, res.shorter, res.away = nil, nil, nil, false, nil, nil, nil, nil
	records, err := r.store.Records(res.key)
	if err != nil {
		return err
	}
	var usable []*store.Record
	for _, rec := range records {
		if err := r.usable(s, rec); err == nil {
			usable = append(usable, rec)
		} else if !errors.As(err, &res.gone) {
			return err
		}
	}
	if res.record = prefer(usable, res.numerics, r.opts.Exact); res.record != nil {
		res.gone = nil
		return nil
	}
	if err := r.elsewhere(s, res); err != nil || res.record != nil {
		return err
	}
	dir := r.store.Checkpoints(res.key, res.numerics)
	entries, err := os.ReadDir(filepath.Join(dir, "state"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	res.resume = len(entries) > 0
	if res.unfinished = readUnfinished(dir); res.unfinished == nil && res.resume {
		res.unfinished = &Unfinished{}
	}
	if res.unfinished != nil {
		res.unfinished.Resume = res.resume
	}
	if !res.resume {
		if others := savedElsewhere(dir); len(others) > 0 {
			res.unfinished = others[0]
		}
		var away *shorter
		res.begun, away = r.begun(s, res.ingredients, res.key, res.numerics)
		res.shorter = r.shorter(s, res.ingredients, res.numerics, res.begun)
		if res.resume = res.shorter != nil; !res.resume {
			res.away = r.shorterElsewhere(s, res.ingredients, res.key, res.numerics, away)
		}
	}
	return nil
}

// usable says whether all that a record promises is in the store, as far as can be told without reading it.
func (r *Runner) usable(s *pipelines.Stage, rec *store.Record) error {
	for _, out := range s.Outputs {
		have, ok := rec.Outputs[out.Port]
		if !ok {
			return &store.Damage{Tree: rec.Key, Files: []string{"no output " + out.Port}}
		}
		check := r.store.Check
		if out.Kind == "report" { // small, and read here to judge its gate: before use comes the full hash
			check = r.store.Verify
		}
		if err := check(have.Hash); err != nil {
			return err
		}
	}
	return nil
}

// artifact is what an edge carries; nil while its stage's outputs are not known.
func (r *Runner) artifact(e pipelines.Edge, outputs map[string]Outputs) *Artifact {
	out, ok := outputs[e.From][e.Port]
	if !ok {
		return nil
	}
	a := &Artifact{Kind: out.Kind, Hash: out.Hash}
	if b := r.graph.Base(e); b != nil {
		if a.Base = r.artifact(*b, outputs); a.Base == nil {
			return nil
		}
	}
	return a
}

// hash is the content of a source file or folder, read once a run.
func (r *Runner) hash(path string) (string, error) {
	r.mu.Lock()
	hash, ok := r.hashes[path]
	r.mu.Unlock()
	if ok {
		return hash, nil
	}
	hash, err := r.sources.Hash(path)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.hashes[path] = hash
	r.mu.Unlock()
	return hash, nil
}
