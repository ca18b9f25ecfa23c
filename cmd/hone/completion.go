package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
)

// shells that completion writes a script for, and what writes it.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "a script with which a shell completes stages and the like",
		Long: `completion writes a script for a shell, which asks hone what may stand where the cursor is: verbs and flags, stages and
their ports, pipelines, kinds, templates, values. Asking runs nothing of a pipeline, needs no network, and is silent
where something is wrong.

bash, with the package bash-completion:
  mkdir -p ~/.local/share/bash-completion/completions
  hone completion bash > ~/.local/share/bash-completion/completions/hone

zsh, where .zshrc has autoload -U compinit && compinit:
  hone completion zsh > "${fpath[1]}/_hone"

fish:
  hone completion fish > ~/.config/fish/completions/hone.fish

PowerShell, in $PROFILE:
  hone completion powershell | Out-String | Invoke-Expression

A new shell has it. For the one at hand alone: source <(hone completion bash), in zsh too.`,
		Example:   `  source <(hone completion bash)`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			write := map[string]func(io.Writer) error{
				"bash":       func(w io.Writer) error { return c.Root().GenBashCompletionV2(w, true) },
				"zsh":        c.Root().GenZshCompletion,
				"fish":       func(w io.Writer) error { return c.Root().GenFishCompletion(w, true) },
				"powershell": c.Root().GenPowerShellCompletionWithDesc,
			}[args[0]]
			if write == nil {
				return usage("%s: no shell that is known%s", args[0], pipelines.Suggest(args[0], shells))
			}
			return write(c.OutOrStdout())
		},
	}
}

// completed gives every verb and flag what completes it, by the placeholders of its usage line and of its flags' help: a verb is
// completed as its help reads.
func completed(c *cobra.Command) *cobra.Command {
	if c.ValidArgs == nil && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = completeArgument
	}
	completeFlags(c)
	for _, sub := range c.Commands() {
		completed(sub)
	}
	return c
}

// placeholders are the arguments of a usage line in order: of "path STAGE[.PORT] [PATH]" STAGE.PORT and PATH. Those of flags are
// left out, and the last one may stand again where it ends in "…".
func placeholders(c *cobra.Command) []string {
	line, _, _ := strings.Cut(c.Use, " [--")
	line, _, _ = strings.Cut(line, " --")
	line, _, _ = strings.Cut(line, " -p")
	var names []string
	for _, word := range strings.Fields(line)[1:] {
		if word == "|" && len(names) > 0 { // [PATH | PLAN] is one
			continue
		}
		names = append(names, strings.NewReplacer("[", "", "]", "").Replace(word))
	}
	return names
}

func completeArgument(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := placeholders(c)
	at := len(args)
	if n := len(names); n > 0 && at >= n && strings.HasSuffix(names[n-1], "…") {
		at = n - 1
	}
	if at >= len(names) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := args
	if strings.HasPrefix(names[0], "STAGE") { // PATH comes after it
		before = nil
	}
	return complete(c, strings.TrimSuffix(names[at], "…"), before, begun)
}

// complete is what may stand for a placeholder. before are the arguments that stand there already, PATH first.
func complete(c *cobra.Command, placeholder string, before []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch placeholder {
	case "STAGE":
		return stageNames(c, before, begun, false), cobra.ShellCompDirectiveNoFileComp
	case "STAGE.PORT":
		return stageNames(c, before, begun, true), cobra.ShellCompDirectiveNoFileComp
	case "MODEL":
		return modelNames(c, begun), cobra.ShellCompDirectiveDefault // a folder or file where no stage fits
	case "PATH", "PLAN":
		return pipelinePaths(begun, c.Name() == "run")
	case "KIND":
		return kindNames(begun), cobra.ShellCompDirectiveNoFileComp
	case "BASE", "HEAD", "REV":
		return revisionNames(c, begun), cobra.ShellCompDirectiveNoFileComp
	case "DIR":
		return nil, cobra.ShellCompDirectiveFilterDirs
	case "FILE", "FILE.json":
		return nil, cobra.ShellCompDirectiveDefault
	}
	var all []cobra.Completion
	for one := range strings.SplitSeq(placeholder, "|") { // REV|STAGE
		if one != placeholder {
			found, _ := complete(c, one, before, begun)
			all = append(all, found...)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func candidate(name, description string) cobra.Completion {
	if description == "" {
		return name
	}
	return cobra.Completion(fmt.Sprintf("%s\t%s", name, description))
}
