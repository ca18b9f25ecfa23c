package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/hub"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// modelHelp is how verbs that take MODEL explain it.
const modelHelp = `MODEL is a folder, a .gguf file, a name on the hub (hf://org/name[@revision] or org/name), or else a stage of the
pipeline at --pipeline PATH (STAGE, or STAGE.PORT where it makes several).`

// openedModel is what MODEL means: a model or an adapter, ready to be read until close.
type openedModel struct {
	job.Input
	close func()
}

// openModel finds MODEL. The artifact of a stage is checked byte by byte, and gc keeps away from it until close.
func (f *flags) openModel(c *cobra.Command, name, pipeline string) (*openedModel, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return f.openFolder(c, name)
	case err == nil && strings.HasSuffix(name, ".gguf"):
		return openGGUF(c.Context(), name)
	case err == nil:
		return nil, usage("%s: neither a folder nor a .gguf file", name)
	case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "./"), strings.HasPrefix(name, "../"), strings.HasSuffix(name, ".gguf"):
		return nil, usage("%w", err)
	case strings.HasPrefix(name, "hf://"):
		return openHub(c, name)
	case strings.Count(name, "/") == 1:
		return openHub(c, "hf://"+name)
	}
	return f.openStage(name, pipeline)
}

// openFolder opens a model folder, or an adapter's with the base that it names.
func (f *flags) openFolder(c *cobra.Command, dir string) (*openedModel, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	adapter, err := modeldir.ReadObject(dir, "adapter_config.json")
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(filepath.Join(dir, "config.json"))
	if err == nil || adapter == nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(exitFailed, "%s: no config.json and no adapter_config.json: neither a model nor an adapter", dir)
		}
		return &openedModel{job.Input{Kind: "model", Path: dir}, func() {}}, err
	}
	name, _ := adapter.Text("base_model_name_or_path")
	if name == "" {
		return nil, fail(exitFailed, "%s: adapter_config.json names no base (base_model_name_or_path): write there the base's folder, or its name on the hub", dir)
	}
	if local := filepath.Join(dir, name); !filepath.IsAbs(name) && strings.HasPrefix(name, ".") {
		name = local
	}
	base, err := f.openModel(c, name, "")
	if err != nil {
		return nil, fmt.Errorf("%s: base %s: %w", dir, name, err)
	}
	if base.Kind != "model" {
		base.close()
		return nil, fail(exitFailed, "%s: base %s: an adapter too", dir, name)
	}
	return &openedModel{job.Input{Kind: "adapter", Path: dir, Base: &base.Input}, base.close}, nil
}

// openGGUF writes the file as a folder that lasts as long as it is open.
func openGGUF(ctx context.Context, file string) (*openedModel, error) {
	dir, err := os.MkdirTemp("", "hone-gguf-")
	if err != nil {
		return nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	if err := gguf.Convert(ctx, file, dir, "auto", nil); err != nil {
		remove()
		return nil, err
	}
	return &openedModel{job.Input{Kind: "model", Path: dir}, remove}, nil
}

func openHub(c *cobra.Command, source string) (*openedModel, error) {
	repository, revision, err := hub.Parse(source)
	if err != nil {
		return nil, usage("%w", err)
	}
	client, err := hub.New()
	if err != nil {
		return nil, err
	}
	client.Progress = downloadBar(c.ErrOrStderr(), repository)
	commit, err := client.Resolve(c.Context(), repository, revision)
	if err != nil {
		return nil, err
	}
	dir, err := client.Model(c.Context(), repository, commit)
	if err != nil {
		return nil, err
	}
	return &openedModel{job.Input{Kind: "model", Path: dir}, func() {}}, nil
}

// downloadBar shows a download on a terminal, and nothing elsewhere.
func downloadBar(w io.Writer, name string) func(done, total int64) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	var last time.Time
	return func(done, total int64) {
		switch {
		case done == total:
			fmt.Fprint(f, "\r\x1b[K")
		case time.Since(last) > time.Second/10:
			last = time.Now()
			fmt.Fprintf(f, "\r%s: %d of %d MB\x1b[K", name, done/1e6, total/1e6)
		}
	}
}

// openStage finds the current artifact of a stage, and an adapter's base with it.
func (f *flags) openStage(name, pipeline string) (*openedModel, error) {
	args := []string{pipeline}
	g, err := f.graph(args)
	if err != nil {
		return nil, err
	}
	stage, port := splitPort(g, name)
	r, st, _, err := f.runner(args, runner.Options{Stages: []string{stage}})
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	out, err := modelPort(g.Stage(stage), port)
	if err != nil {
		return nil, err
	}
	in, err := artifact(st, plan, stage, out.Port)
	if err != nil {
		return nil, err
	}
	in.Kind = out.Kind
	if out.Base != nil {
		base, err := artifact(st, plan, out.Base.From, out.Base.Port)
		if err != nil {
			return nil, err
		}
		base.Kind = "model"
		in.Base = &base
	}
	lock, err := st.Use()
	if err != nil {
		return nil, err
	}
	for a := &in; a != nil; a = a.Base {
		if err := st.Verify(a.Hash); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return &openedModel{in, func() { lock.Close() }}, nil
}

// modelPort returns the port of a stage that is a model or an adapter: the named one, or the only one.
func modelPort(s *pipelines.Stage, port string) (pipelines.Output, error) {
	var found []pipelines.Output
	var names []string
	for _, o := range s.Outputs {
		if o.Kind != "model" && o.Kind != "adapter" {
			continue
		}
		if o.Port == port {
			return o, nil
		}
		found, names = append(found, o), append(names, s.Name+"."+o.Port)
	}
	switch {
	case len(found) == 0:
		return pipelines.Output{}, usage("%s makes no model", s.Name)
	case port != "":
		return pipelines.Output{}, usage("%s.%s is no model; %s is", s.Name, port, strings.Join(names, ", "))
	case len(found) > 1:
		return pipelines.Output{}, usage("%s makes several models: %s", s.Name, strings.Join(names, ", "))
	}
	return found[0], nil
}

func artifact(st *store.Store, plan *runner.Plan, stage, port string) (job.Input, error) {
	s := plan.Stage(stage)
	hash := s.Outputs[port]
	if hash == nil {
		return job.Input{}, fail(exitFailed, "%s: no current artifact (%s): hone run makes it", stage, s.Action)
	}
	return job.Input{Path: st.Tree(*hash), Hash: *hash}, nil
}
