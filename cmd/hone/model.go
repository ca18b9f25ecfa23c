package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/hub"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// modelHelp is how verbs that take MODEL explain it.
const modelHelp = `MODEL is a folder, a .gguf file, a name on the hub (hf://org/name[@revision] or org/name), or else a stage of the
pipeline at --pipeline PATH (STAGE, or STAGE.PORT where it makes several). The
beginning of a key or hash that hone show prints names what an earlier run made.`

// baseHelp is for verbs that need an adapter's base.
const baseHelp = `An adapter of a stage comes with its base. That of an adapter's folder is --base MODEL, else what its
base_model_name_or_path names. A .gguf file is converted once, into hone-gguf in the user's cache folder.`

// modelFlags find MODEL.
type modelFlags struct {
	flags
	base  string
	files bool // what an export stage wrote will do too
}

func (f *modelFlags) register(c *cobra.Command, names ...string) {
	c.Flags().StringVar(&f.pipeline, "pipeline", ".", "`PATH` of the pipeline whose stage MODEL is")
	c.Flags().StringVar(&f.base, "base", "", "the `MODEL` that the adapter in a folder adapts")
	f.flags.register(c, append(names, "store", "tags", "device", "threads", "numerics")...)
}

// openedModel is what MODEL means: a model or an adapter, ready to be read until close.
type openedModel struct {
	job.Input
	close func()
	made  *made // nil where no record says what made it
}

// made is the record that made an artifact, the port, and the store that has it.
type made struct {
	record *store.Record
	port   string
	store  *store.Store
}

// openModel finds MODEL. The artifact of a stage is checked byte by byte, and gc keeps away from it until close. With
// whole an adapter has its base, fetched where need be; without, only one that is at hand.
func (f *modelFlags) openModel(c *cobra.Command, name string, whole bool) (*openedModel, error) {
	m, err := f.find(c, name)
	if err != nil {
		return nil, err
	}
	if m.Kind == "adapter" && m.Base == nil {
		if err = f.openBase(c, m, whole); err != nil {
			m.close()
			return nil, err
		}
	} else if f.base != "" {
		m.close()
		return nil, usage("--base is for the folder of an adapter, which %s is not", name)
	}
	return m, nil
}

// find tells what a name means. The adapter in a folder comes without its base.
func (f *modelFlags) find(c *cobra.Command, name string) (*openedModel, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return openFolder(name)
	case err == nil && strings.HasSuffix(name, ".gguf"):
		return f.openGGUF(c, name)
	case err == nil:
		return nil, usage("%s: neither a folder nor a .gguf file", name)
	case strings.HasPrefix(name, "hf://"):
		return openHub(c, name)
	case filepath.IsAbs(name), strings.HasPrefix(name, "."), strings.HasSuffix(name, ".gguf"), strings.Count(name, "/") > 1:
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usage("%s: no such folder or file", name)
		}
		return nil, usage("%w", err)
	case strings.Contains(name, "/"):
		return openHub(c, "hf://"+name)
	}
	if m, err := f.openRecord(name); m != nil || err != nil {
		return m, err
	}
	return f.openStage(name)
}

// openFolder opens a model folder, or an adapter's. Some trainers leave a config.json beside the adapter, and some an
// adapter_config.json beside merged weights: the weights tell.
func openFolder(dir string) (*openedModel, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	m := &openedModel{Input: job.Input{Kind: "model", Path: dir}, close: func() {}}
	switch {
	case has("adapter_config.json") && !has("model.safetensors") && !has("model.safetensors.index.json"):
		m.Kind = "adapter"
	case !has("config.json"):
		return nil, fail(exitFailed, "%s: no config.json and no adapter_config.json: neither a model nor an adapter", dir)
	}
	return m, nil
}

