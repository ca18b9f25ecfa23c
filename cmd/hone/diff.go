package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

func diffCommand() *cobra.Command {
	var f flags
	var format string
	c := &cobra.Command{
		Use:   "diff BASE [HEAD] [-- PATH…]",
		Short: "two git revisions: what changed in meaning, what runs again",
		Long: `diff compares every pipeline of the repository in two git revisions; without HEAD with the work tree. BASE...HEAD begins
where the two parted, as a pull request does. After --, PATH limits it to the pipelines in those folders and below. It shows each field that changed in meaning, defaults filled, and what that
runs again, down the graph:

  +  added
  -  removed
  ~  changed
  >  renamed
     as it was, and run again because of a stage before it
  ?  not compared, since its pipeline is invalid in BASE

Comments, formatting, the order of fields, and where files lie mean nothing. A file is compared by its bytes; where a revision
does not have it, that is said. It executes nothing, and needs no network but that of --remote.`,
		Example: `  hone diff HEAD
  hone diff main -- experiments/sql
  hone diff main...HEAD --format markdown > comment.md
  hone diff v1 v2 --json`,
		Args: func(c *cobra.Command, args []string) error {
			revisions, _ := revisionsAndPaths(c, args)
			return cobra.RangeArgs(1, 2)(c, revisions)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if slices.Contains(os.Args[:len(os.Args)-1], "--") { // cobra's count of what stands before it is set without it too
				return complete(c, "PATH", nil, begun)
			}
			return completeArgument(c, args, begun)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.json {
				format = "json"
			}
			print := map[string]func(*cobra.Command, *comparison) error{"text": printDiff, "json": diffJSON, "markdown": diffMarkdown}[format]
			if print == nil {
				return usage("--format %s: text, markdown or json", format)
			}
			if err := f.check(); err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			revisions, paths := revisionsAndPaths(c, args)
			d, err := f.compare(ctx, revisions, paths)
			if err != nil {
				return err
			}
			for _, w := range d.warnings {
				fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w)
			}
			if err := print(c, d); err != nil || d.Valid {
				return err
			}
			if format == "json" { // which has them
				return &exit{code: exitInvalid}
			}
			return d.invalid
		},
	}
	f.register(c, "json", "store", "tags", "device", "threads", "numerics", "remote", "records")
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text, markdown (for a pull request) or json")
	return c
}

// revisionsAndPaths is the arguments before and after --.
func revisionsAndPaths(c *cobra.Command, args []string) (revisions, paths []string) {
	if n := c.ArgsLenAtDash(); n >= 0 && n <= len(args) {
		return args[:n], args[n:]
	}
	return args, nil
}

// comparison is what diff found, as --json prints it.
type comparison struct {
	Base      string         `json:"base"`            // commit
	Head      string         `json:"head"`            // commit; empty where it is the work tree
	Paths     []string       `json:"paths,omitempty"` // that it was limited to, from the repository's root
	Valid     bool           `json:"valid"`           // the head, with its errors as vet says it
	Errors    []finding      `json:"errors"`          // of all that is invalid there
	Pipelines []diffPipeline `json:"pipelines"`

	warnings []string
	invalid  pipelines.Errors // the same
}

type diffPipeline struct {
	Path   string      `json:"path"` // of its folder, from the repository's root
	Was    string      `json:"was,omitempty"`
	Name   string      `json:"name"`
	Change string      `json:"change"` // added, removed, changed or same; uncompared: invalid in the base; invalid: in the head
	Stages []diffStage `json:"stages"`
	Advice []finding   `json:"advice"` // that the change brings
	Notes  []finding   `json:"notes,omitempty"`
	Intent []diffField `json:"intent,omitempty"`

	Errors     []finding `json:"errors,omitempty"`      // why it is invalid in the head
	BaseErrors []finding `json:"base_errors,omitempty"` // and in the base

	graph *pipelines.Graph
}

type diffStage struct {
	Name      string         `json:"name"`
	Was       string         `json:"was,omitempty"` // the name of a renamed one
	Kind      string         `json:"kind"`
	Internal  bool           `json:"internal,omitempty"`
	Change    string         `json:"change"` // added, removed, changed, renamed or same; uncompared as its pipeline
	Action    *runner.Action `json:"action"` // null of a removed one
	Fields    []diffField    `json:"fields"`
	Cause     *string        `json:"cause"`             // STAGE.FIELD that changes its key
	Why       []string       `json:"why,omitempty"`     // what gates say of it: one fails, its own or one that blocks it, or is not judged
	Unknown   []string       `json:"unknown,omitempty"` // files that one of the revisions does not have
	Predicted *float64       `json:"predicted_seconds"`
}

