// Package runner carries a compiled pipeline out: it plans against a store and runs what is not there yet.
//
//	ingredient  one part of what decides a stage's result: a field of its config, an input's hash, a source's bytes
//	key         the hash of a stage's ingredients; equal keys, equal results
//	record      what a key gave when it ran (package store)
//	action      what is to be done with a stage: reuse, run, resume, blocked
//	attempt     one process that does one stage, speaking the protocol of package job
//	gate        what an eval's report must reach; judged whenever the report is read, never part of a key
//
// Plan and Run share one function, resolve: a plan is the resolutions of all stages with nothing done in between.
package runner

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// Options say how a pipeline is carried out. None of them is an ingredient of a key.
type Options struct {
	Stages    []string // these and what they need; all where empty
	Force     []string // run again although a record is there
	Jobs      int      // stages at once; the number of cores where 0
	Threads   int      // of a worker; the number of cores where 0
	Device    string   // of stages that name none: auto, cpu, cuda, cuda:N
	Exact     bool     // reuse only records of the same numerics
	Hone      []string // argv of this program, for kinds without tensors
	Worker    func() (string, error)
	Resolve   func(ctx context.Context, repo, revision string) (commit string, err error)
	Observe   func(Update)           // called from one goroutine at a time
	Silence   time.Duration          // after which a worker that says nothing is ended; a minute where 0
	Grace     time.Duration          // that an interrupted worker has; 12 seconds where 0
	Version   string                 // of hone, for the record
	Smoke     bool                   // every stage on a few rows and two steps, apart from the records
	Sources   *store.Sources         // hashes of the user's files, where several runners share them
	History   func() []*store.Record // all of the store's records, the oldest first; the same
	Asked     *Invocation            // what a later run has to ask for to be the same, where this one leaves it nothing to do
	Look      bool                   // the run is for vet: what a run before it gave stays what the pipeline's last run gave
	Elsewhere []Elsewhere            // asked for what the store lacks, in this order
	Context   context.Context        // ends what Plan asks of them

	// What predictions take, each of which may be left out: a machine's figures, rows of a dataset's folder or of a data.load's source, the
	// shape of a model's folder or file, and the price of an hour.
	Machine func(device string, threads int) cost.Machine
	Sample  func(path string, source *schemas.DataLoad) (cost.Text, error)
	Shape   func(model string) (cost.Model, error)
	Price   string
}

// Update is what happened to a stage: an event of its worker, or its end. Three events are the runner's own: waits,
// where it could start but for its threads, planned, as an attempt begins, and placed, when its artifacts are there and what depends
// on them may start.
type Update struct {
	Stage *StagePlan
	Event job.Event
	Ended *StageResult // set on the last update of a stage
}

// Runner carries one graph out against one store.
type Runner struct {
	graph   *pipelines.Graph
	store   *store.Store
	opts    Options
	several bool               // stages at once were asked for
	stages  []*pipelines.Stage // those selected, topological
	sources *store.Sources
	lock    *hubLock
	ref     string
	before  map[string]string // the key of each stage in the pipeline's last run
	planned map[string]bool   // of a saved plan: the stages that it runs; nil without one

	mu       sync.Mutex         // of the maps below
	away     map[string]distant // artifacts that are elsewhere, by hash
	unfit    map[string]bool    // those that could not be had from there
	hashes   map[string]string
	logs     map[string]string  // of the stages that are there, by name
	shapes   map[string]glimpse // of artifacts and sources that predictions have looked at
	history  func() []*store.Record
	moved    func() []string // refs of the folders that the pipeline lay in before
	observer sync.Mutex

	processes processes
}

