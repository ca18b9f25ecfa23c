package main

import (
	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// stageCommand is the process of a stage that needs no tensors; the runner starts it.
func stageCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "stage JOBDIR",
		Short:  "do the job in a job folder, or one after another, speaking the job protocol",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			registry, code := data.Stages(nil), 0
			if args[0] == job.Shared {
				code = stages.Serve(registry, nil)
			} else {
				code = stages.Main(args[0], registry, nil)
			}
			if code != 0 {
				return &exit{code: code}
			}
			return nil
		},
	}
}
