package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
)

func vetCommand() *cobra.Command {
	var f flags
	var formatted, absent bool
	c := &cobra.Command{
		Use:   "vet [PATH]",
		Short: "types, edges, cycles and files of a pipeline, and advice",
		Example: `  hone vet examples/sft
  hone vet ./... --json
  hone vet -t model=hf://HuggingFaceTB/SmolLM2-135M-Instruct`,
		Long: `vet says everything that is wrong with a pipeline, a line each: file:line:col: path: what. PATH is a folder,
FOLDER:PACKAGE, a file (which means its package), or ./... for every pipeline below. It runs nothing. In continuous integration, where weights are not: vet ./... --fmt --absent.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
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
			v := wrong(found.Errors)
			v.Valid, v.Warnings = len(found.Errors) == 0, found.Warnings
			for _, g := range found.Graphs {
				v.Pipelines = append(v.Pipelines, summary(g))
				v.Advice = append(v.Advice, findings(append(g.Advice, g.Absent()...))...)
			}
			if f.json {
				if err := printJSON(c, v); err != nil || v.Valid {
					return err
				}
				return &exit{code: exitInvalid}
			}
			v.print(c)
			if !v.Valid {
				return found.Errors
			}
			return nil
		},
	}
	f.register(c, "json", "tags")
	c.Flags().BoolVar(&formatted, "fmt", false, "files must be as cue fmt writes them")
	c.Flags().BoolVar(&absent, "absent", false, "files that stages name need not be here: in CI, weights that git does not have")
	return c
}

// verdict is what vet found; with --json it is the value on standard output, of other verbs too where a pipeline is invalid.
type verdict struct {
	Valid     bool      `json:"valid"`
	Pipelines []vetted  `json:"pipelines"` // the valid ones
	Errors    []finding `json:"errors"`
	Advice    []finding `json:"advice"`
	Warnings  []string  `json:"warnings,omitempty"`
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
	for _, p := range v.Pipelines {
		fmt.Fprintf(c.OutOrStdout(), "%s: ok, %s, %s\n", p.Name, count(p.Stages, "stage"), count(p.Sources, "source"))
	}
}

func count(n int, thing string) string {
	return strings.TrimSuffix(fmt.Sprintf("%d %ss", n, thing), map[bool]string{true: "s"}[n == 1])
}
