package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/stages"
)

// What vet --data reads and waits for without --all.
const (
	vetRows  = 2000
	vetBytes = 1 << 30
	vetTime  = 5 * time.Minute
)

// dataFlags are those of vet --data.
type dataFlags struct {
	data, all, allowExec bool
	rows                 int64
	examples             int
}

func (d *dataFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&d.data, "data", false, "have hone-worker prove that the rows of each training reach its loss")
	c.Flags().Int64Var(&d.rows, "rows", vetRows, "with --data: look at `N` rows, spread over the data")
	c.Flags().BoolVar(&d.all, "all", false, "with --data: all rows, however many bytes and minutes they take")
	c.Flags().BoolVar(&d.allowExec, "allow-exec", false, "with --data: run the programs (exec) that rows come from")
	c.Flags().IntVar(&d.examples, "examples", 0, "with --data: show `N` rows with what trains marked, up to 3 (2 on a terminal)")
}

// check refuses flags that go with others.
func (d *dataFlags) check(c *cobra.Command) error {
	for _, name := range []string{"rows", "all", "allow-exec", "examples", "stage", "store", "threads"} {
		if c.Flags().Changed(name) && !d.data {
			return usage("--%s goes with --data", name)
		}
	}
	switch {
	case d.rows < 1:
		return usage("--rows %d: below 1; --all looks at all", d.rows)
	case d.all && c.Flags().Changed("rows"):
		return usage("--all and --rows %d: one of them", d.rows)
	case d.examples < 0, d.examples > 3:
		return usage("--examples %d: 0 to 3", d.examples)
	}
	if file, ok := c.OutOrStdout().(*os.File); ok && !c.Flags().Changed("examples") && term.IsTerminal(int(file.Fd())) {
		d.examples = 2
	}
	if d.all {
		d.rows = 0
	}
	return nil
}

// proven is what vet --data found of a training.
type proven struct {
	Pipeline string         `json:"pipeline"`
	Stage    string         `json:"stage"`
	Kind     string         `json:"kind"`
	Before   bool           `json:"before"` // by an earlier run; nothing has changed since
	Sets     []*job.Rows    `json:"sets"`
	Proofs   []*job.Proof   `json:"proofs"`
	Examples []*job.Example `json:"examples"`

	pos   string
	code  int    // of what kept it from being proven
	lacks string // the same in words
}

// proveAll adds to a verdict what is found of pipelines; what fails is an error there.
func (d *dataFlags) proveAll(ctx context.Context, c *cobra.Command, f *flags, graphs []*pipelines.Graph, v *verdict) error {
	for _, g := range graphs {
		all, err := d.prove(ctx, c, f, g)
		if err != nil {
			return err
		}
		for _, p := range all {
			for _, line := range p.failures() {
				v.Valid = false
				v.Errors = append(v.Errors, finding{p.pos, "stages." + p.Stage, strings.TrimPrefix(line, p.Stage+": ")})
			}
		}
		if len(all) == 0 && !f.json {
			fmt.Fprintf(c.ErrOrStderr(), "%s trains nothing: there are no rows to prove anything of\n", g.Name)
		}
		v.Data = append(v.Data, all...)
	}
	return nil
}

// failing is what fails as an error, a line a row; nil where nothing does.
func (d *dataFlags) failing(v verdict) error {
	var lines []string
	for _, p := range v.Data {
		lines = append(lines, p.failures()...)
	}
	if len(lines) == 0 {
		return nil
	}
	return fail(exitInvalid, "%s", strings.Join(lines, "\n"))
}

// lacking is what the machine lacks for a proof; nil where it lacks nothing, or where something fails.
func (d *dataFlags) lacking(v verdict) error {
	for _, p := range v.Data {
		if p.code != 0 && v.Valid {
			return fail(p.code, "%s: %s", p.Stage, p.lacks)
		}
	}
	return nil
}

