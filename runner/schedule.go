package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
)

// schedule is the state of a run. Only its loop touches it; attempts report on a channel.
type schedule struct {
	r       *Runner
	nodes   []*node // topological
	byName  map[string]*node
	outputs map[string]Outputs
	making  map[string]int // stages at work, by key
	reports chan report
	pending int // attempts that have not sent their last report
	free    capacity
	waited  bool // it was said that a stage waits for threads

	rootNext time.Time
}

// report is what an attempt tells the loop: first that its artifacts are placed, then that it has ended. Before it stands that
// of asking the hub, where that was needed.
type report struct {
	node    *node
	outcome *outcome
	last    bool
	asked   bool
}

func (r *Runner) schedule() *schedule {
	s := &schedule{
		r: r, byName: map[string]*node{}, outputs: map[string]Outputs{}, making: map[string]int{},
		reports: make(chan report, 64), free: machine(r.opts.Jobs),
	}
	for _, stage := range r.stages {
		n := &node{stage: stage, forced: slices.Contains(r.opts.Force, stage.Name)}
		for _, name := range upstream(r.graph, stage) {
			n.upstream = append(n.upstream, s.byName[name])
		}
		s.nodes = append(s.nodes, n)
		s.byName[stage.Name] = n
	}
	return s
}

// loop starts what can start and takes in what has ended, until nothing is left. A cancelled ctx starts nothing more.
func (s *schedule) loop(ctx context.Context) error {
	for {
		for again := true; again; {
			again = false
			for _, n := range s.nodes {
				if n.state != waiting {
					continue
				}
				moved, err := s.advance(ctx, n)
				if err != nil {
					s.drain()
					return err
				}
				again = again || moved
			}
		}
		if s.pending == 0 {
			return nil
		}
		s.root()
		s.take(<-s.reports)
		for len(s.reports) > 0 { // what has come meanwhile, before all stages are looked at again
			s.take(<-s.reports)
		}
	}
}

// root makes the keys so far roots of GC, so that a killed run's work has one; the end of the run looks at the error. With many stages
// it is written less often, lest it take more than a twentieth of the time.
func (s *schedule) root() {
	began := time.Now()
	if began.Before(s.rootNext) {
		return
	}
	_ = s.r.setRef(s.keys())
	s.rootNext = time.Now().Add(20 * time.Since(began))
}

// drain waits for attempts after an error of the runner's own; their context is the caller's to cancel.
func (s *schedule) drain() {
	for s.pending > 0 {
		s.take(<-s.reports)
	}
}

// advance moves a waiting node on if it can: to its end where it is skipped or reused, to running where there is room.
func (s *schedule) advance(ctx context.Context, n *node) (bool, error) {
	if ctx.Err() != nil {
		s.end(n, &StageResult{Status: Skipped, Error: "interrupted"})
		return true, nil //nolint:nilerr // the interruption is the stage's result
	}
	for _, up := range n.upstream {
		if up.failed() {
			s.end(n, &StageResult{Status: Skipped, Error: upstreamError(up)})
			return true, nil
		}
	}
	if !n.ready() {
		return false, nil
	}
	if n.twin && !s.twin(n) { // it has ended: what it made is there now
		n.twin, n.res = false, nil
	}
	if n.res == nil {
		for _, e := range n.stage.Needs {
			if up := s.byName[e.From]; len(up.result.Failures) > 0 {
				s.end(n, &StageResult{Status: Skipped, Error: gateMessage(up.stage.Name, up.result.Failures)})
				return true, nil
			}
		}
		res, err := s.r.resolve(n.stage, s.outputs)
		if err != nil {
			return false, err
		}
		n.res = res
		if res.gone != nil && n.rebuilt == 0 { // else it is said already
			n.note("%v: made again", res.gone)
		}
		if sources := s.r.Unpinned(n.stage); len(sources) > 0 {
			s.ask(ctx, n, sources)
			return true, nil
		}
	}
	if n.res.place != nil && !n.forced && !n.brought && readsReport(n.stage) {
		s.brings(ctx, n)
		return true, nil
	}
	if n.res.record != nil && !n.forced {
		s.reuse(n)
		return true, nil
	}
	if s.r.beyond(n.stage) {
		result := &StageResult{}
		result.fail(&job.Error{Message: "would run, which the saved plan does not say: make a new plan", Code: 2})
		s.end(n, result)
		return true, nil
	}
	if n.twin = s.twin(n); n.twin {
		return false, nil
	}
	if _, err := s.r.refuses(n.stage, n.res); err != nil {
		result := &StageResult{}
		result.fail(&job.Error{Message: err.Error(), Code: 6})
		s.end(n, result)
		return true, nil //nolint:nilerr // it is the stage's result
	}
	want := s.demand(n)
	if !s.free.take(want) {
		s.waits(n, want)
		return false, nil
	}
	n.state, n.began, n.stale = running, time.Now(), false
	s.pending++
	s.making[n.res.key]++
	plan := s.r.describe(n.stage, n.res)
	if n.rebuilt > 0 && plan.Action == Reuse {
		plan.Action = Run
	}
	s.r.predict(plan, s.outputs)
	n.result = &StageResult{StagePlan: plan}
	s.r.observe(Update{Stage: plan, Event: job.Event{Event: "planned"}})
	go s.attempt(ctx, n)
	return true, nil
}

