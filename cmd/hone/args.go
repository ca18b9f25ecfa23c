package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hone-ml/hone/internal/near"
)

// checked makes a wrong number of arguments a matter of usage, and says what to write instead where that is known.
func checked(c *cobra.Command) *cobra.Command {
	args := c.Args
	if args == nil {
		args = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, given []string) error {
		err := args(c, given)
		if err == nil {
			return nil
		}
		if c.HasSubCommands() {
			return usage("%s has no verb %s%s\n%s --help lists them", c.CommandPath(), given[0], suggested(c, given[0]), c.CommandPath())
		}
		what := "an argument is missing"
		for n := range given {
			if args(c, given[:n]) == nil { // fewer would do
				what = "too many arguments: " + strings.Join(given, " ")
			}
		}
		return usage("%s\nusage: %s%s", what, c.UseLine(), rewritten(c, given))
	}
	for _, sub := range c.Commands() {
		checked(sub)
	}
	return c
}

// wrongFlag says which flag one that there is not may have meant, and what a flag wants that was given something else; the library names Go's
// functions.
func wrongFlag(c *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		if meant := flagMeant(c, unknown.GetSpecifiedName()); meant != "" {
			return fmt.Errorf("%w (did you mean --%s?)", err, meant)
		}
		return err
	}
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag, value := wrong.GetFlag(), wrong.GetValue()
	if value == "" {
		value = `""`
	}
	wants, ok := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number", "bool": "true or false",
	}[flag.Value.Type()]
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("--%s %s: too large or too small", flag.Name, value)
	case !ok:
		return err
	}
	return fmt.Errorf("--%s %s: wants %s", flag.Name, value, wants)
}

// flagMeant is the flag that is called almost so, or that takes such a value: markdown is one of --format; "" where there is none.
func flagMeant(c *cobra.Command, name string) (meant string) {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names = append(names, f.Name)
		_, values, _ := strings.Cut(f.Usage, "`: ")
		if slices.Contains(strings.FieldsFunc(values, func(r rune) bool { return strings.ContainsRune(" ,:;()", r) }), name) {
			meant = f.Name + " " + name
		}
	})
	if close := near.Name(name, names); close != "" {
		return close
	}
	return meant
}

// suggested is the verb that a misspelt one may have meant.
func suggested(c *cobra.Command, name string) string {
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	return ""
}

// rewritten is the command line that was meant. Verbs about a stage take the pipeline's PATH as an argument, verbs about
// a model as --pipeline, since a model need not be of a pipeline; verbs about a whole pipeline take a stage as --stage.
func rewritten(c *cobra.Command, given []string) string {
	var pipeline, meant string
	switch name := c.Name(); {
	case name == "generate" && len(given) > 1 && !isPath(given[1]):
		return fmt.Sprintf("\nwhat the user says stands behind -p: %s %s -p %s", c.CommandPath(), given[0], quoted(strings.Join(given[1:], " ")))
	case name == "chat" && len(given) > 1 && !isPath(given[1]):
		return fmt.Sprintf("\nchat asks for what you say; for one answer: hone generate %s -p %s", given[0], quoted(strings.Join(given[1:], " ")))
	case (name == "chat" || name == "generate") && len(given) == 2:
		pipeline, meant = given[1], given[0]+" --pipeline "+given[1]
	case name == "export" && len(given) == 3:
		pipeline, meant = given[1], given[0]+" "+given[2]+" --pipeline "+given[1]
	case (name == "plan" || name == "run") && len(given) == 2 && isPath(given[0]) && !isPath(given[1]):
		given = []string{given[1], given[0]}
		fallthrough
	case (name == "plan" || name == "run") && len(given) == 2:
		pipeline, meant = given[1], given[1]+" --stage "+given[0]
	default:
		return ""
	}
	return fmt.Sprintf("\nstage %s of the pipeline %s: %s %s", given[0], pipeline, c.CommandPath(), meant)
}

// isPath says whether an argument is meant as a path: something is there, or it is written as only paths are.
func isPath(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || !strings.ContainsAny(arg, " \t\n") && (strings.HasPrefix(arg, ".") || strings.Contains(arg, "/"))
}

// word is an argument as it is typed: quoted where a shell would take it apart.
func word(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool { return strings.ContainsRune(" \t\n\"'`\\$&|;<>()*?[]{}!#~", r) }) {
		return arg
	}
	return quoted(arg)
}

// quoted is text as a shell takes it for one word.
func quoted(text string) string {
	if !strings.ContainsAny(text, "\"$`\\!") {
		return `"` + text + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
