package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every verb that can be run shows how.
func TestHelpHasExamples(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if !c.HasSubCommands() {
			if !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s has no example of itself", c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
}
