package main

import (
	"fmt"

	"github.com/spf13/cobra"
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
small, and why and log read them.`,
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
				if t.Stage != "" {
					fmt.Fprintf(w, "%.12s  %9s  %s of %s\n", t.Hash, size(t.Bytes), t.Stage, t.Pipeline)
				} else {
					fmt.Fprintf(w, "%.12s  %9s  of no record\n", t.Hash, size(t.Bytes))
				}
			}
			_, err = fmt.Fprintf(w, "%s %s: %d artifacts, %d checkpoints; %s kept\n", verb, size(freed.Bytes), len(freed.Trees), len(freed.Checkpoints), size(freed.Kept))
			return err
		},
	}
	f.register(c, "json", "store")
	c.Flags().BoolVarP(&dry, "dry-run", "n", false, "say what it would free, and free nothing")
	return c
}

// size is a number of bytes as people read it.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n)/unit, "KMGTPE"
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, names[0])
}
