package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
)

func vetCommand() *cobra.Command {
	var f flags
	var formatted, absent bool
	var d dataFlags
	c := &cobra.Command{
		Use:   "vet [PATH]",
		Short: "types, edges, cycles and files of a pipeline, and advice",
		Example: `  hone vet examples/sft
  hone vet ./... --json
  hone vet --data --examples 2 examples/sft
  hone vet -t model=hf://HuggingFaceTB/SmolLM2-135M-Instruct`,
		Long: `vet says everything that is wrong with a pipeline, a line each: file:line:col: path: what. PATH is a folder,
FOLDER:PACKAGE, a file (which means its package), or ./... for every pipeline below. It runs nothing. In continuous integration, where weights are not: vet ./... --fmt --absent.

Memory that a stage will not have is an error where resources.machine or resources.memory says what it is to run on and the
weights, gradients and the optimiser's state alone are more; what is estimated, and what this machine lacks, is advice.

--data has hone-worker prove of each training (train.sft, train.dpo, train.grpo, model.pretrain) that its rows reach its loss, by the
functions that train them: a line a proof, which is proven, advice, fails (exit code 3: training would refuse it or learn nothing right
from it) or unproven, with the reason. What it finds is kept in the store. It runs the stages that the rows come from where
they need no model, and a program of yours (exec) with --allow-exec alone; it reads the tokenizer and template of a model, no weights,
and asks no network. With --json the value has "data": for each training "pipeline", "stage", "kind", "before" (proven by an earlier run),
"sets" ("data", "rows", "looked", "tokens", "trained", "longest"), "proofs" ("name", "data", "state", "message", "rows", "of" and
"found": "row", "where", "message", "more" rows of the same, and of an overlap "same", "same_where") and "examples" ("row", "where", "parts").`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			if err := errors.Join(f.check(), d.check(c)); err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			found, err := evaluate(path, pipelines.Options{Tags: f.tags, Absent: absent})
			if err != nil {
				return err
			}
			if formatted {
				loose, err := pipelines.Unformatted(path)
				if err != nil {
					return err
				}
				found.Errors = append(found.Errors, loose...)
			}
			v := wrong(nil)
			for _, g := range found.Graphs {
				errs, advice := f.fit(g)
				if found.Errors = append(found.Errors, errs...); len(errs) == 0 {
					v.Pipelines = append(v.Pipelines, summary(g))
				}
				v.Advice = append(v.Advice, findings(slices.Concat(g.Advice, g.Absent(), advice))...)
				v.Notes = append(v.Notes, findings(g.Notes)...)
			}
			v.Valid, v.Errors, v.Warnings = len(found.Errors) == 0, findings(found.Errors), found.Warnings
			if d.data {
				f.ran = path
				if err := d.proveAll(ctx, c, &f, found.Graphs, &v); err != nil {
					return err
				}
			}
			if f.json {
				if err := printJSON(c, v); err != nil || v.Valid {
					return errors.Join(err, d.lacking(v))
				}
				return &exit{code: exitInvalid}
			}
			v.print(c)
			for _, p := range v.Data {
				p.print(c.OutOrStdout(), d.examples)
			}
			if len(found.Errors) > 0 {
				return errors.Join(found.Errors, d.failing(v))
			}
			return errors.Join(d.failing(v), d.lacking(v))
		},
	}
	f.register(c, "json", "tags", "store", "threads", "stage")
	c.Flags().BoolVar(&formatted, "fmt", false, "files must be as cue fmt writes them")
	c.Flags().BoolVar(&absent, "absent", false, "files that stages name need not be here: in CI, weights that git does not have")
	d.register(c)
	return c
}

// verdict is what vet found; with --json it is the value on standard output, of other verbs too where a pipeline is invalid.
type verdict struct {
	Valid     bool      `json:"valid"`
	Pipelines []vetted  `json:"pipelines"` // the valid ones
	Errors    []finding `json:"errors"`
	Advice    []finding `json:"advice"`
	Notes     []finding `json:"notes,omitempty"` // why what is there is right
	Warnings  []string  `json:"warnings,omitempty"`
	Data      []*proven `json:"data,omitempty"` // of --data
}

// wrong is the verdict on what is not valid.
func wrong(errs pipelines.Errors) verdict {
	return verdict{Pipelines: []vetted{}, Errors: findings(errs), Advice: []finding{}}
}

type vetted struct {
	Name    string `json:"name"`
	Dir     string `json:"dir"`
	Package string `json:"package"`
	Stages  int    `json:"stages"`
	Sources int    `json:"sources"`
}

type finding struct {
	Pos     string `json:"pos"` // file:line:col
	Path    string `json:"path"`
	Message string `json:"message"`
}

func (f finding) String() string {
	parts := slices.DeleteFunc([]string{f.Pos, f.Path, f.Message}, func(part string) bool { return part == "" })
	return strings.Join(parts, ": ")
}

func findings(errs pipelines.Errors) []finding {
	all := make([]finding, len(errs))
	for i, e := range errs {
		all[i] = finding{e.Place(), e.Path, e.Message()}
	}
	return all
}

func summary(g *pipelines.Graph) vetted {
	v := vetted{Name: g.Name, Dir: g.Dir, Package: g.Package}
	for _, s := range g.Stages {
		if !s.Internal {
			v.Stages++
			v.Sources += len(s.Sources)
		}
	}
	return v
}

// print says what is right on standard output, and what to look at on standard error.
func (v verdict) print(c *cobra.Command) {
	for _, w := range v.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w)
	}
	for _, a := range v.Advice {
		fmt.Fprintf(c.ErrOrStderr(), "advice: %s: %s: %s\n", a.Pos, a.Path, a.Message)
	}
	for _, n := range v.Notes {
		fmt.Fprintf(c.ErrOrStderr(), "note: %s: %s: %s\n", n.Pos, n.Path, n.Message)
	}
	for _, p := range v.Pipelines {
		fmt.Fprintf(c.OutOrStdout(), "%s: ok, %s, %s\n", p.Name, count(p.Stages, "stage"), count(p.Sources, "source"))
	}
}

func count(n int, thing string) string {
	return strings.TrimSuffix(fmt.Sprintf("%d %ss", n, thing), map[bool]string{true: "s"}[n == 1])
}
