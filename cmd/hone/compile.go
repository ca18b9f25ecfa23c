package main

import (
	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
)

// compileCommand is the process in which CUE is evaluated; pipelines.Evaluate starts it.
func compileCommand() *cobra.Command {
	return &cobra.Command{
		Use:    pipelines.Serving,
		Short:  "compile pipelines within bounds of time and memory, for a hone that asks on standard input",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return pipelines.Serve(c.InOrStdin(), c.OutOrStdout())
		},
	}
}
