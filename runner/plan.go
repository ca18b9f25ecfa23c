package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Plan is what a run would do, as `hone plan --json` prints it.
type Plan struct {
	Pipeline string       `json:"pipeline"`
	Stages   []*StagePlan `json:"stages"`
	Cost     *Cost        `json:"cost,omitempty"` // of all that would run, once Predict was called
}

// Action is what is to be done with a stage.
type Action string

const (
	Reuse   Action = "reuse"
	Run     Action = "run"
	Resume  Action = "resume"
	Blocked Action = "blocked"
)

// StagePlan is one stage of a plan. A hash or key is null while it is not known.
type StagePlan struct {
	Name      string             `json:"name"`
	Kind      string             `json:"kind"`
	Internal  bool               `json:"internal,omitempty"`
	Action    Action             `json:"action"`
	Key       *string            `json:"key"`
	Inputs    map[string]*string `json:"inputs"`
	Outputs   map[string]*string `json:"outputs"`
	Why       []Change           `json:"why"`
	Predicted *float64           `json:"predicted_seconds"`
	From      string             `json:"from,omitempty"` // of a reuse: where it is, if not in the store: remote or records
	Cost      *Cost              `json:"cost"`           // null where nothing would run

	Record     *store.Record    `json:"-"` // what a reuse reuses
	Gone       *store.Damage    `json:"-"` // why what a record promises cannot be reused
	Unfinished *Unfinished      `json:"-"` // how far an attempt came, where there is no record
	Before     *store.Record    `json:"-"` // the run that Since compares with; nil where there is none
	Renamed    string           `json:"-"` // the name that the stage had in it, where the pipeline has none of that name any more
	Failures   []Failure        `json:"-"` // of the stage's own gate, as far as its report is there
	Stage      *pipelines.Stage `json:"-"`
	blocked    int              // exit code of what blocks it
	root       string           // the stage that it is blocked by, perhaps itself
	changes    []Change         // of a reuse: against the run before it
	shorter    *shorter         // a training of another length that it goes on from
}

// Gated says whether a gate that fails blocks the stage, or one before it.
func (p *StagePlan) Gated() bool { return p.Action == Blocked && p.blocked == 4 }

// Since is what changed between the record that a stage reuses and the run before it; for other stages, their Why.
func (p *StagePlan) Since() []Change {
	if p.Action == Reuse {
		return p.changes
	}
	return p.Why
}

