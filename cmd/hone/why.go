package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// whyPrinter prints why stages are planned as they are.
type whyPrinter struct {
	w           io.Writer
	st          *store.Store
	plan        *runner.Plan
	told        map[string]bool
	ctx, within context.Context // of the command, and of what it spends on rows
}

// print prints reasons, a line each, below one of rows how they differ, and below one that is another stage's those of that stage, each
// stage's once.
func (p *whyPrinter) print(s *runner.StagePlan, why []runner.Change, indent string) error {
	p.told[s.Name] = true
	line := func(text, indent string) {
		fmt.Fprintf(p.w, "%s%s\n", indent, wrapped(text, max(width(p.w)-len(indent)-2, narrowest), indent+"  "))
	}
	all, err := explain(p.ctx, p.within, p.st, s, why)
	if err != nil {
		return err
	}
	for _, change := range all {
		line(reason(s, change.Change), indent)
		if change.Rows != nil {
			line(change.Field+": "+change.Rows.String(), indent+"  ")
		}
		if up := p.plan.Stage(change.From); up != nil && !p.told[up.Name] {
			if err := p.print(up, up.Why, indent+"  "); err != nil {
				return err
			}
		}
	}
	return nil
}

func whyCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "why STAGE [PATH]",
		Short: "what changed since the stage's last run",
		Long: `why names what differs from the stage's last run in this pipeline: fields, inputs and files with their old and new
value, and where that stands in the source; of an input that is not made yet, why the stage before it runs. Of rows whose
bytes differ it counts those added, removed and changed, where both sides are there to be read. Of a stage that is reused it
says what set off the run that made it.`,
		Example: `  hone why tune
  hone why tune examples/sft`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path(args[1:])
			if err != nil {
				return err
			}
			r, st, err := f.runner(path, runner.Options{Stages: args[:1]})
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			s := plan.Stage(args[0])
			r.Explain(s)
			ctx, stop := interruptible()
			defer stop()
			within, stop := context.WithTimeout(ctx, comparing)
			defer stop()
			if f.json {
				why, err := explain(ctx, within, st, s, s.Since())
				if err != nil {
					return err
				}
				return printJSON(c, map[string]any{
					"name": s.Name, "kind": s.Kind, "action": s.Action, "key": s.Key, "why": why,
				})
			}
			w := c.OutOrStdout()
			fmt.Fprintf(w, "%s: %s", s.Name, s.Action)
			if s.Action == runner.Reuse && s.Record != nil {
				fmt.Fprintf(w, " of the run of %s", s.Record.Started.Local().Format("2006-01-02 15:04:05"))
			}
			fmt.Fprintln(w)
			p := whyPrinter{w: w, st: st, plan: plan, told: map[string]bool{}, ctx: ctx, within: within}
			if err := p.print(s, s.Since(), "  "); err != nil {
				return err
			}
			switch before := s.Before; {
			case s.Action == runner.Reuse && s.Record != nil && before == nil:
				fmt.Fprintln(w, "  there is no earlier run to compare with")
			case s.Renamed != "":
				fmt.Fprintf(w, "  compared with %s, which the pipeline has no longer\n", s.Renamed)
			case s.Action == runner.Run && before == nil && s.Unfinished == nil && !r.Ran(s.Name):
				fmt.Fprintf(w, "looked in %s\n", f.place)
			}
			return nil
		},
	}
	f.register(c, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	return c
}
