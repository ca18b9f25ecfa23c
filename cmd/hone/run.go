package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

func runCommand() *cobra.Command {
	var f flags
	var force []string
	c := &cobra.Command{
		Use:   "run [PATH | PLAN]",
		Short: "plan, then do it",
		Long: `run plans and does it. What the store has is reused; stages that do not depend on one that fails go on. Ctrl-C saves
the training under way and ends with exit code 130, and the next run goes on from there. Progress goes to standard
error: bars on a terminal, JSON lines elsewhere.

A stage with tensors reserves its threads, and they are all cores unless --threads or the stage's resources say fewer:
-j 2 alone never runs two trainings on the CPU at once, -j 2 --threads 1 does.

PLAN is a file that hone plan --out wrote: exactly that is done, and nothing where anything changed since, which is exit
code 2. What is done of it already, by a run that was interrupted, is reused.

--smoke takes every stage through a few rows and two steps before the long run, so that the export that would fail at
four in the morning fails in a minute. Models are loaded and exported whole; no gate is judged, for the numbers mean
nothing. What it makes is reused by smokes alone, and gc frees it; a model that it loads is the real run's too.

With --remote what a colleague or CI has pushed is reused: what a stage that runs reads is fetched, and reports. The rest
stays there; hone pull brings it.`,

		Example: `  hone run
  hone run examples/sft --stage tune --force tune
  hone run --smoke && hone run
  hone run --json > result.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible()
			defer stop()
			show := newProgress(c.ErrOrStderr())
			saved, path, err := f.savedPlan(c, args)
			if err != nil {
				return err
			}
			opts := runner.Options{Force: force, Observe: show.update, Resolve: resolveHub, Smoke: f.smoke, Context: ctx}
			if err := f.check(); err != nil {
				return err
			}
			st, err := f.openStore()
			if err != nil {
				return err
			}
			if saved == nil { // else all is compared with the plan
				if opts.Asked, err = f.asked(path, opts); err != nil {
					return err
				}
			}
			advise := func(advice pipelines.Errors) {
				for _, a := range advice {
					if lines, ok := show.(*jsonLines); ok {
						lines.say(lines.log.Warn().Str("pos", a.Place()).Str("path", a.Path), "advice: "+a.Msg)
					} else {
						fmt.Fprintf(c.ErrOrStderr(), "advice: %v\n", a)
					}
				}
			}
			began, place := time.Now(), ""
			result := runner.Unchanged(st, opts.Asked, advise, f.json)
			if result == nil {
				r, _, err := f.runner(path, opts)
				var none *pipelines.UsageError
				if saved != nil && errors.As(err, &none) {
					return usage("%s: its pipeline, counted from the file, is not where it was: %w", args[0], err)
				}
				if err != nil {
					return err
				}
				if saved != nil {
					if err := hold(r, saved, args[0]); err != nil {
						return err
					}
				}
				if err := r.Refuse(); err != nil {
					return err
				}
				advise(f.advice)
				if r.New() {
					place = f.found
				}
				if f.smoke {
					tell(c.ErrOrStderr(), show, "smoke: "+r.Graph().Name+", a few rows and two steps of each stage; no gate is judged")
				}
				if result, err = r.Run(ctx); err != nil {
					show.close()
					if ctx.Err() != nil {
						return &exit{exitInterrupted, errors.New("interrupted")}
					}
					return err
				}
			}
			show.close()
			switch {
			case f.json:
				err = printJSON(c, result)
			case f.smoke:
				err = f.printSmoke(c.OutOrStdout(), st, result, show.live(), time.Since(began))
			default:
				err = printResult(c.OutOrStdout(), st, result, show.live(), place)
			}
			if err == nil && result.Code != 0 {
				err = &exit{code: result.Code}
			}
			return err
		},
	}
	f.register(c, "json", "store", "tags", "device", "threads", "jobs", "stage", "numerics", "remote")
	c.Flags().BoolVar(&f.smoke, "smoke", false, "a few rows and two steps of every stage, apart from the real records")
	c.Flags().StringArrayVar(&force, "force", nil, "run the stage `NAME` again")
	return c
}

// asked is what is asked of this run; nil where stages are to run again, or in a smoke, of which nothing is remembered.
func (f *flags) asked(args []string, opts runner.Options) (*runner.Invocation, error) {
	if len(opts.Force) > 0 || opts.Smoke {
		return nil, nil
	}
	folder, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := f.fill(&opts); err != nil {
		return nil, err
	}
	return &runner.Invocation{
		Path: pipelineOf(args), Folder: folder, Program: opts.Hone[0], Tags: f.tags, Environment: os.Environ(), Options: opts,
	}, nil
}

// tell says a line on standard error as the run's progress is said there.
func tell(w io.Writer, show progress, line string) {
	if lines, ok := show.(*jsonLines); ok {
		lines.say(lines.log.Info(), line)
		return
	}
	fmt.Fprintln(w, line)
}

// interruptible is a context that the first SIGINT, SIGTERM or SIGHUP cancels: workers save their state and end. A
// second one ends this process at once; its workers notice and end too.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-ctx.Done()
		stop()
	}()
	return ctx, stop
}
