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
	"github.com/hone-ml/hone/runner/store"
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
	look := func(o pipelines.Vetting) (*looked, error) { return d.look(ctx, c, &of, g, st, o) }
	first, err := look(o)
	if err != nil {
		return nil, err
	}
	// What a training's own rows are is proven without those to measure by that cannot be read.
	o.Stages = nil
	for _, p := range first.proofs {
		if refused := first.unmeasured(ctx, p); len(refused) > 0 {
			o.Stages, o.Refused = append(o.Stages, p.Stage.Name), append(o.Refused, refused...)
		}
	}
	second := &looked{}
	if len(o.Stages) > 0 {
		if second, err = look(o); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow) {
		return nil, context.Canceled
	}
	var all []*proven
	for _, p := range first.proofs {
		v := &proven{Pipeline: g.Name, Stage: p.Stage.Name, Kind: p.Stage.Kind, Sets: []*job.Rows{}, Proofs: []*job.Proof{}, Examples: []*job.Example{}, pos: place(p.Stage)}
		v.unread(ctx, p, first)
		by := first
		if i := slices.IndexFunc(second.proofs, func(other *pipelines.Proof) bool { return other.Stage == p.Stage }); i >= 0 {
			by, p = second, second.proofs[i]
		}
		if err := v.found(ctx, began, p, by, st.Tree); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// looked is what came of looking at the rows of trainings.
type looked struct {
	proofs []*pipelines.Proof
	graph  *pipelines.Graph // with the stages that prove
	runner *runner.Runner   // nil where none does
	result *runner.Result
}

// look runs the stages that prove what can be proven of trainings.
func (d *dataFlags) look(ctx context.Context, c *cobra.Command, f *flags, g *pipelines.Graph, st *store.Store, o pipelines.Vetting) (*looked, error) {
	l := &looked{result: &runner.Result{}}
	var err error
	if l.graph, l.proofs, err = pipelines.Vet(g, o); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range l.proofs {
		if p.By != nil {
			names = append(names, p.By.Name)
		}
	}
	if len(names) == 0 {
		return l, nil
	}
	show := newQuiet(c.ErrOrStderr())
	if l.runner, err = f.runnerOf(l.graph, st, runner.Options{Stages: names, Observe: show.update, Look: true}); err != nil {
		return nil, err
	}
	l.result, err = l.runner.Run(ctx)
	show.close()
	return l, err
}

// failed is the first stage on the way to what is at an edge that failed; nil where it is there.
func (l *looked) failed(e pipelines.Edge) *runner.StageResult {
	switch s := l.result.Stage(e.From); s.Status {
	case runner.Failed:
		return s
	case runner.Skipped:
		for _, in := range l.graph.Stage(e.From).Inputs {
			if why := l.failed(in.Edge); why != nil {
				return why
			}
		}
	}
	return nil
}

// refused is failed where the rows themselves are wrong, and the machine lacks nothing.
func (l *looked) refused(ctx context.Context, e pipelines.Edge) *runner.StageResult {
	why := l.failed(e)
	if e.Kind != "dataset" || why == nil || lacking(why) || ctx.Err() != nil {
		return nil
	}
	return why
}

// lacking says whether a stage failed for what the machine lacks.
func lacking(s *runner.StageResult) bool {
	return s.Code() == exitEnvironment || s.Code() == exitDamaged
}

// unmeasured names the stages whose rows, wrong themselves, keep those of a training from being proven, which are there.
func (l *looked) unmeasured(ctx context.Context, p *pipelines.Proof) (stages []string) {
	if p.By == nil {
		return nil
	}
	for _, in := range p.By.Inputs {
		switch wrong := l.refused(ctx, in.Edge) != nil; {
		case wrong && in.Field == "data":
			return nil
		case wrong:
			stages = append(stages, strings.TrimSuffix(in.Edge.From, "/vet"))
		}
	}
	return stages
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

// unread tells of rows that are wrong themselves, each stage that refuses them once.
func (v *proven) unread(ctx context.Context, p *pipelines.Proof, l *looked) {
	if p.By == nil {
		return
	}
	for _, in := range p.By.Inputs {
		why := l.refused(ctx, in.Edge)
		if why == nil {
			continue
		}
		name := strings.TrimSuffix(why.Name, "/vet")
		if !slices.ContainsFunc(v.Proofs, func(x *job.Proof) bool { return x.Data == name }) {
			v.Proofs = append(v.Proofs, &job.Proof{Name: job.ProofForm, Data: name, State: job.Fails, Message: why.Error, Found: []*job.Found{}})
		}
	}
}

// found reads what came of a training's proof.
func (v *proven) found(ctx context.Context, began time.Time, p *pipelines.Proof, l *looked, tree func(string) string) error {
	if p.By != nil {
		s := l.result.Stage(p.By.Name)
		if s.Status == runner.Failed || s.Status == runner.Skipped {
			v.refused(ctx, p, l)
		} else {
			report, err := job.ReadProofs(tree(s.Artifacts["report"].Hash))
			if err != nil {
				return err
			}
			v.Before = s.Record != nil && s.Record.Started.Before(began)
			v.Sets, v.Examples = report.Sets, report.Examples
			v.Proofs = append(v.Proofs, report.Proofs...)
			v.locate(p.By, p.Against, l.runner)
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
	return nil
}

// ofTokens are the proofs that want a tokenizer.
var ofTokens = []string{job.ProofRender, job.ProofPrefix, job.ProofMask, job.ProofEnd, job.ProofLength, job.ProofSpecial}

var everyProof = []string{job.ProofForm, job.ProofTurns, job.ProofRender, job.ProofPrefix, job.ProofMask, job.ProofEnd, job.ProofLength, job.ProofSpecial, job.ProofOverlap, job.ProofNear}

// refused tells why the stage that proves did not: the machine lacks something, or a stage before it, or it itself, refused what it
// reads. Of rows that is told already.
func (v *proven) refused(ctx context.Context, p *pipelines.Proof, l *looked) {
	why := l.result.Stage(p.By.Name)
	for _, in := range p.By.Inputs {
		if failed := l.failed(in.Edge); failed != nil {
			why = failed
			break
		}
	}
	message := why.Error
	switch {
	case errors.Is(context.Cause(ctx), errSlow):
		message = errSlow.Error()
	case lacking(why):
		v.code, v.lacks = why.Code(), why.Error
	case len(v.Proofs) > 0:
		return
	default:
		v.Proofs = append(v.Proofs, &job.Proof{Name: job.ProofForm, Data: strings.TrimSuffix(why.Name, "/vet"), State: job.Fails, Message: message, Found: []*job.Found{}})
		return
	}
	for _, name := range everyProof {
		v.Proofs = append(v.Proofs, &job.Proof{Name: name, Data: "data", State: job.Unproven, Message: message, Found: []*job.Found{}})
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
				if p.Name != job.ProofOverlap && p.Name != job.ProofNear { // of eval.data that is told already
					p.Data = strings.TrimPrefix(suite, "eval.data, ")
				}
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
