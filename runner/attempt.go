package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// attempt is one go at a stage: lock its key, look once more, check what it reads, run a process, keep what it made.
type attempt struct {
	*Runner
	stage  *pipelines.Stage
	res    *resolution
	plan   *StagePlan
	forced bool
	lock   *store.Lock
	dir    string     // the job folder
	far    Unfinished // how far the worker came
}

// outcome is what an attempt came to.
type outcome struct {
	outputs Outputs
	metrics map[string]float64
	notes   []string
	reused  bool // another process has made it meanwhile
	resumed bool
	err     error
	damaged map[string]error // inputs that must be made again first, by the stage that makes them
	commit  func() error     // makes the artifacts durable and the record visible
}

var errInterrupted = &job.Error{Message: "interrupted", Code: 130}

// run does everything but the commit. The caller calls release whatever came of it.
func (a *attempt) run(ctx context.Context) *outcome {
	out := &outcome{}
	if out.err = a.blameDisk(a.do(ctx, out)); out.err != nil && a.dir != "" {
		a.far.ended(a.checkpoints(), out.err)
	}
	if ctx.Err() != nil && out.err != nil {
		out.err = errInterrupted
		if a.dir != "" {
			out.err = &job.Error{Message: a.far.Next(), Code: errInterrupted.Code, Err: errInterrupted}
		}
	}
	return out
}

func (a *attempt) do(ctx context.Context, out *outcome) (err error) {
	a.lock, err = a.store.Lock(ctx, a.res.key, func(pid int) {
		a.say("info", fmt.Sprintf("process %d is at this stage: waiting for it", pid))
	})
	if err != nil {
		return err
	}
	res := *a.res // the loop reads its own
	a.res = &res
	if err := a.lookup(a.stage, a.res); err != nil {
		return err
	}
	if a.res.record != nil && !a.forced {
		a.done(a.stage, a.res.record)
		out.reused, out.outputs, out.metrics = true, a.res.record.Outputs, a.res.record.Metrics
		return nil
	}
	if out.damaged, err = a.verify(ctx); err != nil || out.damaged != nil {
		return err
	}
	if a.forced {
		a.res.resume, a.res.shorter = false, nil
	}
	started := time.Now()
	end, err := a.process(ctx)
	if err != nil {
		return err
	}
	out.resumed, out.metrics = end.resumed, end.metrics
	if err := a.unchanged(); err != nil {
		return err
	}
	if out.outputs, err = a.keep(); err != nil {
		return err
	}
	rec := &store.Record{
		Key: a.res.key, Kind: a.stage.Kind, Pipeline: a.graph.Name, Ref: a.ref, Stage: a.stage.Name,
		Ingredients: a.res.ingredients, Numerics: &end.numerics, Outputs: out.outputs, Metrics: out.metrics,
		Started: started.UTC(), Seconds: time.Since(started).Seconds(), Memory: end.memory, Resumed: out.resumed, Version: a.opts.Version, Smoke: a.stage.Apart,
		Prefix: prefixKey(a.stage, a.res.ingredients), Sources: sourceNames(a.stage),
	}
	first, note := a.first(rec)
	if note != "" {
		out.notes = append(out.notes, note)
	}
	a.done(a.stage, rec)
	if first != nil {
		out.outputs, out.metrics = first.Outputs, first.Metrics
		a.done(a.stage, first)
	}
	out.commit = func() error {
		if first == nil {
			if err := a.store.Commit(rec, a.log()); err != nil {
				return err
			}
			if err := a.retire(rec); err != nil {
				a.say("warn", fmt.Sprintf("a longer training will not go on from this one: %v", err))
			}
		}
		os.RemoveAll(a.checkpoints())
		os.Remove(filepath.Dir(a.checkpoints())) // stays where another device's state is in it
		return nil
	}
	return nil
}

// release throws the job folder away and gives the key up.
func (a *attempt) release() {
	if a.dir != "" {
		os.RemoveAll(a.dir)
	}
	if a.lock != nil {
		a.lock.Close()
	}
}

// checkpoints is a folder that outlives the attempt. The log lies there too, so that it goes on where a killed
// attempt's ended; a record takes it over.
func (a *attempt) checkpoints() string { return a.store.Checkpoints(a.res.key, a.res.numerics) }
func (a *attempt) log() string         { return filepath.Join(a.checkpoints(), "log") }
func (a *attempt) state() string       { return filepath.Join(a.checkpoints(), "state") }

func (a *attempt) say(level, message string) {
	a.observe(Update{Stage: a.plan, Event: job.Event{Event: "log", Level: level, Message: message}})
}

// verify reads every byte of what the stage is about to use, and brings what of it is elsewhere.
func (a *attempt) verify(ctx context.Context) (map[string]error, error) {
	var damaged map[string]error
	for _, in := range a.stage.Inputs {
		artifact := a.res.inputs[in.Field]
		for e := &in.Edge; e != nil; e, artifact = a.graph.Base(*e), artifact.Base {
			brought := a.bring(ctx, artifact.Hash)
			if ctx.Err() != nil || lacking(brought) {
				return nil, brought
			}
			if err := a.store.Verify(artifact.Hash); err != nil {
				if brought != nil { // which says more
					err = brought
				}
				if err := a.store.Discard(artifact.Hash); err != nil {
					a.say("warn", err.Error())
				}
				if damaged == nil {
					damaged = map[string]error{}
				}
				damaged[e.From] = err
			}
		}
	}
	return damaged, nil
}

