package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner/store"
)

func gcCommand() *cobra.Command {
	var f flags
	var dry bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "free the space of artifacts that no pipeline's last run uses",
		Example: `  hone gc --dry-run
  hone gc`,
		Long: `Free the space of artifacts that no pipeline's last run uses.

A pipeline keeps what its last run used for as long as its folder is there. Records and their logs stay: they are
small, and why and log read them. All that smokes made is freed, their records too.`,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := f.openStore()
			if err != nil {
				return err
			}
			freed, err := st.GC(dry)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(c, freed)
			}
			verb := "freed"
			if dry {
				verb = "would free"
			}
			w := c.OutOrStdout()
			for _, t := range freed.Trees {
				if t.Smoke {
					fmt.Fprintf(w, "%.12s  %9s  %s of a smoke of %s\n", t.Hash, store.Size(t.Bytes), t.Stage, t.Pipeline)
				} else if t.Stage != "" {
					fmt.Fprintf(w, "%.12s  %9s  %s of %s\n", t.Hash, store.Size(t.Bytes), t.Stage, t.Pipeline)
				} else {
					fmt.Fprintf(w, "%.12s  %9s  of no record\n", t.Hash, store.Size(t.Bytes))
				}
			}
			fmt.Fprintf(w, "%s %s: %s, %s; %s kept\n", verb, store.Size(freed.Bytes),
				count(len(freed.Trees), "artifact"), count(len(freed.Checkpoints), "checkpoint"), store.Size(freed.Kept))
			if freed.Shared > 0 {
				fmt.Fprintf(w, "%s of these artifacts are files that others have too: they stay, or count once\n", store.Size(freed.Shared))
			}
			if freed.Busy {
				fmt.Fprintln(w, "a run is using the store: gc itself waits for its end")
			}
			return nil
		},
	}
	f.register(c, "json", "store")
	c.Flags().BoolVarP(&dry, "dry-run", "n", false, "say what it would free, and free nothing")
	return c
}
