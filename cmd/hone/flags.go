package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// flags are those that verbs share. A verb registers the ones that mean something to it.
type flags struct {
	json     bool
	store    string
	tags     []string
	device   string
	threads  int
	jobs     int
	stages   []string
	numerics string
	pipeline string
	whole    bool // the verb does without a stage
	absent   bool // files that stages name need not be there
	smoke    bool // of hone run --smoke, in the place of hone run
	remote   string
	records  string

	mayRemote bool // the verb has --remote
	named     func(flag string) bool
	opened    *[]runner.Elsewhere

	ran    string           // PATH of the pipeline that was loaded
	place  string           // of the store, and how it was found; set with it
	found  string           // the same where the user named none
	advice pipelines.Errors // of the pipeline that was compiled last
}

// register adds flags by name, so that --help shows the same words everywhere.
func (f *flags) register(c *cobra.Command, names ...string) {
	for _, name := range names {
		switch name {
		case "json":
			c.Flags().BoolVar(&f.json, "json", false, "one JSON value on standard output")
		case "store":
			c.Flags().StringVar(&f.store, "store", "", "the store's `DIR` (HONE_STORE; else the nearest .hone, else the user's cache)")
		case "pipeline":
			c.Flags().StringVar(&f.pipeline, "pipeline", "", "the same as `PATH`, the last argument")
		case "tags":
			c.Flags().StringArrayVarP(&f.tags, "tag", "t", nil, "set a CUE tag: `KEY=VALUE`")
		case "device":
			c.Flags().StringVar(&f.device, "device", "auto", "`DEVICE`: auto, cpu or cuda[:N]")
		case "threads":
			c.Flags().IntVar(&f.threads, "threads", 0, "`N` threads of a worker; all cores where 0")
		case "jobs":
			c.Flags().IntVarP(&f.jobs, "jobs", "j", 0, "`N` stages at once; as many as cores where 0")
		case "stage":
			c.Flags().StringArrayVar(&f.stages, "stage", nil, "only the stage `NAME` and what it needs")
		case "remote":
			c.Flags().StringVar(&f.remote, "remote", "", "reuse what the remote at `URL` has, too (HONE_REMOTE; --remote= for none)")
			f.mayRemote, f.named = true, c.Flags().Changed
		case "records":
			c.Flags().StringVar(&f.records, "records", "", "reuse what the records in `FILE` promise, too (of hone show --records)")
		case "numerics":
			c.Flags().StringVar(&f.numerics, "numerics", "any", "`WHICH` results to reuse: any, or exact, those of this machine's numerics")
		default:
			panic("no flag " + name)
		}
	}
}

// check refuses values that no flag type can.
func (f *flags) check() error {
	device, n, _ := strings.Cut(f.device, ":")
	if device != "" && device != "auto" && device != "cpu" && device != "cuda" || n != "" && (device != "cuda" || strings.Trim(n, "0123456789") != "") {
		return usage("--device %s: auto, cpu or cuda[:N]", f.device)
	}
	if f.threads < 0 {
		return usage("--threads %d: below 0", f.threads)
	}
	if most := max(256, runtime.NumCPU()); f.threads > most {
		return usage("--threads %d: above %d", f.threads, most)
	}
	if f.jobs < 0 {
		return usage("-j %d: below 0", f.jobs)
	}
	if f.numerics != "" && f.numerics != "any" && f.numerics != "exact" {
		return usage("--numerics %s: any or exact", f.numerics)
	}
	return nil
}

func (f *flags) openStore() (*store.Store, error) {
	dir, by, err := store.Find(f.store)
	if err != nil {
		return nil, err
	}
	f.place = fmt.Sprintf("%s (%s)", dir, by)
	if len(f.place) > 72 { // two lines of a terminal
		f.place = fmt.Sprintf("%s\n  (%s)", dir, by)
	}
	if f.store == "" && os.Getenv("HONE_STORE") == "" {
		f.found = f.place
	}
	st, err := store.Open(dir)
	if errors.Is(err, store.ErrNoStore) {
		return nil, usage("%v", err)
	}
	return st, err
}

// pipelineOf is the PATH among a verb's last arguments; the working folder where there is none.
func pipelineOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