// prove proves what can be of the trainings of a pipeline.
func (d *dataFlags) prove(ctx context.Context, c *cobra.Command, f *flags, g *pipelines.Graph) ([]*proven, error) {
	if err := d.named(g, f.stages); err != nil {
		return nil, err
	}
	st, err := f.openStore()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hone-vet-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	of := *f
	of.stages = nil
	plain, err := of.runnerOf(g, st, runner.Options{})
	if err != nil {
		return nil, err
	}
	plan := func(stage string) (*runner.StagePlan, error) {
		r, err := of.runnerOf(g, st, runner.Options{Stages: []string{stage}})
		if err != nil {
			return nil, err
		}
		p, err := r.Plan()
		if err != nil {
			return nil, err
		}
		return p.Stage(stage), nil
	}
	run := f.run()
	if strings.HasSuffix(f.ran, "...") {
		run = f.runIn(g.Dir)
	}
	o := pipelines.Vetting{
		Stages: f.stages, Rows: d.rows, AllowExec: d.allowExec, Run: run,
		Made: func(s *pipelines.Stage) (bool, error) {
			p, err := plan(s.Name)
			return err == nil && p.Action == runner.Reuse, err
		},
		Tokenizer: (&tokenizers{dir: dir, run: run, store: st, plan: plan, pins: plain.Commit}).find,
	}
	if !d.all {
		o.MaxBytes = vetBytes
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, vetTime, errSlow)
		defer cancel()
	}
	began := time.Now()
	whole, proofs, err := pipelines.Vet(g, o)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range proofs {
		if p.By != nil {
			names = append(names, p.By.Name)
		}
	}
	var r *runner.Runner
	result := &runner.Result{}
	if len(names) > 0 {
		show := newQuiet(c.ErrOrStderr())
		if r, err = of.runnerOf(whole, st, runner.Options{Stages: names, Observe: show.update, Look: true}); err != nil {
			return nil, err
		}
		result, err = r.Run(ctx)
		show.close()
		if err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow) {
		return nil, context.Canceled
	}
	var all []*proven
	for _, p := range proofs {
		v, err := found(ctx, began, p, whole, r, result, func(hash string) string { return st.Tree(hash) })
		if err != nil {
			return nil, err
		}
		v.Pipeline = g.Name
		all = append(all, v)
	}
	return all, nil
}

var errSlow = fmt.Errorf("not done after %v: --all waits", vetTime)

// named refuses names that are no training's.
func (d *dataFlags) named(g *pipelines.Graph, names []string) error {
	var trainings []string
	for _, s := range g.Stages {
		if pipelines.Trains(s) {
			trainings = append(trainings, s.Name)
		}
	}
	for _, name := range names {
		if slices.Contains(trainings, name) {
			continue
		}
		if s := g.Stage(name); s != nil {
			return usage("--stage %s: %s trains nothing; there are %s", name, s.Kind, strings.Join(trainings, ", "))
		}
		return usage("--stage %s: no such stage%s", name, pipelines.Suggest(name, trainings))
	}
	return nil
}

// found reads what came of a training's proof.
func found(ctx context.Context, began time.Time, p *pipelines.Proof, g *pipelines.Graph, r *runner.Runner, result *runner.Result, tree func(string) string) (*proven, error) {
	v := &proven{Stage: p.Stage.Name, Kind: p.Stage.Kind, Sets: []*job.Rows{}, Proofs: []*job.Proof{}, Examples: []*job.Example{}, pos: place(p.Stage)}
	if p.By != nil {
		s := result.Stage(p.By.Name)
		if s.Status == runner.Failed || s.Status == runner.Skipped {
			v.refused(ctx, p, g, result)
		} else {
			report, err := job.ReadProofs(tree(s.Artifacts["report"].Hash))
			if err != nil {
				return nil, err
			}
			v.Before = s.Record != nil && s.Record.Started.Before(began)
			v.Sets, v.Proofs, v.Examples = report.Sets, report.Proofs, report.Examples
			v.locate(p.By, p.Against, r)
		}
	}
	for _, what := range sorted(p.Unproven) {
		names := []string{job.ProofOverlap, job.ProofNear}
		switch what {
		case "eval.data":
			names = []string{job.ProofForm, job.ProofTurns, job.ProofMask, job.ProofLength, job.ProofOverlap, job.ProofNear}
		case "data":
			names = everyProof
		case "model":
			if names = everyProof; p.By != nil {
				names = ofTokens
			}
		}
		for _, name := range names {
			v.Proofs = append(v.Proofs, &job.Proof{Name: name, Data: what, State: job.Unproven, Message: p.Unproven[what], Found: []*job.Found{}})
		}
	}
	if p.Stage.Kind == "train.grpo" && len(v.Sets) > 0 && p.Unproven["model"] == "" {
		v.Proofs = append(v.Proofs, &job.Proof{Name: job.ProofMask, Data: "data", State: job.Unproven, Found: []*job.Found{},
			Message: "what trains is the model's own answers, which it has yet to give; so has what its rewards judge"})
	}
	return v, nil
}

// ofTokens are the proofs that want a tokenizer.
var ofTokens = []string{job.ProofRender, job.ProofPrefix, job.ProofMask, job.ProofEnd, job.ProofLength, job.ProofSpecial}