// hubName is org/name, or name alone as the hub's oldest models have.
var hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?(@.+)?$`)

// openBase opens the base of the adapter in a folder: --base, else what the adapter names, a folder or a hub's name.
func (f *modelFlags) openBase(c *cobra.Command, adapter *openedModel, whole bool) error {
	name := f.base
	if name == "" {
		config, err := modeldir.ReadObject(adapter.Path, "adapter_config.json")
		if err != nil {
			return err
		}
		if name, _ = config.Text("base_model_name_or_path"); name == "" && whole {
			return fail(exitFailed, "%s: adapter_config.json names no base (base_model_name_or_path): --base MODEL does", adapter.Path)
		}
		switch info, err := os.Stat(name); {
		case err == nil && info.IsDir():
		case !whole:
			return nil
		case strings.HasPrefix(name, "hf://"):
		case hubName.MatchString(name):
			name = "hf://" + name
		default:
			return fail(exitFailed, "%s: adapter_config.json names the base %s, which is neither a folder here nor a name on the hub: --base MODEL names another", adapter.Path, name)
		}
	}
	base, err := f.find(c, name)
	if err != nil {
		return fmt.Errorf("base %s: %w", name, err)
	}
	if base.Kind != "model" {
		base.close()
		return fail(exitFailed, "base %s: an adapter too, not a model", name)
	}
	adapter.Base, adapter.close = &base.Input, base.close
	return nil
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
	if client.Progress = bytesBar(c.ErrOrStderr(), repository); client.Progress != nil {
		fmt.Fprintf(c.ErrOrStderr(), "\r%s: asking the hub\x1b[K", repository)
		defer fmt.Fprint(c.ErrOrStderr(), "\r\x1b[K")
	}
	commit, err := client.Resolve(c.Context(), repository, revision)
	if err != nil {
		return nil, err
	}
	dir, err := client.Model(c.Context(), repository, commit)
	if err != nil {
		return nil, err
	}
	return &openedModel{Input: job.Input{Kind: "model", Path: dir}, close: func() {}}, nil
}

// bytesBar shows on a terminal how many bytes there are of all, and nothing elsewhere.
func bytesBar(w io.Writer, name string) func(done, total int64) {
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
func (f *modelFlags) openStage(name string) (*openedModel, error) {
	args := []string{f.pipeline}
	g, err := f.graph(args)
	if err != nil {
		var none *pipelines.UsageError
		if errors.As(err, &none) {
			err = usage("%s: no such folder, so a stage of --pipeline %s: %w", name, f.pipeline, err)
		}
		return nil, err
	}
	stage, port := splitPort(g, name)
	r, st, err := f.runner(args, runner.Options{Stages: []string{stage}})
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	out, err := f.modelPort(g, g.Stage(stage), port)
	if err != nil {
		return nil, err
	}
	artifact := func(stage, port, kind string) (in job.Input, err error) {
		s := plan.Stage(stage)
		hash := s.Outputs[port]
		if hash == nil {
			return in, f.nothing(r, plan, s, "artifact")
		}
		return job.Input{Kind: kind, Path: st.Tree(*hash), Hash: *hash}, nil
	}
	in, err := artifact(stage, out.Port, out.Kind)
	if err != nil {
		return nil, err
	}
	if out.Base != nil {
		base, err := artifact(out.Base.From, out.Base.Port, "model")
		if err != nil {
			return nil, err
		}
		in.Base = &base
	}
	return made{plan.Stage(stage).Record, out.Port, st}.opened(f.verified(st, name, in))
}

// opened notes what made a model.
func (d made) opened(m *openedModel, err error) (*openedModel, error) {
	if m != nil {
		m.made = &d
	}
	return m, err
}

// verified checks the artifact and an adapter's base byte by byte, and keeps gc away from them until close.
func (f *flags) verified(st *store.Store, name string, in job.Input) (*openedModel, error) {
	lock, err := st.Use()
	if err != nil {
		return nil, err
	}
	for a := &in; a != nil; a = a.Base {
		if err := st.Verify(a.Hash); err != nil {
			lock.Close()
			return nil, f.unsound(st, name, err)
		}
	}
	return &openedModel{Input: in, close: func() { lock.Close() }}, nil
}

// modelPort returns the port of a stage that is a model or an adapter: the named one, or the only one.
func (f *modelFlags) modelPort(g *pipelines.Graph, s *pipelines.Stage, port string) (pipelines.Output, error) {
	var found []pipelines.Output
	var names []string
	isModel := func(of *pipelines.Stage, o pipelines.Output) bool {
		return o.Kind == "model" || o.Kind == "adapter" || f.files && of.Kind == "export"
	}
	for _, o := range s.Outputs {
		if !isModel(s, o) {
			continue
		}
		if o.Port == port {
			return o, nil
		}
		found, names = append(found, o), append(names, s.Name+"."+o.Port)
	}
	switch {
	case len(found) == 0:
		var others []string
		for _, other := range g.Stages {
			if !other.Internal && slices.ContainsFunc(other.Outputs, func(o pipelines.Output) bool { return isModel(other, o) }) {
				others = append(others, other.Name)
			}
		}
		message := s.Name + " makes no model"
		if len(others) > 0 {
			message += "; stages that do: " + strings.Join(others, ", ")
		}
		path := "hone path " + s.Name
		if f.pipeline != "." {
			path += " --pipeline " + word(f.pipeline)
		}
		return pipelines.Output{}, usage("%s\n%s prints the folder of what it makes", message, path)
	case port != "":
		return pipelines.Output{}, usage("%s.%s is no model; %s is", s.Name, port, strings.Join(names, ", "))
	case len(found) > 1:
		return pipelines.Output{}, usage("%s makes several models: %s", s.Name, strings.Join(names, ", "))
	}
	return found[0], nil
}
