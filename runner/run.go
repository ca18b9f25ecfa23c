package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Result is what a run did, as `hone run --json` prints it.
type Result struct {
	Pipeline string         `json:"pipeline"`
	Smoke    bool           `json:"smoke,omitempty"`
	Stages   []*StageResult `json:"stages"`
	Code     int            `json:"-"` // exit code of the command line
}

// Status is how a stage ended.
type Status string

const (
	Reused  Status = "reused"
	Ran     Status = "ran"
	Resumed Status = "resumed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// StageResult is one stage of a run.
type StageResult struct {
	*StagePlan
	Status  Status             `json:"status"`
	Seconds float64            `json:"seconds"`
	Metrics map[string]float64 `json:"metrics"`
	Error   string             `json:"error"`

	Interrupted bool     `json:"-"` // why it failed: nothing is wrong with it
	Artifacts   Outputs  `json:"-"`
	Notes       []string `json:"-"` // worth saying although nothing failed: not reproducible, a damaged artifact
	code        int
}

// Code is the exit code that the stage's failure stands for; 0 where it did not fail.
func (res *StageResult) Code() int { return res.code }

// Stage returns the result of the stage of that name, or nil.
func (r *Result) Stage(name string) *StageResult {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Run does what Plan says, and what turns out on the way. Stages that do not depend on one that fails go on. When
// ctx is cancelled, workers save their state and end, and the exit code is 130. The error is of the runner itself;
// that of a stage is in the result.
func (r *Runner) Run(ctx context.Context) (*Result, error) {
	if err := r.store.Init(); err != nil {
		return nil, err
	}
	use, err := r.store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	defer r.sources.Save()
	defer r.processes.end()
	s := r.schedule()
	if err := s.loop(ctx); err != nil {
		return nil, err
	}
	result := s.result()
	if ctx.Err() != nil {
		result.Code = 130
	}
	if err := r.setRef(s.keys()); err != nil && result.Code == 0 {
		return nil, err
	}
	if result.Code == 0 {
		_ = s.remember() // a cache: the next run does what this one did
	}
	return result, nil
}

// Unpinned is the hub sources of a stage that name no commit and that hone.lock has none of: the next run decides what they are.
func (r *Runner) Unpinned(s *pipelines.Stage) []string {
	var hub []string
	for _, src := range s.Sources {
		if src.Hub != "" && r.lock.commit(src.Hub) == "" {
			hub = append(hub, src.Hub)
		}
	}
	return hub
}

// pin adds to hone.lock what hub sources mean now.
func (r *Runner) pin(ctx context.Context, sources []string) error {
	for _, source := range sources {
		if r.opts.Resolve == nil {
			return fmt.Errorf("%s: no hub to ask", source)
		}
		repo, revision := splitHub(source)
		commit, err := r.opts.Resolve(ctx, repo, revision)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil {
			return &job.Error{Message: err.Error(), Code: 6, Err: err}
		}
		r.lock.add(source, commit)
		if err := r.lock.save(); err != nil {
			return err
		}
	}
	return nil
}

// setRef makes the keys of this run roots of GC. Stages of the pipeline that the run left out keep theirs.
func (r *Runner) setRef(keys map[string]string) error {
	moved := r.moved()
	return r.store.ChangeRef(r.graph.Dir, r.graph.Package, func(ref *store.Ref) bool {
		ref.Pipeline, ref.Moved = r.graph.Name, moved
		before := maps.Clone(ref.Stages)
		for name, key := range keys {
			if !r.opts.Look || ref.Stages[name] == "" || pipelines.Vetted(name) {
				ref.Stages[name] = key
			}
		}
		for name := range ref.Stages {
			if r.graph.Stage(name) == nil {
				delete(ref.Stages, name)
			}
		}
		return !maps.Equal(before, ref.Stages)
	})
}

// fail is a stage's failure with its exit code. A full disk is the environment's, whoever met it.
func (res *StageResult) fail(err error) {
	var failure *job.Error
	var damage *store.Damage
	res.Status, res.Error, res.code = Failed, err.Error(), 1
	switch {
	case errors.As(err, &failure) && failure.Code != 0:
		res.code, res.Interrupted = failure.Code, failure.Code == errInterrupted.Code
	case errors.As(err, &damage):
		res.code = 5
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		res.code = 6
	}
}

// node is a stage on its way through a run.
type node struct {
	stage    *pipelines.Stage
	upstream []*node
	state    state
	res      *resolution
	result   *StageResult
	forced   bool // still to be run again whatever the store has
	twin     bool // it waits for another stage that makes the same
	stale    bool // an input changed while it ran: look again once it has ended
	rebuilt  int  // times its artifacts were found damaged
	brought  bool // its report came from elsewhere
	notes    []string
	began    time.Time
}

type state int

const (
	waiting state = iota
	running
	placed // its artifacts are there, its record not yet durable: dependants may start
	ended
)

func (n *node) failed() bool {
	return n.state == ended && (n.result.Status == Failed || n.result.Status == Skipped)
}

func (n *node) ready() bool {
	return n.state == waiting && !slices.ContainsFunc(n.upstream, func(u *node) bool { return u.state < placed || u.failed() })
}

// result puts the nodes together. Of several exit codes the smallest holds.
func (s *schedule) result() *Result {
	result := &Result{Pipeline: s.r.graph.Name, Smoke: s.r.opts.Smoke}
	worst := func(code int) {
		if code != 0 && (result.Code == 0 || code < result.Code) {
			result.Code = code
		}
	}
	for _, n := range s.nodes {
		result.Stages = append(result.Stages, n.result)
		worst(n.result.code)
		if len(n.result.Failures) > 0 {
			worst(4)
		}
	}
	return result
}

// keys of the stages that came to one, for the ref.
func (s *schedule) keys() map[string]string {
	keys := map[string]string{}
	for _, n := range s.nodes {
		if n.res != nil && n.res.key != "" && !n.stage.Apart {
			keys[n.stage.Name] = n.res.key
		}
	}
	return keys
}
