package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner/store"
)

func fsckCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "fsck",
		Short: "read every byte of the store and compare it with its name",
		Example: `  hone fsck
  hone fsck --json`,
		Long: `Read every byte of the store and compare it with its name.

Nothing is mended, but what is damaged is trusted no longer: the next hone run of a pipeline that uses it makes it again.
The exit code is 5 where there is damage.`,
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
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s), %s, %s: %s\n", count(found.Objects, "object"), store.Size(found.Bytes),
					count(found.Trees, "artifact"), count(found.Records, "record"), count(len(found.Problems), "problem"))
				for _, dir := range found.Pipelines {
					fmt.Fprintf(c.OutOrStdout(), "%s makes what is damaged again\n", f.runIn(dir))
				}
				for _, hash := range found.Unused {
					fmt.Fprintf(c.OutOrStdout(), "no pipeline's last run uses %.12s: hone gc frees it\n", hash)
				}
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