var everyProof = []string{job.ProofForm, job.ProofTurns, job.ProofRender, job.ProofPrefix, job.ProofMask, job.ProofEnd, job.ProofLength, job.ProofSpecial, job.ProofOverlap, job.ProofNear}

// refused tells why the stage that proves did not: a stage before it refused the data, or the machine lacks something.
func (v *proven) refused(ctx context.Context, p *pipelines.Proof, g *pipelines.Graph, result *runner.Result) {
	why := result.Stage(p.By.Name)
	beside := ""                                   // an eval's rows, which are only compared with
	for s := p.By; why.Status == runner.Skipped; { // the first on the way that failed
		i := slices.IndexFunc(s.Inputs, func(in pipelines.Input) bool {
			status := result.Stage(in.Edge.From).Status
			return status == runner.Failed || status == runner.Skipped
		})
		if i < 0 {
			break
		}
		if strings.HasPrefix(s.Inputs[i].Field, "against") {
			beside = "its rows are to be compared with those of " + s.Inputs[i].Edge.From + ": "
		}
		s = g.Stage(s.Inputs[i].Edge.From)
		why = result.Stage(s.Name)
	}
	x := &job.Proof{Name: job.ProofForm, Data: why.Name, State: job.Fails, Message: why.Error, Found: []*job.Found{}}
	switch {
	case errors.Is(context.Cause(ctx), errSlow):
		x.Message = errSlow.Error()
	case why.Code() == exitEnvironment || why.Code() == exitDamaged:
		v.code, v.lacks = why.Code(), why.Error
	case beside != "":
		x.Message = beside + why.Error
	default:
		x.Data = strings.TrimSuffix(x.Data, "/vet")
		v.Proofs = append(v.Proofs, x)
		return
	}
	for _, name := range everyProof {
		v.Proofs = append(v.Proofs, &job.Proof{Name: name, Data: "data", State: job.Unproven, Message: x.Message, Found: x.Found})
	}
}

// locate finds the lines that the user wrote of the rows that proofs and examples name, and what the user calls the suites.
func (v *proven) locate(by *pipelines.Stage, suites []string, r *runner.Runner) {
	j := &stages.Job{Job: &job.Job{Inputs: map[string]job.Input{}}}
	for _, in := range by.Inputs {
		if in.Edge.Kind == "dataset" {
			j.Inputs[in.Field] = job.Input{Origin: r.Origin(in.Edge)}
		}
	}
	for _, p := range v.Proofs {
		for _, f := range p.Found {
			f.Where = j.Place(p.Data, f.Row)
			if f.Same > 0 {
				f.SameWhere = j.Place("data", f.Same)
			}
		}
	}
	for _, e := range v.Examples {
		e.Where = j.Place("data", e.Row)
	}
	for i, suite := range suites {
		for _, p := range v.Proofs {
			if p.Data == fmt.Sprintf("against[%d]", i) {
				p.Data = suite
			}
		}
	}
}

// failures is what fails, a line a row: tune: row 12 (data/train.jsonl:14): no assistant turn.
func (v *proven) failures() []string {
	var lines []string
	for _, p := range v.Proofs {
		if p.State != job.Fails {
			continue
		}
		at := v.Stage + ": "
		if p.Data != "data" && p.Data != "model" {
			at += p.Data + ": "
		}
		if len(p.Found) == 0 || p.Name == job.ProofLength || p.Name == job.ProofOverlap {
			lines = append(lines, indent(at, p.Message))
			continue
		}
		for _, f := range p.Found {
			lines = append(lines, at+rowAt(f.Row, f.Where)+": "+f.Message+andMore(f))
		}
		if more := unnamed(p, p.Found); more > 0 {
			lines = append(lines, fmt.Sprintf("%sand %d more rows", at, more))
		}
	}
	return lines
}

// andMore counts the rows of which the same is to be said.
func andMore(f *job.Found) string {
	if f.More == 0 {
		return ""
	}
	return fmt.Sprintf(" (the same in %d more rows)", f.More)
}

// unnamed counts the rows that a proof is about and that are not among those told.
func unnamed(p *job.Proof, told []*job.Found) int64 {
	n := p.Rows
	for _, f := range told {
		n -= 1 + f.More
	}
	return n
}

// indent puts a path before the first line of a message, and the same before each of the others.
func indent(at, message string) string { return at + strings.ReplaceAll(message, "\n", "\n"+at) }

func rowAt(row int64, where string) string {
	if where == "" {
		return fmt.Sprintf("row %d", row)
	}
	return fmt.Sprintf("row %d (%s)", row, where)
}
