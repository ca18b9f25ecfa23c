package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
)

// printWhy prints reasons, a line each, and below one that is another stage's those of that stage, each stage's once.
func printWhy(w io.Writer, plan *runner.Plan, s *runner.StagePlan, why []runner.Change, indent string, told map[string]bool) {
	for _, change := range why {
		fmt.Fprintf(w, "%s%s\n", indent, wrapped(reason(s, change), max(width(w)-len(indent)-2, narrowest), indent+"  "))
		if up := plan.Stage(change.From); up != nil && !told[up.Name] {
			told[up.Name] = true
			printWhy(w, plan, up, up.Why, indent+"  ", told)
		}
	}
}

func whyCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "why STAGE [PATH]",
		Short: "what changed since the stage's last run",
		Long: `why names what differs from the stage's last run in this pipeline: fields, inputs and files with their old and new
value, and where that stands in the source; of an input that is not made yet, why the stage before it runs. Of a stage that
is reused it says what set off the run that made it.`,
		Example: `  hone why tune
  hone why tune examples/sft`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path(args[1:])
			if err != nil {
				return err
			}
			r, _, err := f.runner(path, runner.Options{Stages: args[:1]})
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			s := plan.Stage(args[0])
			r.Explain(s)
			if f.json {
				return printJSON(c, map[string]any{
					"name": s.Name, "kind": s.Kind, "action": s.Action, "key": s.Key, "why": s.Since(),
				})
			}
			w := c.OutOrStdout()
			fmt.Fprintf(w, "%s: %s", s.Name, s.Action)
			if s.Action == runner.Reuse {
				fmt.Fprintf(w, " of the run of %s", s.Record.Started.Local().Format("2006-01-02 15:04:05"))
			}
			fmt.Fprintln(w)
			printWhy(w, plan, s, s.Since(), "  ", map[string]bool{s.Name: true})
			switch before := s.Before; {
			case s.Action == runner.Reuse && before == nil:
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