// graph compiles the pipeline that PATH names.
func (f *flags) graph(args []string) (*pipelines.Graph, error) {
	path := pipelineOf(args)
	f.ran = path
	c, err := evaluate(path, pipelines.Options{Tags: f.tags, Absent: f.absent})
	var none *pipelines.UsageError
	if errors.As(err, &none) && f.isStage(path) {
		return nil, usage("%w; the stage of that name is --stage %s", err, path)
	}
	if err != nil {
		return nil, err
	}
	g, err := c.One()
	if err == nil {
		f.advice = g.Advice
	}
	return g, err
}

// evaluate compiles the pipelines that a pattern names.
func evaluate(pattern string, opts pipelines.Options) (*pipelines.Compiled, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return pipelines.Evaluate(context.Background(), []string{self}, pattern, opts)
}

// isStage says whether a PATH that leads nowhere is a stage of the pipeline in the working folder.
func (f *flags) isStage(path string) bool {
	if strings.ContainsAny(path, "./:") {
		return false
	}
	g, err := f.graph([]string{"."})
	return err == nil && g.Stage(path) != nil
}

// path is the rest of a verb's arguments, PATH, which may be written as --pipeline too.
func (f *flags) path(args []string) ([]string, error) {
	switch {
	case f.pipeline == "":
		return args, nil
	case len(args) > 0:
		return nil, usage("%s and --pipeline %s: one of them", args[0], f.pipeline)
	}
	return []string{f.pipeline}, nil
}

// nothing is why a stage has nothing to show: not run yet with what the pipeline says now, or not run at all as far as
// this store knows.
func (f *flags) nothing(r *runner.Runner, plan *runner.Plan, s *runner.StagePlan, what string) error {
	if d := damaged(plan, s); d != nil {
		return fail(exitDamaged, "%s: %w\n%s makes it again", d.Name, d.Gone, f.run())
	}
	var message string
	switch u := s.Unfinished; {
	case s.Action == runner.Blocked:
		root := s
		if up := plan.Stage(s.Why[0].From); up != nil {
			root = up
		}
		message = fmt.Sprintf("%s: no current %s: %v", s.Name, what, root.Why[0].New)
	case u != nil && u.Error != "":
		message = fmt.Sprintf("%s: %s\n%s", s.Name, u.Next(), strings.TrimSuffix(indented(printable(u.Error)), "\n"))
	case u != nil:
		message = fmt.Sprintf("%s: %s", s.Name, u.Next())
	case !r.Ran(s.Name):
		return fail(exitFailed, "%s: no record of this stage: %s\nlooked in %s", s.Name, f.makes(s.Name), f.place)
	default:
		message = fmt.Sprintf("%s: no current %s (%s): %s", s.Name, what, s.Action, f.makes(s.Name))
	}
	if !f.smoke { // whose records no other verb shows
		message = strings.TrimSuffix(message+"\n"+earlier(r, s), "\n")
	}
	return fail(exitFailed, "%s", message)
}

// damaged is the stage, or one that it waits for, whose artifact is known to be damaged; nil where there is none.
func damaged(plan *runner.Plan, s *runner.StagePlan) *runner.StagePlan {
	if s.Gone != nil && len(s.Gone.Files) > 0 {
		return s
	}
	for _, c := range s.Why {
		if up := plan.Stage(c.From); up != nil {
			if d := damaged(plan, up); d != nil {
				return d
			}
		}
	}
	return nil
}

// makes says what makes a stage's result, or brings it; a smoke's is nowhere else.
func (f *flags) makes(stage string) string {
	made := f.run() + " makes it"
	if !f.smoke {
		made += "\n" + f.pulled(stage)
	}
	return made
}

// pulled says what brings a stage that a colleague or CI has made, and that this store lacks.
func (f *flags) pulled(stage string) string {
	at := "URL"
	if os.Getenv("HONE_REMOTE") != "" {
		at = "$HONE_REMOTE"
	}
	line := "hone pull " + at + " " + word(stage)
	if f.ran != "" && f.ran != "." {
		line += " --pipeline " + word(f.ran)
	}
	return line + f.options() + " brings it, where a remote has it"
}

// run is the command line that runs this verb's pipeline, as the user would type it.
func (f *flags) run() string { return f.line("run") }