// New prepares to plan or run g. A stage in opts that the graph does not have is an error.
func New(g *pipelines.Graph, st *store.Store, opts Options) (*Runner, error) {
	cores, several := runtime.GOMAXPROCS(0), opts.Jobs > 1
	if opts.Jobs <= 0 {
		opts.Jobs = cores
	}
	if opts.Threads <= 0 {
		opts.Threads = cores
	}
	if opts.Device == "" {
		opts.Device = "auto"
	}
	if opts.Silence <= 0 {
		opts.Silence = time.Minute
	}
	if opts.Grace <= 0 {
		opts.Grace = 12 * time.Second
	}
	if opts.Sources == nil {
		opts.Sources = st.Sources()
	}
	if opts.Smoke {
		var err error
		if g, err = g.Smoke(); err != nil {
			return nil, err
		}
		st = st.Smoke()
	}
	stages, err := closure(g, opts.Stages)
	if err != nil {
		return nil, err
	}
	for _, name := range opts.Force {
		if !slices.ContainsFunc(stages, func(s *pipelines.Stage) bool { return s.Name == name }) {
			return nil, &UnknownStageError{name, g}
		}
	}
	lock, err := readHubLock(filepath.Join(g.Dir, "hone.lock"))
	if err != nil {
		return nil, err
	}
	ref, err := st.Ref(g.Dir, g.Package)
	if err != nil {
		return nil, err
	}
	if opts.Smoke { // a smoke follows no run
		ref.Stages = map[string]string{}
	}
	r := &Runner{
		before: ref.Stages, graph: g, store: st, opts: opts, several: several, stages: stages, lock: lock,
		sources: opts.Sources, ref: store.RefID(g.Dir, g.Package), hashes: map[string]string{}, logs: map[string]string{}, shapes: map[string]glimpse{},
		away: map[string]distant{}, unfit: map[string]bool{},
	}
	if r.history = opts.History; r.history == nil {
		r.history = History(st)
	}
	r.moved = sync.OnceValue(func() []string {
		if len(ref.Stages) > 0 { // a folder with a past of its own is no other's, though it was copied from there
			return ref.Moved
		}
		former, err := st.Former(g.Name)
		if err != nil {
			return nil // as above
		}
		return former
	})
	return r, nil
}

// History reads the records of a store, when they are asked for first.
func History(st *store.Store) func() []*store.Record {
	return sync.OnceValue(func() []*store.Record {
		records, err := st.AllRecords()
		if err != nil {
			return nil // then why has nothing to compare with
		}
		return records
	})
}

// UnknownStageError is a name that the pipeline has no stage of.
type UnknownStageError struct {
	Name  string
	graph *pipelines.Graph
}

func (e *UnknownStageError) Error() string {
	names := make([]string, 0, len(e.graph.Stages))
	for _, s := range e.graph.Stages {
		names = append(names, s.Name)
	}
	return e.Name + ": no such stage" + pipelines.Suggest(e.Name, names)
}

// closure is the named stages and all that they read or need, in the graph's order.
func closure(g *pipelines.Graph, names []string) ([]*pipelines.Stage, error) {
	if len(names) == 0 {
		return g.Stages, nil
	}
	want := map[string]bool{}
	for _, name := range names {
		if g.Stage(name) == nil {
			return nil, &UnknownStageError{name, g}
		}
		want[name] = true
	}
	var stages []*pipelines.Stage
	for _, s := range slices.Backward(g.Stages) {
		if !want[s.Name] {
			continue
		}
		for _, name := range upstream(g, s) {
			want[name] = true
		}
		stages = append(stages, s)
	}
	slices.Reverse(stages)
	return stages, nil
}

// upstream names the stages that s waits for: of its inputs, of the models that adapters among them adapt, of its needs.
func upstream(g *pipelines.Graph, s *pipelines.Stage) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, in := range s.Inputs {
		for e := &in.Edge; e != nil; e = g.Base(*e) {
			add(e.From)
		}
	}
	for _, e := range s.Needs {
		add(e.From)
	}
	return names
}

func (r *Runner) observe(u Update) {
	if r.opts.Observe == nil {
		return
	}
	r.observer.Lock()
	defer r.observer.Unlock()
	r.opts.Observe(u)
}

// Graph is what the runner carries out.
func (r *Runner) Graph() *pipelines.Graph { return r.graph }

func (r *Runner) ctx() context.Context {
	if r.opts.Context != nil {
		return r.opts.Context
	}
	return context.Background()
}
