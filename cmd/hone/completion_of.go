package main

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hone-ml/hone/examples"
	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
)

// completeFlags gives each flag what completes its value: by its name, else by the placeholder that its help shows, else what the
// help lists (auto, cpu or cuda[:N]).
func completeFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.Value.Type() == "bool" {
			return
		}
		placeholder, help := pflag.UnquoteUsage(flag)
		_ = c.RegisterFlagCompletionFunc(flag.Name, func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch flag.Name {
			case "stage", "force":
				return complete(c, "STAGE", args, begun)
			case "template":
				if c.Name() == "init" {
					return templateNames(begun), cobra.ShellCompDirectiveNoFileComp
				}
				return beginning(chat.Families(), begun), cobra.ShellCompDirectiveDefault
			case "numerics":
				return beginning([]string{"any", "exact"}, begun), cobra.ShellCompDirectiveNoFileComp
			}
			switch placeholder {
			case "FORMAT", "TYPE", "DEVICE":
				return beginning(valuesIn(help), begun), cobra.ShellCompDirectiveNoFileComp
			}
			return complete(c, placeholder, args, begun)
		})
	})
}

var (
	parentheses = regexp.MustCompile(` \([^)]*\)`)
	brackets    = regexp.MustCompile(`\[[^\]]*\]`)
	between     = regexp.MustCompile(`, | or `)
)

// valuesIn is the values that a flag's help lists after its first colon: of "FORMAT: hf, peft or gguf (as MODEL is)" three.
func valuesIn(help string) []string {
	_, values, ok := strings.Cut(help, ": ")
	if !ok {
		return nil
	}
	return between.Split(brackets.ReplaceAllString(parentheses.ReplaceAllString(values, ""), ""), -1)
}

// graphFor is the pipeline that a command line is about: by --pipeline, else by its PATH, else the one here. Nil where it is none.
func graphFor(c *cobra.Command, before []string) *pipelines.Graph {
	f := flags{absent: true}
	f.tags, _ = c.Flags().GetStringArray("tag")
	if path, err := c.Flags().GetString("pipeline"); err == nil && path != "" {
		before = []string{path}
	}
	g, err := f.graph(before)
	if err != nil {
		return nil
	}
	return g
}

// stageNames is the stages with their kinds, and with ports those that have several by port: parts.train.
func stageNames(c *cobra.Command, before []string, begun string, ports bool) []cobra.Completion {
	g := graphFor(c, before)
	if g == nil {
		return nil
	}
	var names []cobra.Completion
	for _, s := range g.Stages {
		if ports && (len(s.Outputs) > 1 || strings.HasPrefix(begun, s.Name+".")) {
			names = append(names, portNames(s, begun)...)
		} else if strings.HasPrefix(s.Name, begun) {
			names = append(names, candidate(s.Name, s.Kind))
		}
	}
	return names
}

func portNames(s *pipelines.Stage, begun string, kinds ...string) (names []cobra.Completion) {
	for _, out := range s.Outputs {
		if name := s.Name + "." + out.Port; strings.HasPrefix(name, begun) && (kinds == nil || slices.Contains(kinds, out.Kind)) {
			names = append(names, candidate(name, out.Kind+" of "+s.Kind))
		}
	}
	return names
}

// modelNames is the stages that make a model or an adapter.
func modelNames(c *cobra.Command, begun string) (names []cobra.Completion) {
	g := graphFor(c, nil)
	if g == nil {
		return nil
	}
	for _, s := range g.Stages {
		if len(s.Outputs) > 1 {
			names = append(names, portNames(s, begun, "model", "adapter")...)
		} else if len(s.Outputs) == 1 && strings.HasPrefix(s.Name, begun) && slices.Contains([]string{"model", "adapter"}, s.Outputs[0].Kind) {
			names = append(names, candidate(s.Name, s.Outputs[0].Kind+" of "+s.Kind))
		}
	}
	return names
}

// pipelinePaths is the folders that hold CUE, or lead to some, below what is begun; CUE files where their folder is begun; and
// with plans, the files of hone plan --out.
func pipelinePaths(begun string, plans bool) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir, last := filepath.Split(begun)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	var names []cobra.Completion
	for _, e := range entries {
		path := dir + e.Name()
		hidden := (strings.HasPrefix(e.Name(), ".") || e.Name() == "cue.mod") && !strings.HasPrefix(last, ".")
		if hidden || !strings.HasPrefix(e.Name(), last) {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case info.IsDir() && holdsCUE(path):
			names = append(names, path)
		case info.IsDir() && leadsToCUE(path, 3):
			names, directive = append(names, path+"/"), directive|cobra.ShellCompDirectiveNoSpace
		case filepath.Ext(path) == ".cue", plans && info.Mode().IsRegular() && isPlan(path):
			names = append(names, path)
		}
	}
	return names, directive
}

func holdsCUE(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".cue" })
}

// leadsToCUE looks so many folders deep, and at no more than a few hundred: somebody waits.
func leadsToCUE(dir string, deep int) bool {
	entries, err := os.ReadDir(dir)
	if err != nil || deep == 0 {
		return false
	}
	for _, e := range entries[:min(len(entries), 200)] {
		below := filepath.Join(dir, e.Name())
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "cue.mod" && (holdsCUE(below) || leadsToCUE(below, deep-1)) {
			return true
		}
	}
	return false
}

// isPlan looks at the beginning of a file alone.
func isPlan(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	return strings.Contains(string(head[:n]), `"hone_plan":`)
}

func kindNames(begun string) []cobra.Completion { return beginning(schemas.Kinds(), begun) }

func templateNames(begun string) (names []cobra.Completion) {
	for _, name := range slices.Sorted(maps.Keys(examples.Templates)) {
		if strings.HasPrefix(name, begun) {
			names = append(names, candidate(name, examples.Templates[name]))
		}
	}
	return names
}

// revisionNames are git's branches and tags.
func revisionNames(c *cobra.Command, begun string) []cobra.Completion {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	repository, err := git.Open(ctx, ".")
	if err != nil {
		return nil
	}
	names, _ := repository.Revisions(ctx)
	return beginning(names, begun)
}

func beginning(names []string, begun string) (found []cobra.Completion) {
	for _, name := range names {
		if strings.HasPrefix(name, begun) {
			found = append(found, name)
		}
	}
	return found
}
