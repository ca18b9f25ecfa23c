package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every verb shows how it is used, in lines that fit 80 columns.
func TestHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		path := c.CommandPath()
		if !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, path) {
			t.Errorf("%s has no example of itself", path)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
		var out, errs strings.Builder
		if code := hone(append(strings.Fields(path)[1:], "--help"), &out, &errs); code != 0 {
			t.Errorf("%s --help: exit %d\n%s", path, code, &errs)
		}
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("%s --help, %d columns: %s", path, n, line)
			}
		}
	}
	walk(rootCommand())
}

func TestReflowed(t *testing.T) {
	got := reflowed("one two three\nfour five\n\n  kept as it is, however long\nsix", 12)
	if want := "one two\nthree four\nfive\n\n  kept as it is, however long\nsix"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
