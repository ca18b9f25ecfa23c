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
			registry := data.Stages(nil)
			work := func() int { return stages.Main(args[0], registry, nil) }
			if args[0] == job.Shared {
				work = func() int { return stages.Serve(registry, nil) }
			}
			code := work()
			if code != 0 {
				return &exit{code: code}
			}
			return nil
		},
	}
}