// twin says whether another stage is at work on what n is to give: it does it for both.
func (s *schedule) twin(n *node) bool {
	return n.res != nil && n.res.key != "" && !n.forced && s.making[n.res.key] > 0
}

// waits says once of a run that was asked for several stages at once why it does not have them.
func (s *schedule) waits(n *node, want demand) {
	if !s.r.several || s.waited || n.stage.Resources.CPUs > 0 || !s.free.busy(want) {
		return
	}
	s.waited = true
	s.r.observe(Update{Stage: s.r.describe(n.stage, n.res), Event: job.Event{
		Event: "waits", Message: fmt.Sprintf("waits for threads: it reserves %d of %d; --threads gives it fewer", want.cpus, s.free.all.cpus),
	}})
}

// ask has the hub say which commits a stage's sources are, while others go on: without them it has no key.
func (s *schedule) ask(ctx context.Context, n *node, sources []string) {
	n.state, n.began = running, time.Now()
	s.pending++
	n.result = &StageResult{StagePlan: s.r.describe(n.stage, n.res)}
	s.r.observe(Update{Stage: n.result.StagePlan, Event: job.Event{
		Event: "log", Level: "info", Message: "asking the hub for " + strings.Join(sources, ", "),
	}})
	go func() {
		s.reports <- report{node: n, outcome: &outcome{err: s.r.pin(ctx, sources)}, asked: true}
	}()
}

func (s *schedule) attempt(ctx context.Context, n *node) {
	a := attempt{Runner: s.r, stage: n.stage, res: n.res, plan: n.result.StagePlan, forced: n.forced}
	out := a.run(ctx)
	if out.err == nil && out.damaged == nil && out.commit != nil {
		s.reports <- report{node: n, outcome: out}
		committed := *out
		committed.err = a.blameDisk(out.commit())
		out = &committed
	}
	a.release()
	s.reports <- report{node: n, outcome: out, last: true}
}

// take brings a report in.
func (s *schedule) take(rep report) {
	n, out := rep.node, rep.outcome
	if rep.asked {
		s.pending--
		n.state, n.res = waiting, nil
		n.notes = append(n.notes, out.notes...)
		if out.err != nil {
			result := &StageResult{Seconds: time.Since(n.began).Seconds()}
			result.fail(out.err)
			s.end(n, result)
		}
		return
	}
	if !rep.last {
		n.state, n.result.Seconds = placed, time.Since(n.began).Seconds()
		s.free.give(s.demand(n)) // what is left is the disk's
		s.publish(n, out.outputs)
		s.r.observe(Update{Stage: n.result.StagePlan, Event: job.Event{Event: "placed"}})
		return
	}
	s.pending--
	s.making[n.res.key]--
	if n.state != placed {
		s.free.give(s.demand(n))
	}
	if out.damaged != nil {
		s.rebuild(n, out.damaged)
		return
	}
	n.forced = false
	result := n.result
	result.Metrics = out.metrics
	if n.state != placed {
		result.Seconds = time.Since(n.began).Seconds()
	}
	n.notes = append(n.notes, out.notes...)
	switch {
	case out.err != nil:
		result.fail(out.err)
		delete(s.outputs, n.stage.Name)
	case out.reused:
		result.Status, result.Seconds = Reused, 0
	case out.resumed:
		result.Status = Resumed
	default:
		result.Status = Ran
	}
	if out.err == nil {
		s.publish(n, out.outputs)
	}
	s.end(n, result)
	if n.stale {
		n.state, n.res = waiting, nil
	}
}

// reuse ends a node with the record that is there.
func (s *schedule) reuse(n *node) {
	rec := n.res.record
	n.result = &StageResult{StagePlan: s.r.describe(n.stage, n.res), Status: Reused, Metrics: rec.Metrics}
	if n.brought {
		n.result.From = "remote"
	}
	s.r.done(n.stage, rec)
	s.publish(n, rec.Outputs)
	s.end(n, n.result)
}

// end gives a node its result and says so.
func (s *schedule) end(n *node, result *StageResult) {
	if result.StagePlan == nil {
		if n.res == nil {
			n.res, _ = s.r.resolve(n.stage, s.outputs) // what is known of it, for the table
		}
		if n.res == nil {
			n.res = &resolution{}
		}
		result.StagePlan = s.r.describe(n.stage, n.res)
		if result.Status == Skipped {
			result.block(n.stage, "kind", result.Error, 0)
		}
	}
	result.Artifacts = s.outputs[n.stage.Name]
	for port := range result.Outputs {
		result.Outputs[port] = nil
		if out, ok := result.Artifacts[port]; ok && result.Status != Failed && result.Status != Skipped {
			result.Outputs[port] = &out.Hash
		}
	}
	if result.Metrics == nil {
		result.Metrics = map[string]float64{}
	}
	result.Notes, n.notes = append(result.Notes, n.notes...), nil
	n.result, n.state = result, ended
	s.r.observe(Update{Stage: result.StagePlan, Ended: result})
}

func (n *node) note(format string, args ...any) {
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

func upstreamError(up *node) string {
	if up.result.Status == Skipped { // for what comes before it
		return up.result.Error
	}
	return up.stage.Name + " failed"
}

func (s *schedule) demand(n *node) demand {
	return s.free.clamp(demandOf(n.stage, s.r.numerics(n.stage)))
}
