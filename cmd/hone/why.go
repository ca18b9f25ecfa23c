package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
)

func whyCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "why STAGE [PATH]",
		Short: "which ingredient of the stage's key changed since the nearest earlier run",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			r, _, err := f.runner(args[1:], runner.Options{Stages: args[:1]})
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
			for _, change := range s.Since() {
				fmt.Fprintf(w, "  %s\n", reason(s, change))
			}
			if len(s.Since()) == 0 {
				fmt.Fprintln(w, "  there is no earlier run to compare with")
			}
			return nil
		},
	}
	f.register(c, "json", "store", "tags", "device", "threads", "numerics")
	return c
}