type diffField struct {
	Field  string `json:"field"`
	Old    any    `json:"old"`
	New    any    `json:"new"`
	OldPos string `json:"old_pos"`
	NewPos string `json:"new_pos"`
	Keyed  bool   `json:"keyed"` // the stage's result follows from it

	Rows *rowsDiffer `json:"rows,omitempty"` // of a data.load's source, where both sides have it
}

// compare reads both revisions and compares pipeline by pipeline, those in and below paths where there are any.
func (f *flags) compare(ctx context.Context, args, paths []string) (*comparison, error) {
	repo, err := git.Open(ctx, ".")
	if errors.Is(err, git.ErrNone) {
		return nil, usage("%w", err)
	} else if err != nil {
		return nil, err
	}
	base, head, err := revisions(ctx, repo, args)
	if err != nil {
		return nil, err
	}
	st, err := f.openStore()
	if err != nil {
		return nil, err
	}
	places, err := f.places(ctx, st) // an interruption ends what they ask
	if err != nil {
		return nil, err
	}
	var below []string
	for _, path := range paths {
		in, _, err := placeIn(repo.Root, path)
		if err != nil {
			return nil, err
		}
		below = append(below, in)
	}
	d := &comparison{Base: base, Head: head, Paths: below, Pipelines: []diffPipeline{}, Errors: []finding{}}
	after, drop, err := f.side(ctx, repo, head, below)
	if err != nil {
		return nil, err
	}
	defer drop()
	same, err := after.unchanged(ctx, repo, base)
	if err != nil {
		return nil, err
	}
	before, drop, err := f.side(ctx, repo, base, below, same...)
	if err != nil {
		return nil, err
	}
	defer drop()
	for i, in := range below {
		if !before.has(in) && !after.has(in) {
			return nil, usage("%s: no pipeline there in either revision", paths[i])
		}
	}
	d.invalid = after.errors(func(string) bool { return true })
	d.Errors, d.Valid = findings(d.invalid), len(d.invalid) == 0
	pairs, rest := paired(before, after)
	for _, x := range rest {
		for _, e := range x.errors {
			d.warnings = append(d.warnings, "as of "+base[:12]+", "+e.Error())
		}
	}
	shared := runner.Options{Sources: st.Sources(), History: runner.History(st)}
	past := recordsOf(shared.History, places)
	within, stop := context.WithTimeout(ctx, comparing)
	defer stop()
	for _, pair := range pairs {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p, err := f.comparePipeline(ctx, within, pair, before, after, st, shared, past)
		if err != nil {
			return nil, err
		}
		d.Pipelines = append(d.Pipelines, *p)
	}
	return d, nil
}

