package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helped makes the help of c and of its verbs fit the terminal: paragraphs and flags are wrapped, indented lines stay as they are.
func helped(root *cobra.Command) *cobra.Command {
	root.InitDefaultHelpCmd()
	columns := func(c *cobra.Command) int { return min(width(c.OutOrStdout()), 100) }
	cobra.AddTemplateFunc("reflowed", func(c *cobra.Command) string {
		text := c.Long
		if text == "" {
			text = c.Short
		}
		return reflowed(text, columns(c))
	})
	cobra.AddTemplateFunc("flags", func(c *cobra.Command, of *pflag.FlagSet) string {
		return strings.TrimRight(of.FlagUsagesWrapped(columns(c)), " \n")
	})
	root.SetHelpTemplate("{{reflowed .}}\n\n{{.UsageString}}")
	root.SetUsageTemplate(`Usage:
{{- if or (not .HasAvailableSubCommands) (ne .UseLine .CommandPath)}}
  {{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}
  {{.CommandPath}} VERB{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}

Verbs:
{{- range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{flags . .LocalFlags}}{{end}}
{{- if .HasAvailableSubCommands}}

{{.CommandPath}} VERB --help says more of a verb.{{end}}
`)
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		c.DisableFlagsInUseLine = true
		if c.Name() == "help" {
			c.Short, c.Long, c.Example = "what a verb does", "help says what a verb does, as the verb's own --help.", "  hone help run"
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(root)
	return root
}

// reflowed breaks the paragraphs of a text anew. Lines that begin with a space are kept.
func reflowed(text string, columns int) string {
	var out []string
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, wrapped(strings.Join(paragraph, " "), columns, ""))
		}
		paragraph = nil
	}
	for _, line := range strings.Split(text, "\n") {
		if line != "" && !strings.HasPrefix(line, " ") {
			paragraph = append(paragraph, line)
			continue
		}
		flush()
		out = append(out, line)
	}
	flush()
	return strings.Join(out, "\n")
}
