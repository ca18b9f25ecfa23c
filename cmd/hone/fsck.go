package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func fsckCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "fsck",
		Short: "read every byte of the store and compare it with its name",
		Example: `  hone fsck
  hone fsck --json`,
		Long: `Read every byte of the store and compare it with its name.

Nothing is mended: hone run makes a damaged artifact again when it needs it. The exit code is 5 where there is damage.`,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := f.openStore()
			if err != nil {
				return err
			}
			found, err := st.Fsck()
			if err != nil {
				return err
			}
			if f.json {
				err = printJSON(c, found)
			} else {
				for _, p := range found.Problems {
					fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", p.Path, p.What)
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "%d objects (%s), %d artifacts, %d records: %d problems\n",
					found.Objects, size(found.Bytes), found.Trees, found.Records, len(found.Problems))
			}
			if err == nil && len(found.Problems) > 0 {
				err = &exit{code: exitDamaged}
			}
			return err
		},
	}
	f.register(c, "json", "store")
	return c
}
