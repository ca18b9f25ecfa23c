package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Elsewhere is a place besides the store that may have what a key gives: a remote, or a file of records. It is asked for what the
// store lacks.
type Elsewhere interface {
	Name() string // as a plan says it: remote, records
	Records(ctx context.Context, key string) ([]*store.Record, error)
	Report(ctx context.Context, tree string) ([]byte, error) // report.json of an artifact; ErrOnlyRecords
	Bring(ctx context.Context, rec *store.Record) error      // the record and all that it promises, into the store; ErrOnlyRecords
}

// ErrOnlyRecords is that of a place that has records without their artifacts.
var ErrOnlyRecords = errors.New("only its record is known, not its artifacts")

// CheckRecord refuses a record from elsewhere that does not hold together: its key is that of its ingredients.
func CheckRecord(r *store.Record) error {
	if got := key(r.Ingredients); got != r.Key {
		return fmt.Errorf("its ingredients give the key %.12s, not %.12s", got, r.Key)
	}
	if r.Prefix != "" && !store.IsHash(r.Prefix) {
		return errors.New("its prefix key is no hash")
	}
	if len(r.Outputs) == 0 {
		return errors.New("it has no outputs")
	}
	for port, out := range r.Outputs {
		if !store.IsHash(out.Hash) {
			return fmt.Errorf("its output %q has no hash", port)
		}
	}
	return nil
}

// distant is where the artifacts of a record are that came from elsewhere.
type distant struct {
	place Elsewhere
	rec   *store.Record
}

// elsewhere asks the other places for what the store lacks.
func (r *Runner) elsewhere(s *pipelines.Stage, res *resolution) error {
	for _, place := range r.opts.Elsewhere {
		records, err := place.Records(r.ctx(), res.key)
		if err != nil {
			return err
		}
		records = slices.DeleteFunc(slices.Clone(records), func(rec *store.Record) bool { return !r.promises(s, rec) })
		rec := prefer(records, res.numerics, r.opts.Exact)
		if rec == nil {
			continue
		}
		res.record, res.place, res.gone = rec, place, nil
		r.mu.Lock()
		for _, out := range rec.Outputs {
			r.away[out.Hash] = distant{place, rec}
		}
		r.mu.Unlock()
		return nil
	}
	return nil
}

// promises says whether a record from elsewhere has all ports of a stage, and none of an artifact that could not be had.
func (r *Runner) promises(s *pipelines.Stage, rec *store.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, out := range s.Outputs {
		have, ok := rec.Outputs[out.Port]
		if !ok || have.Kind != out.Kind || r.unfit[have.Hash] {
			return false
		}
	}
	return true
}

// bring takes an artifact that is elsewhere into the store, with all that its stage made and its record. One that cannot be had is not asked for again.
func (r *Runner) bring(ctx context.Context, tree string) error {
	r.mu.Lock()
	from, ok := r.away[tree]
	r.mu.Unlock()
	if !ok {
		return nil
	}
	lock, err := r.store.Lock(ctx, from.rec.Key, nil)
	if err != nil {
		return err
	}
	defer lock.Close()
	if r.has(from.rec) { // an artifact alone will not do: a pull was killed before it had the record
		return nil
	}
	if err = from.place.Bring(ctx, from.rec); err != nil && ctx.Err() == nil && !lacking(err) {
		r.mu.Lock()
		for _, out := range from.rec.Outputs {
			r.unfit[out.Hash] = true
			delete(r.away, out.Hash)
		}
		r.mu.Unlock()
	}
	return err
}

// has says whether the store has what a record says, itself included.
func (r *Runner) has(rec *store.Record) bool {
	own, err := r.store.Records(rec.Key)
	if err != nil || !slices.ContainsFunc(own, func(o *store.Record) bool { return maps.Equal(o.Outputs, rec.Outputs) }) {
		return false
	}
	for _, out := range rec.Outputs {
		if r.store.Check(out.Hash) != nil {
			return false
		}
	}
	return true
}

// lacking says whether an error is of the environment: no network, a full disk. It is no reason to make anew what is elsewhere, perhaps
// for hours.
func lacking(err error) bool {
	var failure *job.Error
	return errors.As(err, &failure) && failure.Code == 6 || errors.Is(err, syscall.ENOSPC)
}

// report reads the report of an artifact, wherever it is.
func (r *Runner) report(tree string) (*Report, error) {
	r.mu.Lock()
	from, ok := r.away[tree]
	r.mu.Unlock()
	if !ok || r.store.Check(tree) == nil {
		return ReadReport(r.store.Tree(tree))
	}
	b, err := from.place.Report(r.ctx(), tree)
	if err != nil {
		return nil, err
	}
	var report Report
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("%s: report.json of %.12s: %w", from.place.Name(), tree, err)
	}
	return &report, nil
}

// readsReport says whether a run shows or judges what a stage made.
func readsReport(s *pipelines.Stage) bool {
	return slices.ContainsFunc(s.Outputs, func(o pipelines.Output) bool { return o.Kind == "report" })
}

// brings takes a report that is elsewhere into the store, beside what the loop does: it is judged and shown. One that cannot be had is
// made here.
func (s *schedule) brings(ctx context.Context, n *node) {
	n.state, n.brought = running, true
	s.pending++
	n.result = &StageResult{StagePlan: s.r.describe(n.stage, n.res)}
	rec := n.res.record
	go func() {
		out := &outcome{}
		for _, o := range rec.Outputs {
			switch err := s.r.bring(ctx, o.Hash); {
			case err == nil:
			case ctx.Err() != nil:
				out.err = errInterrupted
			case lacking(err):
				out.err = err
			default:
				out.notes = append(out.notes, fmt.Sprintf("%v: made here", err))
			}
		}
		s.reports <- report{node: n, outcome: out, asked: true}
	}()
}
