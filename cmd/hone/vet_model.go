package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/hub"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// tokenizers puts what stands beside the weights of models into folders of their own, for vet --data: from where it lies, without
// reading a weight or asking a network.
type tokenizers struct {
	dir   string // for the folders
	run   string // the command that runs the pipeline
	store *store.Store
	plan  func(stage string) (*runner.StagePlan, error)
	pins  func(source string) (commit string)
}

// find is the folder of the model at a stage's port.
func (t *tokenizers) find(s *pipelines.Stage, port string) (string, error) {
	to := filepath.Join(t.dir, s.Name)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	var load *schemas.ModelLoad
	if s.Kind == "model.load" {
		v, err := schemas.Decode(s.Kind, s.Config)
		if err != nil {
			return "", err
		}
		load = v.(*schemas.ModelLoad)
	}
	switch {
	case load == nil:
		return to, t.kept(to, s, port)
	case len(s.Sources) == 0:
		return "", fmt.Errorf("%s: a fresh model without a tokenizer", s.Name)
	case s.Sources[0].Hub != "":
		return to, t.ofHub(to, s)
	}
	path := s.Sources[0].Path
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return to, modeldir.CopyCompanions(to, path)
	}
	return to, gguf.Companions(path, to)
}

// kept takes the files from the store.
func (t *tokenizers) kept(to string, s *pipelines.Stage, port string) error {
	p, err := t.plan(s.Name)
	if err != nil {
		return err
	}
	hash := p.Outputs[port]
	if p.Action != runner.Reuse || hash == nil {
		return fmt.Errorf("the model of %s is not made yet\n%s --stage %s", s.Name, t.run, s.Name)
	}
	return modeldir.CopyCompanions(to, t.store.Tree(*hash))
}

// ofHub takes the files from the hub's cache, else from the store.
func (t *tokenizers) ofHub(to string, s *pipelines.Stage) error {
	source := s.Sources[0].Hub
	repository, revision, err := hub.Parse(source)
	if err != nil {
		return err
	}
	client, err := hub.New()
	if err != nil {
		return err
	}
	client.Offline = true
	commit := t.pins(source)
	if commit == "" {
		commit, _ = client.Resolve(context.Background(), repository, revision) // what the cache saw last
	}
	if dir, ok := client.Cached(repository, commit); ok && commit != "" {
		return modeldir.CopyCompanions(to, dir)
	}
	if t.kept(to, s, "model") == nil {
		return nil
	}
	return fmt.Errorf("%s is neither in the hub's cache nor in the store\n%s --stage %s", source, t.run, s.Name)
}
