// Command hone checks, plans and runs pipelines that post-train language models. Each verb is a file of its own.
//
// Results go to standard output, progress and logs to standard error. The exit codes are those of the constants below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/remote"
	"github.com/hone-ml/hone/runner/store"
)

// Exit codes. Where several hold, the smallest but 0; an interruption before all others.
const (
	exitFailed      = 1   // a stage failed
	exitUsage       = 2   // wrong usage
	exitInvalid     = 3   // the pipeline is invalid
	exitGate        = 4   // an eval gate failed
	exitDamaged     = 5   // the store is damaged, or a remote
	exitEnvironment = 6   // the environment lacks something
	exitInterrupted = 130 // SIGINT
)

func main() { os.Exit(hone(os.Args[1:], os.Stdout, os.Stderr)) }

// hone runs one command line and returns its exit code.
func hone(args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var invalid pipelines.Errors
	if flag := c.Flags().Lookup("json"); flag != nil && flag.Value.String() == "true" && errors.As(err, &invalid) && exitCode(err) == exitInvalid {
		if printJSON(c, wrong(invalid)) == nil {
			return exitInvalid
		}
	}
	switch message := err.Error(); {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "interrupted")
	case message != "":
		fmt.Fprintln(stderr, message)
	}
	return exitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hone",
		Short: "sharpen a language model after pre-training",
		Long: `hone sharpens a language model after pre-training. Experiments are CUE files: hone checks them, shows
what would run and why, runs only what changed, and keeps every artifact by the hash of its content.

The exit code is 1 where a stage failed, 2 for wrong usage, 3 for an invalid pipeline, 4 where the gate of an eval
fails, 5 for a damaged store or remote, 6 where the machine lacks something, and 130 when interrupted. Of an invalid pipeline
every verb's --json has what that of vet does.`,
		Example: `  hone init mine       a new experiment, which runs as it is
  hone run mine        run it; a second run reuses everything
  hone chat tune --pipeline mine`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cobra.EnableCommandSorting = false // in the order of use
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "the version of this program")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w\n%s --help says more", wrongFlag(c, err), c.CommandPath())
	})
	for _, command := range []func() *cobra.Command{
		initCommand, vetCommand, planCommand, runCommand, whyCommand,
		diffCommand, compareCommand, graphCommand, showCommand, pathCommand, logCommand,
		generateCommand, chatCommand, exportCommand, verifyCommand, templateCommand, pushCommand, pullCommand, gcCommand, fsckCommand, schemaCommand, doctorCommand, completionCommand, versionCommand, stageCommand, compileCommand,
	} {
		root.AddCommand(command())
	}
	return completed(helped(checked(root)))
}

// exit is an error with the code that the program ends with. Without an error all has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// fail is an error with its exit code.
func fail(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

func usage(format string, args ...any) error { return fail(exitUsage, format, args...) }

// exitCode is what an error that reached the top means.
func exitCode(err error) int {
	var (
		coded   *exit
		wrong   *pipelines.UsageError
		invalid pipelines.Errors
		stage   *runner.UnknownStageError
		failure *job.Error
		damage  *store.Damage
		there   *remote.Damage
		closed  *store.ReadOnlyError
	)
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &wrong), errors.As(err, &stage):
		return exitUsage
	case errors.As(err, &invalid):
		return exitInvalid
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.As(err, &closed):
		return exitEnvironment
	case errors.As(err, &failure) && failure.Code != 0:
		return failure.Code
	case errors.As(err, &damage), errors.As(err, &there):
		return exitDamaged
	}
	return exitFailed
}