// line is the command line of a verb for this one's pipeline.
func (f *flags) line(verb string) string {
	line := "hone " + verb
	if f.ran != "" && f.ran != "." {
		line += " " + word(f.ran)
	}
	return line + f.options()
}

// options are this verb's tags, store and smoke, as another takes them.
func (f *flags) options() (line string) {
	for _, tag := range f.tags {
		line += " -t " + word(tag)
	}
	if f.store != "" {
		line += " --store " + word(f.store)
	}
	if f.smoke {
		line += " --smoke"
	}
	return line
}

// runIn is run for the pipeline in a folder that the store names.
func (f *flags) runIn(dir string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, dir); err == nil && filepath.IsLocal(rel) {
			dir = rel
		}
	}
	of := flags{ran: dir, store: f.store}
	return of.run()
}

// unsound says of an artifact that cannot be used who makes it again.
func (f *flags) unsound(st *store.Store, name string, err error) error {
	var damage *store.Damage
	if !errors.As(err, &damage) {
		return fmt.Errorf("%s: %w", name, err)
	}
	code := exitDamaged
	if len(damage.Files) == 0 { // freed by gc
		code = exitFailed
	}
	dirs, _ := st.Users(damage.Tree) // without them there is less to say
	if len(dirs) == 0 {
		return fail(code, "%s: %w\nno pipeline's last run uses it: a run that wants it makes it again", name, err)
	}
	return fail(code, "%s: %w\n%s makes it again", name, err, f.runIn(dirs[0]))
}

// runner prepares what the verbs plan, run, why, show, path and log share.
func (f *flags) runner(args []string, opts runner.Options) (*runner.Runner, *store.Store, error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	g, err := f.graph(args)
	var none *pipelines.UsageError
	if errors.As(err, &none) {
		err = f.swapped(err, opts.Stages)
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := f.openStore()
	if err != nil {
		return nil, nil, err
	}
	r, err := f.runnerOf(g, st, opts)
	return r, st, f.swapped(err, opts.Stages)
}

// runnerOf is runner where the graph is there.
func (f *flags) runnerOf(g *pipelines.Graph, st *store.Store, opts runner.Options) (*runner.Runner, error) {
	if err := f.fill(&opts); err != nil {
		return nil, err
	}
	ctx := opts.Context
	if ctx == nil {
		ctx = context.Background()
	}
	places, err := f.places(ctx, st)
	if err != nil {
		return nil, err
	}
	opts.Elsewhere = append(opts.Elsewhere, places...)
	return runner.New(g, st, opts)
}

// fill sets the options that the flags and this program say.
func (f *flags) fill(opts *runner.Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	opts.Jobs, opts.Threads, opts.Device, opts.Exact = f.jobs, f.threads, f.device, f.numerics == "exact"
	opts.Stages = append(opts.Stages, f.stages...)
	opts.Hone, opts.Worker, opts.Version = []string{self}, findWorker, version()
	opts.Machine, opts.Sample, opts.Shape = machineHere, sampleRows, shapeOfModel
	opts.Price, err = price()
	return err
}

// swapped tells the user of a verb about a stage who named the pipeline in its place.
func (f *flags) swapped(err error, stages []string) error {
	if err == nil || len(stages) == 0 || !isPath(stages[0]) {
		return err
	}
	if f.whole {
		return usage("%w\n%s is a path: hone show --pipeline %s shows its stages, hone show STAGE %s one of them", err, stages[0], word(stages[0]), word(stages[0]))
	}
	return usage("%w\n%s is a path: the stage comes first, then the pipeline (STAGE %s)", err, stages[0], stages[0])
}

// findWorker finds hone-worker: where HONE_WORKER says, else beside hone, else on PATH.
func findWorker() (string, error) {
	const name = "hone-worker"
	if path := os.Getenv("HONE_WORKER"); path != "" {
		if path, err := exec.LookPath(path); err == nil {
			return filepath.Abs(path)
		}
		return "", fmt.Errorf("HONE_WORKER: %s is not a program", path)
	}
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	return "", errors.New("no hone-worker: neither by HONE_WORKER, nor beside hone, nor on PATH; hone doctor says how to get it")
}

// printJSON writes the one documented value of --json.
func printJSON(c *cobra.Command, v any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
