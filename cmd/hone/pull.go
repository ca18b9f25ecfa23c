package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/remote"
)

func pullCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "pull URL [STAGE...]",
		Short: "get what others have made of this pipeline",
		Long: `pull brings what the pipeline would reuse of a remote, or the stages named and what they need, into the store: a run then
reuses it, and path, chat and export find it. Only what is missing here comes. Each byte is hashed before it enters the
store; interrupted or killed, the next pull goes on in the middle of a file.

` + remoteHelp,
		Example: `  hone pull s3://team/experiments
  hone pull /mnt/share/hone tune --pipeline examples/sft`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible()
			defer stop()
			if err := f.check(); err != nil {
				return err
			}
			g, err := f.graph([]string{f.pipeline})
			if err != nil {
				return err
			}
			st, err := f.openStore()
			if err != nil {
				return err
			}
			from, err := openRemote(ctx, args[0], st, false)
			if err != nil {
				return err
			}
			defer from.Close()
			r, err := f.runnerOf(g, st, runner.Options{Stages: args[1:], Context: ctx, Elsewhere: []runner.Elsewhere{from}})
			if err != nil {
				return err
			}
			bar := newTransferBar(c.ErrOrStderr(), "pulling")
			from.Progress = bar.update
			pulled, err := r.Pull(ctx, func(p *runner.Pulled) { bar.ended(p.Name, p.Status) })
			bar.close()
			if err != nil {
				return err
			}
			stages := make([]transferredStage, len(pulled))
			missing := 0
			for i, p := range pulled {
				stages[i] = transferredStage{Name: p.Name, Status: p.Status}
				if p.Key != nil {
					stages[i].Key = *p.Key
				}
				if p.Status == "missing" {
					missing++
				}
			}
			if err := f.printTransferred(c, args[0], r.Graph().Name, from, stages); err != nil || missing < len(stages) {
				return err
			}
			return &exit{exitFailed, errors.New("neither the store nor " + remote.Shown(args[0]) + " has anything of it: hone run makes it, hone push shares it")}
		},
	}
	f.register(c, "json", "store", "tags", "device", "threads", "numerics")
	c.Flags().StringVar(&f.pipeline, "pipeline", ".", "`PATH` of the pipeline")
	return c
}