// process makes the job folder and has a worker do the job.
func (a *attempt) process(ctx context.Context) (*ending, error) {
	a.far = Unfinished{}
	if a.res.resume && a.res.shorter == nil {
		a.far = *a.res.unfinished
		a.far.Error = ""
	} else if err := os.RemoveAll(a.checkpoints()); err != nil {
		return nil, err
	}
	a.far.Config, a.far.Shared = a.stage.Config, sharedKey(a.stage, a.res.ingredients)
	for _, dir := range []string{a.log(), a.state()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if a.res.shorter != nil {
		if err := a.goOn(); err != nil {
			a.say("warn", fmt.Sprintf("the last state of a shorter training is of no use: %v", err))
			a.res.resume, a.res.shorter = false, nil
			return a.process(ctx)
		}
	}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	return a.start(ctx)
}

// blameDisk makes a failure the environment's where the store's disk is full, with the job folder still on it, and says what
// gives room: of a file in the store its name there, of a program, which cannot always say so, what it said.
func (a *attempt) blameDisk(err error) error {
	if err == nil {
		return nil
	}
	var failure *job.Error
	errors.As(err, &failure)
	file := regexp.MustCompile(regexp.QuoteMeta(a.store.Dir) + `/(?:tmp/[^/]+/|checkpoints/[^/]+/[^/]+/)?([^:\s]+)`).FindStringSubmatch(err.Error())
	told := errors.Is(err, syscall.ENOSPC) || strings.Contains(strings.ToLower(err.Error()), "no space left on device")
	free := a.store.Free()
	full := &job.Error{Code: 6, Err: err}
	switch {
	case told && file != nil:
		full.Path, full.Message = file[1], "no space left on the disk of the store"
	case free < 1<<20 && (told || failure != nil && failure.Code == 1):
		full.Message = err.Error() + "; no space left on the disk of the store"
	default:
		return err
	}
	full.Message += fmt.Sprintf("\n%s has %s left: hone gc --dry-run says what gc would free; --store DIR names another place", a.store.Dir, store.Size(free))
	return full
}

// prepare writes the job folder.
func (a *attempt) prepare() (err error) {
	if a.dir, err = a.store.Job(a.res.key); err != nil {
		return err
	}
	j := job.Job{
		Protocol: job.Protocol, Stage: a.stage.Name, Kind: a.stage.Kind,
		Implementation: schemas.Implementation(a.stage.Kind), Config: a.stage.Config,
		Inputs: map[string]job.Input{}, Files: a.res.files, Out: map[string]job.Output{},
		Log: a.log(), Checkpoints: a.state(),
		Device: a.device(a.stage), Threads: a.res.numerics.Threads, Date: fixedDate, Rows: a.stage.Rows,
	}
	for field, in := range a.res.inputs {
		j.Inputs[field] = *a.input(in)
	}
	for _, in := range a.stage.Inputs {
		input := j.Inputs[in.Field]
		input.Origin = a.origin(in.Edge)
		j.Inputs[in.Field] = input
	}
	for _, out := range a.stage.Outputs {
		dir := filepath.Join(a.dir, "out", out.Port)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		j.Out[out.Port] = job.Output{Kind: out.Kind, Path: dir}
	}
	b, err := json.MarshalIndent(j, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, "job.json"), b, 0o644)
}

// fixedDate is the day for templates that read it: one that does not change, so that a stage gives the same bytes
// tomorrow. A stage's own field date comes before it.
const fixedDate = "2024-07-26"

func (a *attempt) input(in *Artifact) *job.Input {
	if in == nil {
		return nil
	}
	return &job.Input{Kind: in.Kind, Path: a.store.Tree(in.Hash), Hash: in.Hash, Base: a.input(in.Base)}
}

// unchanged refuses a result whose source changed under the stage: the key would lie about it.
func (a *attempt) unchanged() error {
	for _, src := range a.stage.Sources {
		if src.Hub != "" {
			continue
		}
		if hash, err := a.sources.Hash(src.Path); err != nil || hash != a.res.content[src.Field] {
			a.mu.Lock()
			delete(a.hashes, src.Path)
			a.mu.Unlock()
			return &job.Error{Path: src.Written, Message: "changed while the stage ran; run again", Code: 1}
		}
	}
	return nil
}

// keep takes the out folders into the store.
func (a *attempt) keep() (Outputs, error) {
	outputs := Outputs{}
	for _, out := range a.stage.Outputs {
		hash, err := a.store.Put(filepath.Join(a.dir, "out", out.Port))
		if err != nil {
			return nil, fmt.Errorf("out/%s: %w", out.Port, err)
		}
		outputs[out.Port] = store.Output{Kind: out.Kind, Hash: hash}
	}
	return outputs, nil
}

// first is the record that this key and these numerics have already, where its bytes are others and still there: it
// stays, since later stages stand on it. The note says that the stage is not reproducible.
func (a *attempt) first(now *store.Record) (*store.Record, string) {
	records, err := a.store.Records(now.Key)
	if err != nil {
		return nil, ""
	}
	i := slices.IndexFunc(records, func(r *store.Record) bool { return equal(r.Numerics, now.Numerics) })
	if i < 0 || equal(records[i].Outputs, now.Outputs) {
		return nil, ""
	}
	var ports []string
	for port, out := range now.Outputs {
		if before := records[i].Outputs[port]; before != out {
			ports = append(ports, fmt.Sprintf("%s was %.12s and is %.12s", port, before.Hash, out.Hash))
		}
	}
	slices.Sort(ports)
	note := "not reproducible: " + strings.Join(ports, ", ")
	if a.usable(a.stage, records[i]) == nil {
		return records[i], note + "; the first stays"
	}
	return nil, note
}
