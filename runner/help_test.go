package runner_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// stage is an exec stage with one port "out" that does orders; reads names input fields by stage.
func stage(name string, orders []string, reads map[string]string) *pipelines.Stage {
	s := &pipelines.Stage{Name: name, Kind: "exec", Outputs: []pipelines.Output{{Port: "out", Kind: "files"}}}
	config := map[string]any{"command": orders, "out": map[string]any{"out": map[string]string{"kind": "files"}}}
	inputs := map[string]any{}
	for field, from := range reads {
		e := pipelines.Edge{Kind: "files", From: from, Port: "out"}
		s.Inputs = append(s.Inputs, pipelines.Input{Field: "inputs." + field, Edge: e})
		inputs[field] = e
	}
	if len(inputs) > 0 {
		config["inputs"] = inputs
	}
	slices.SortFunc(s.Inputs, func(a, b pipelines.Input) int { return strings.Compare(a.Field, b.Field) })
	b, err := json.Marshal(config)
	check(err)
	s.Config = b
	return s
}

// withFile gives a stage a source.
func withFile(s *pipelines.Stage, path string) *pipelines.Stage {
	s.Sources = []pipelines.Source{{Field: "files[0]", Written: filepath.Base(path), Path: path}}
	var config map[string]any
	check(json.Unmarshal(s.Config, &config))
	config["files"] = []string{filepath.Base(path)}
	b, err := json.Marshal(config)
	check(err)
	s.Config = b
	return s
}

// bench is a store and a folder to try pipelines in.
type bench struct {
	*testing.T
	dir   string
	store *store.Store
	opts  runner.Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "store"))
	check(err)
	return &bench{t, dir, st, options()}
}

func options() runner.Options {
	self, err := os.Executable()
	check(err)
	return runner.Options{Hone: []string{self}, Jobs: 4, Threads: 2, Silence: 20 * time.Second, Version: "test"}
}

func (b *bench) graph(stages ...*pipelines.Stage) *pipelines.Graph {
	return &pipelines.Graph{Name: "try", Dir: b.dir, Package: "try", Stages: stages}
}

func (b *bench) runner(stages ...*pipelines.Stage) *runner.Runner {
	b.Helper()
	// A process of its own would know nothing of what this one has hashed.
	st, err := store.Open(b.store.Dir)
	check(err)
	r, err := runner.New(b.graph(stages...), st, b.opts)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (b *bench) run(stages ...*pipelines.Stage) *runner.Result {
	b.Helper()
	result, err := b.runner(stages...).Run(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return result
}

func (b *bench) plan(stages ...*pipelines.Stage) *runner.Plan {
	b.Helper()
	plan, err := b.runner(stages...).Plan()
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

// story is a run in a line: a reused, b ran.
func story(result *runner.Result) string {
	var said []string
	for _, s := range result.Stages {
		said = append(said, s.Name+" "+string(s.Status))
	}
	return strings.Join(said, ", ")
}

// outlook is a plan in a line: a reuse, b run.
func outlook(plan *runner.Plan) string {
	var said []string
	for _, s := range plan.Stages {
		said = append(said, s.Name+" "+string(s.Action))
	}
	return strings.Join(said, ", ")
}

func (b *bench) want(got, want string) {
	b.Helper()
	if got != want {
		b.Fatalf("got  %s\nwant %s", got, want)
	}
}

func (b *bench) wantCode(result *runner.Result, code int) {
	b.Helper()
	if result.Code != code {
		b.Fatalf("exit code %d, want %d; %s", result.Code, code, errorsOf(result))
	}
}

func errorsOf(result *runner.Result) string {
	var said []string
	for _, s := range result.Stages {
		if s.Error != "" {
			said = append(said, s.Name+": "+s.Error)
		}
	}
	return strings.Join(said, "; ")
}

func (b *bench) artifact(result *runner.Result, name, file string) string {
	b.Helper()
	out, err := os.ReadFile(filepath.Join(b.store.Tree(result.Stage(name).Artifacts["out"].Hash), file))
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

func (b *bench) lines(name string) int {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if os.IsNotExist(err) {
		return 0
	}
	check(err)
	return strings.Count(string(text), "\n")
}
