package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/remote"
	"github.com/hone-ml/hone/runner/store"
)

// transferred is what push and pull print.
type transferred struct {
	URL    string             `json:"url"` // without its parameters
	Stages []transferredStage `json:"stages"`
	Files  int64              `json:"files"` // that moved
	Bytes  int64              `json:"bytes"`
}

type transferredStage struct {
	Name   string `json:"name"`
	Key    string `json:"key,omitempty"`
	Status string `json:"status"` // pushed or pulled, there, missing
}

func pushCommand() *cobra.Command {
	var f flags
	var again bool
	c := &cobra.Command{
		Use:   "push URL [STAGE...]",
		Short: "send what the last run made to where others get it",
		Long: `push sends records and artifacts of the pipeline's last run, or of the stages named and what they need, to a remote.
Only what is missing there is sent, the records last: interrupted or killed at any moment, nothing half is seen, and the
next push goes on. Bytes are checked on their way.

` + remoteHelp,
		Example: `  hone push s3://team/experiments
  hone push /mnt/share/hone tune --pipeline examples/sft`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible()
			defer stop()
			r, st, err := f.runner([]string{f.pipeline}, runner.Options{Stages: args[1:]})
			if err != nil {
				return err
			}
			made, err := r.Made()
			if err != nil {
				return err
			}
			if !anyMade(made) {
				return fail(exitFailed, "nothing to push: %s has no record of its last run: %s makes it\nlooked in %s", r.Graph().Name, f.run(), f.place)
			}
			if err := st.Init(); err != nil {
				return err
			}
			use, err := st.Use() // gc keeps away
			if err != nil {
				return err
			}
			defer use.Close()
			to, err := openRemote(ctx, args[0], st, true)
			if err != nil {
				return err
			}
			defer to.Close()
			bar := newTransferBar(c.ErrOrStderr(), "pushing")
			to.Progress, to.Again = bar.update, again
			stages, err := f.push(ctx, st, to, made, bar)
			bar.close()
			if err != nil {
				return err
			}
			return f.printTransferred(c, args[0], r.Graph().Name, to, stages)
		},
	}
	f.register(c, "json", "store", "tags")
	c.Flags().StringVar(&f.pipeline, "pipeline", ".", "`PATH` of the pipeline")
	c.Flags().BoolVar(&again, "again", false, "send what is there already too: mends a damaged remote")
	return c
}

func anyMade(made []runner.Made) bool {
	for _, m := range made {
		if m.Record != nil {
			return true
		}
	}
	return false
}

// push sends the records of stages, a few at once.
func (f *flags) push(ctx context.Context, st *store.Store, to *remote.Remote, made []runner.Made, bar *transferBar) ([]transferredStage, error) {
	const atOnce = 8
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stages := make([]transferredStage, len(made))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, m := range made {
		stages[i] = transferredStage{Name: m.Name, Status: "missing"}
		if m.Record == nil {
			bar.ended(m.Name, "missing")
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			had, err := to.Push(ctx, m.Record)
			if err != nil {
				cancel(f.unsound(st, m.Name, err)) // the first one stays
				return
			}
			stages[i] = transferredStage{m.Name, m.Record.Key, map[bool]string{true: "there", false: "pushed"}[had]}
			bar.ended(m.Name, stages[i].Status)
		})
	}
	wg.Wait()
	return stages, context.Cause(ctx)
}

func (f *flags) printTransferred(c *cobra.Command, at, pipeline string, r *remote.Remote, stages []transferredStage) error {
	p := r.Done()
	if f.json {
		return printJSON(c, transferred{remote.Shown(at), stages, p.Files, p.Bytes})
	}
	n := map[string]int{}
	for _, s := range stages {
		n[s.Status]++
	}
	line := ""
	for _, status := range []string{"pushed", "pulled", "there", "missing"} {
		if n[status] > 0 {
			line += fmt.Sprintf(", %d %s", n[status], status)
		}
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s: %s; %s, %s\n", pipeline, line[min(2, len(line)):], count(int(p.Files), "file"), store.Size(p.Bytes))
	return err
}
