package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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

func (r *Runner) ctx() context.Context {
	if r.opts.Context != nil {
		return r.opts.Context
	}
	return context.Background()
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

// Pulled is a stage that Pull looked at.
type Pulled struct {
	*StagePlan
	Status string `json:"status"` // pulled, there, or missing: neither the store nor the remote has what it would make
}

// Pull brings what the selected stages would reuse from elsewhere into the store, and keeps it from gc as a run does. done is told of
// each stage, perhaps several at once.
func (r *Runner) Pull(ctx context.Context, done func(*Pulled)) ([]*Pulled, error) {
	if err := r.store.Init(); err != nil {
		return nil, err
	}
	use, err := r.store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	keys := map[string]string{}
	all := make([]*Pulled, len(plan.Stages))
	for i, s := range plan.Stages {
		all[i] = &Pulled{s, "missing"}
		if s.Record != nil {
			keys[s.Name] = s.Record.Key
			all[i].Status = "there"
		}
		if s.From != "" {
			all[i].Status = "pulled"
		}
	}
	if err := r.setRef(keys); err != nil { // first: gc must not free what comes meanwhile
		return nil, err
	}
	const atOnce = 8
	errs, slots := make(chan error, len(all)), make(chan struct{}, atOnce)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range all {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs <- r.pull(inner, p, done)
		}()
	}
	var failed []error
	for range all {
		if err := <-errs; err != nil && inner.Err() == nil {
			failed = append(failed, err)
			if lacking(err) { // nor will the others come
				cancel()
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return all, errors.Join(failed...)
}

func (r *Runner) pull(ctx context.Context, p *Pulled, done func(*Pulled)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.Status == "pulled" {
		for _, port := range slices.Sorted(maps.Keys(p.Record.Outputs)) {
			if err := r.bring(ctx, p.Record.Outputs[port].Hash); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	done(p)
	return nil
}

// Made is a stage with the record of the pipeline's last run; nil where that made none.
type Made struct {
	*pipelines.Stage
	Record *store.Record
}

// Made is what the pipeline's last run used of the selected stages. An artifact that is gone is not made.
func (r *Runner) Made() ([]Made, error) {
	var made []Made
	for _, s := range r.stages {
		m := Made{Stage: s}
		if key := r.before[s.Name]; key != "" {
			records, err := r.store.Records(key)
			if err != nil {
				return nil, err
			}
			records = slices.DeleteFunc(records, func(rec *store.Record) bool {
				return !r.promises(s, rec) || slices.ContainsFunc(slices.Collect(maps.Values(rec.Outputs)), func(out store.Output) bool {
					var damage *store.Damage
					return errors.As(r.store.Check(out.Hash), &damage) && len(damage.Files) == 0
				})
			})
			m.Record = prefer(records, r.numerics(s), false)
		}
		made = append(made, m)
	}
	return made, nil
}

// AllRecords is the records that the pipeline's runs made or reused, the oldest first.
func (r *Runner) AllRecords() ([]*store.Record, error) {
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, s := range plan.Stages {
		if s.Key != nil {
			keys[*s.Key] = true
		}
	}
	for _, key := range r.before {
		keys[key] = true
	}
	return slices.DeleteFunc(slices.Clone(r.history()), func(rec *store.Record) bool { return !keys[rec.Key] && !r.own(rec) }), nil
}

// recordsHead is the first line of a file of records.
type recordsHead struct {
	Format  int    `json:"hone_records"`
	Version string `json:"version"` // of hone
}

const (
	recordsFormat = 1
	recordLine    = 8 << 20 // bytes of a line
)

// WriteRecords writes a file of records: JSON lines after a first one that says what they are. It has no paths of this machine.
func WriteRecords(w io.Writer, version string, records []*store.Record) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(recordsHead{recordsFormat, version}); err != nil {
		return err
	}
	for _, r := range records {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// RecordsFile is records that another store had: enough to say what would be reused there.
type RecordsFile struct{ byKey map[string][]*store.Record }

// ReadRecords reads a file of records. Errors name the file and the line.
func ReadRecords(path string) (*RecordsFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file := &RecordsFile{map[string][]*store.Record{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, recordLine)
	n := 0
	for lines.Scan() {
		n++
		var err error
		if n == 1 {
			var head recordsHead
			if err = json.Unmarshal(lines.Bytes(), &head); err != nil || head.Format == 0 {
				return nil, fmt.Errorf("%s: not a file of records: hone show --records writes one", path)
			}
			if head.Format != recordsFormat {
				return nil, fmt.Errorf("%s: records of format %d; this hone reads %d", path, head.Format, recordsFormat)
			}
			continue
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec store.Record
		if err = json.Unmarshal(lines.Bytes(), &rec); err == nil {
			err = CheckRecord(&rec)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		file.byKey[rec.Key] = append(file.byKey[rec.Key], &rec)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: empty: hone show --records writes one", path)
	}
	return file, nil
}

func (f *RecordsFile) Name() string { return "records" }

func (f *RecordsFile) Records(_ context.Context, key string) ([]*store.Record, error) {
	return f.byKey[key], nil
}

func (f *RecordsFile) Report(context.Context, string) ([]byte, error) { return nil, ErrOnlyRecords }
func (f *RecordsFile) Bring(context.Context, *store.Record) error     { return ErrOnlyRecords }
