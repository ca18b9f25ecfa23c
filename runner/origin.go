package runner

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// done notes the record that holds for a stage in this run.
func (r *Runner) done(s *pipelines.Stage, rec *store.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs[s.Name] = r.store.LogDir(rec)
}

// Origin is how the rows at an edge are traced back, once Run has ended; nil where they cannot be.
func (r *Runner) Origin(e pipelines.Edge) *job.Origin { return r.origin(e) }

// origin is how the rows at an edge are traced back; nil where they cannot be. The log of a stage whose record is not yet
// durable is where it will lie.
func (r *Runner) origin(e pipelines.Edge) *job.Origin {
	s := r.graph.Stage(e.From)
	r.mu.Lock()
	log := r.logs[e.From]
	r.mu.Unlock()
	if e.Kind != "dataset" || s == nil || log == "" {
		return nil
	}
	o := &job.Origin{Notes: filepath.Join(log, job.OriginFile(e.Port)), Inputs: map[string]*job.Origin{}}
	if s.Kind == "data.load" {
		o.Source = s.Sources[0].Written
	}
	for _, in := range s.Inputs {
		if up := r.origin(in.Edge); up != nil {
			o.Inputs[in.Field] = up
		}
	}
	return o
}

// sourceNames is what a stage's sources are called in the pipeline, for its record. An absolute path is of this machine.
func sourceNames(s *pipelines.Stage) map[string]string {
	names := map[string]string{}
	for _, src := range s.Sources {
		name := filepath.ToSlash(src.Written)
		if src.Hub != "" {
			name = src.Hub
		} else if filepath.IsAbs(name) {
			name = filepath.Base(name)
		}
		if info, err := os.Stat(src.Path); src.Hub == "" && err == nil && info.IsDir() {
			name = strings.TrimSuffix(name, "/") + "/"
		}
		names[src.Field] = name
	}
	return names
}