// comparePipeline compares one pipeline.
func (f *flags) comparePipeline(ctx, within context.Context, pair pair, before, after *side, st *store.Store, shared runner.Options, past func() []*store.Record) (*diffPipeline, error) {
	a, b := pair.old, pair.now
	var baseErrors []finding
	if pair.was != nil {
		baseErrors = findings(pair.was.errors)
	}
	if x := pair.is; x != nil {
		p := &diffPipeline{Path: x.path, Change: "invalid", Stages: []diffStage{}, Advice: []finding{}, Errors: findings(x.errors), BaseErrors: baseErrors, graph: &pipelines.Graph{}}
		if a != nil {
			p.Name = a.Name
		}
		return p, nil
	}
	if b == nil {
		p := &diffPipeline{Path: a.path, Name: a.Name, Change: "removed", Stages: []diffStage{}, Advice: []finding{}, graph: a.Graph}
		for _, s := range a.Stages {
			p.Stages = append(p.Stages, diffStage{Name: s.Name, Kind: s.Kind, Internal: s.Internal, Change: "removed", Fields: []diffField{}})
		}
		return p, nil
	}
	p := &diffPipeline{Path: b.path, Name: b.Name, Change: "same", Stages: []diffStage{}, Advice: []finding{}, BaseErrors: baseErrors, graph: b.Graph}
	old := &pipelines.Graph{}
	switch {
	case pair.was != nil:
		p.Change = "uncompared"
	case a == nil:
		p.Change = "added"
	default:
		old = a.Graph
		if a.path != b.path {
			p.Was = a.path
		}
	}
	for _, field := range pipelines.DiffIntent(old, b.Graph) {
		if pair.was != nil {
			break
		}
		p.Intent = append(p.Intent, fieldOf(field, before, after))
		if p.Change == "same" {
			p.Change = "changed"
		}
	}
	r, err := f.runnerOf(b.Graph, st, shared)
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	files := &content{sources: shared.Sources, known: map[string]string{}, records: map[string]*store.Record{}}
	files.recall(old, past)
	changes := pipelines.Diff(old, b.Graph, files.of)
	if slices.ContainsFunc(changes, func(c pipelines.StageChange) bool { return c.Differs() }) {
		r.Predict(plan)
	}
	for _, c := range changes {
		s := stageOf(&c, before, after, files)
		if pair.was != nil {
			s.Change, s.Cause = "uncompared", nil
		}
		if f := s.field("source"); f != nil && c.Old != nil && c.New != nil {
			if old, now := files.rows(st, c.Old), rowsFrom(c.New); old != nil && now != nil {
				if f.Rows, err = compareRows(ctx, within, old, now); err != nil {
					return nil, err
				}
			}
		}
		if planned := plan.Stage(s.Name); planned != nil && c.New != nil {
			s.Action, s.Predicted, s.Why = &planned.Action, planned.Predicted, judged(planned)
		}
		if p.Change == "same" && s.Change != "same" && (s.Change != "renamed" || c.Differs()) {
			p.Change = "changed"
		}
		p.Stages = append(p.Stages, s)
		if c.New != nil {
			p.Advice = append(p.Advice, pinAdvice(&c, r.Unpinned(c.New), after)...)
		}
	}
	p.Advice = append(p.Advice, gateAdvice(changes, old, b.Graph, after)...)
	p.Advice = append(p.Advice, brought(old.Advice, after.placed(b.Advice))...)
	p.Notes = brought(old.Notes, after.placed(b.Notes))
	return p, nil
}

// brought is what is said now and was not said before.
func brought(old, now pipelines.Errors) []finding {
	return findings(slices.DeleteFunc(now, func(e pipelines.Error) bool {
		return slices.ContainsFunc(old, func(o pipelines.Error) bool { return o.Path == e.Path && o.Msg == e.Msg })
	}))
}

func stageOf(c *pipelines.StageChange, before, after *side, files *content) diffStage {
	s := diffStage{Name: c.Name(), Fields: []diffField{}, Change: "same"}
	of := c.New
	switch {
	case c.Old == nil:
		s.Change = "added"
	case c.New == nil:
		s.Change, of = "removed", c.Old
	case c.Old.Name != c.New.Name:
		s.Change, s.Was = "renamed", c.Old.Name
	case c.Differs():
		s.Change = "changed"
	}
	s.Kind, s.Internal = of.Kind, of.Internal
	for _, field := range c.Fields {
		s.Fields = append(s.Fields, fieldOf(field, before, after))
	}
	if c.Cause != "" {
		s.Cause = &c.Cause
	}
	for _, source := range append(slices.Clone(of.Sources), sourcesOf(c.Old)...) {
		if source.Absent && files.known[source.Path] == "" && !slices.Contains(s.Unknown, source.Written) {
			s.Unknown = append(s.Unknown, source.Written)
		}
	}
	return s
}

func fieldOf(f pipelines.FieldChange, before, after *side) diffField {
	return diffField{Field: f.Field, Old: f.Old, New: f.New, OldPos: before.pos(f.OldPos), NewPos: after.pos(f.NewPos), Keyed: f.Keyed}
}

func sourcesOf(s *pipelines.Stage) []pipelines.Source {
	if s == nil {
		return nil
	}
	return s.Sources
}

// pinAdvice tells of hub sources that the change brings and that may be another model tomorrow.
func pinAdvice(c *pipelines.StageChange, unpinned []string, after *side) (advice []finding) {
	for _, src := range c.New.Sources {
		if !slices.Contains(unpinned, src.Hub) || slices.ContainsFunc(sourcesOf(c.Old), func(o pipelines.Source) bool { return o.Hub == src.Hub }) {
			continue
		}
		advice = append(advice, finding{after.pos(c.New.At(src.Field)), "stages." + c.Name() + "." + src.Field,
			src.Hub + " names no commit, and hone.lock has none: what is trained on may change; commit the hone.lock that hone run writes"})
	}
	return advice
}

func diffJSON(c *cobra.Command, d *comparison) error { return printJSON(c, d) }