// Stage returns the plan of the stage of that name, or nil.
func (p *Plan) Stage(name string) *StagePlan {
	for _, s := range p.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Plan says what Run would do. It executes nothing and needs no network.
func (r *Runner) Plan() (*Plan, error) {
	defer r.sources.Save()
	plan := &Plan{Pipeline: r.graph.Name}
	outputs := map[string]Outputs{}
	making := map[string]string{} // by key, the first stage that is to give its result
	for _, s := range r.stages {
		p, res, err := r.planStage(s, plan, outputs)
		if err != nil {
			return nil, err
		}
		if p.Key != nil && (p.Action == Run || p.Action == Resume) {
			if twin := making[*p.Key]; twin != "" && !slices.Contains(r.opts.Force, s.Name) {
				p.Action, p.Unfinished = Reuse, nil
				p.Why = []Change{{Field: "kind", New: twin + " makes the same", Pos: position(s, "kind"), Says: true}}
			} else {
				making[*p.Key] = s.Name
			}
		}
		if p.Record != nil && p.Action == Reuse {
			outputs[s.Name] = res.record.Outputs
		}
		plan.Stages = append(plan.Stages, p)
	}
	return plan, nil
}

// Code is the exit code of `hone plan --exit-code`: 1 where something would run, else that of what blocks stages, else 0.
func (p *Plan) Code() int {
	code := 0
	for _, s := range p.Stages {
		switch s.Action {
		case Run, Resume:
			return 1
		case Blocked:
			if code == 0 || s.blocked < code {
				code = s.blocked
			}
		}
	}
	return code
}

// planStage plans one stage; those before it are in plan, and in outputs where they are known.
func (r *Runner) planStage(s *pipelines.Stage, plan *Plan, outputs map[string]Outputs) (*StagePlan, *resolution, error) {
	res, err := r.resolve(s, outputs)
	if err != nil {
		return nil, nil, err
	}
	p := r.describe(s, res)
	switch {
	case r.upstreamBlocks(s, plan, p):
	case p.Action == Reuse:
		if p.Failures, err = r.judge(s, res.record.Outputs); errors.Is(err, ErrOnlyRecords) {
			p.Why, err = append(p.Why, Change{Field: "gate", New: "its gate is not judged: the report is not here", Pos: position(s, "gate"), Says: true}), nil
		}
	default:
		if field, err := r.refuses(s, res); err != nil {
			p.block(s, field, err.Error(), 6)
		}
	}
	return p, res, err
}

// describe turns a resolution into a plan, without looking at other stages.
func (r *Runner) describe(s *pipelines.Stage, res *resolution) *StagePlan {
	p := &StagePlan{
		Name: s.Name, Kind: s.Kind, Internal: s.Internal, Stage: s, Action: Run, Why: []Change{},
		Inputs: map[string]*string{}, Outputs: map[string]*string{}, Unfinished: res.unfinished, Gone: res.gone, shorter: res.shorter,
	}
	for field, in := range res.inputs {
		p.Inputs[field] = nil
		if in != nil {
			p.Inputs[field] = &in.Hash
		}
	}
	for _, out := range s.Outputs {
		p.Outputs[out.Port] = nil
	}
	if res.key != "" {
		p.Key = &res.key
	}
	switch {
	case slices.Contains(r.opts.Force, s.Name):
		p.Why = []Change{{Field: "--force", New: true}}
	case res.record != nil:
		p.Action = Reuse
		p.Record = res.record
		if res.place != nil {
			p.From = res.place.Name()
		}
		for port := range p.Outputs {
			hash := res.record.Outputs[port].Hash
			p.Outputs[port] = &hash
		}
	case res.gone != nil:
		p.Why = []Change{{Field: "out", Old: res.gone.Tree, New: res.gone.Error() + ": made again", Pos: position(s, "kind"), Says: true}}
		p.Why = append(p.Why, res.attempted(s)...)
	case res.shorter != nil && res.shorter.unfinished != nil:
		p.Action = Resume
		p.Why = res.shorter.why(s, "checkpoint")
	case res.shorter != nil:
		p.Action = Resume
		p.Why, p.Before, p.Renamed = r.why(s, res.key, res.ingredients, nil)
		p.Why = append(p.Why, res.attempted(s)...)
	case res.resume:
		p.Action = Resume
		p.Why = []Change{{Field: "checkpoint", New: res.unfinished.Last(), Pos: position(s, "kind"), Says: true}}
	default:
		p.Why, p.Before, p.Renamed = r.why(s, res.key, res.ingredients, res.unknown)
		for i, c := range p.Why {
			p.Why[i].From = res.from[c.Field]
		}
		p.Why = append(p.Why, lengthened(s, p.Why)...)
		if last := res.attempted(s); p.Before != nil {
			p.Why = append(p.Why, last...)
		} else if last != nil { // it was run before, though it came to nothing
			p.Why = last
		} else if res.begun != nil { // or at another length
			p.Why = res.begun.why(s, "attempt")
		}
	}
	return p
}

// refuses says why a stage cannot be run here, and of what that is.
func (r *Runner) refuses(s *pipelines.Stage, res *resolution) (field string, err error) {
	if err := r.missing(s); err != nil {
		return "environment", err
	}
	return "checkpoint", r.besideOther(s, res)
}

// besideOther refuses to begin anew beside a checkpoint of another device or number of threads, of a shorter training too, unless that is
// forced: hours would be lost unseen.
func (r *Runner) besideOther(s *pipelines.Stage, res *resolution) error {
	var next string
	switch u := res.unfinished; {
	case slices.Contains(r.opts.Force, s.Name) || u != nil && u.Now:
		return nil
	case u != nil && u.Other != "":
		next = u.Next()
	case res.away != nil:
		next = res.away.next()
	default:
		return nil
	}
	here := fmt.Sprintf("--device %s --threads %d", res.numerics.Device, res.numerics.Threads)
	return fmt.Errorf("%s; with %s the bits would differ: --force %s begins anew", next, here, s.Name)
}

// attempted is what came of the last attempt at a stage, as a reason to run it.
func (res *resolution) attempted(s *pipelines.Stage) []Change {
	if res.unfinished == nil {
		return nil
	}
	return []Change{{Field: "attempt", New: res.unfinished.Last(), Pos: position(s, "kind"), Says: true}}
}

// Explain fills what Since says of a reused stage: against the last run of that pipeline and stage with another key.
// What a stage of another name did is no run before this one. It reads all records, and so is not part of every plan.
func (r *Runner) Explain(p *StagePlan) {
	if p.Record == nil {
		return
	}
	before, renamed := r.earlier(p.Stage, p.Record.Key, p.Record.Ingredients)
	if before == nil || renamed != "" {
		return
	}
	p.Before, p.changes = before, compare(before.Ingredients, p.Record.Ingredients)
	for i := range p.changes {
		p.changes[i].Pos = position(p.Stage, p.changes[i].Field)
	}
}

func (p *StagePlan) block(s *pipelines.Stage, field, why string, code int) {
	p.Action, p.blocked, p.root = Blocked, code, s.Name
	p.Why = []Change{{Field: field, New: why, Pos: position(s, field), Says: true}}
	for port := range p.Outputs {
		p.Outputs[port] = nil
	}
}

// blockedBy blocks a stage by one before it, and names the one that began it.
func (p *StagePlan) blockedBy(s *pipelines.Stage, field string, up *StagePlan) {
	p.block(s, field, up.root+" is blocked", up.blocked)
	p.root, p.Why[0].From = up.root, up.root
}

// upstreamBlocks blocks p where a stage that it waits for is blocked, or a gate that it needs fails already.
func (r *Runner) upstreamBlocks(s *pipelines.Stage, plan *Plan, p *StagePlan) bool {
	for _, in := range s.Inputs {
		if up := plan.Stage(in.Edge.From); up != nil && up.Action == Blocked {
			p.blockedBy(s, in.Field, up)
			return true
		}
	}
	for i, e := range s.Needs {
		up := plan.Stage(e.From)
		field := fmt.Sprintf("needs[%d]", i)
		switch {
		case up == nil:
		case up.Action == Blocked:
			p.blockedBy(s, field, up)
			return true
		case len(up.Failures) > 0:
			p.block(s, field, gateMessage(up.Name, up.Failures), 4)
			return true
		case up.Action != Reuse && p.Action != Reuse:
			if gate, err := Gate(up.Stage); err == nil && len(gate) > 0 {
				p.Why = append(p.Why, Change{Field: field, New: "the gate of " + up.Name + " comes first", Pos: position(s, field), Says: true})
			}
		}
	}
	return false
}

func gateMessage(stage string, failures []Failure) string {
	said := make([]string, len(failures))
	for i, f := range failures {
		said[i] = f.String()
	}
	return fmt.Sprintf("the gate of %s fails: %s", stage, strings.Join(said, "; "))
}

// LogDir is the folder of what a planned stage logged: of its current record, else of the attempt under way, interrupted
// or failed; "" where there is none.
func (r *Runner) LogDir(s *StagePlan) string {
	if s.Record != nil {
		return r.store.LogDir(s.Record)
	}
	if s.Key == nil {
		return ""
	}
	attempts := []string{r.store.Checkpoints(*s.Key, r.numerics(s.Stage))}
	if s.Unfinished != nil && s.Unfinished.Other != "" { // whatever this run's threads are
		attempts = append(attempts, s.Unfinished.dir)
	}
	for _, dir := range attempts {
		if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
			return filepath.Join(dir, "log")
		}
	}
	return ""
}
