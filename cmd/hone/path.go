package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

func pathCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "path STAGE[.PORT] [PATH]",
		Short: "the folder of a stage's artifact",
		Long:  "path prints the folder that a stage's artifact is kept in. It is read-only: copy what you want to change.\n\n" + recordHelp,
		Example: `  ls "$(hone path tune)"
  hone path parts.test examples/sft`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path(args[1:])
			if err != nil {
				return err
			}
			rec, port, st, err := f.record(args[0], pipelineOf(path))
			if err != nil {
				return err
			}
			if rec != nil {
				if port, err = one(rec, args[0], port, func(store.Output) bool { return true }); err != nil {
					return err
				}
				return f.printPath(c, st, rec.Stage, port, rec.Outputs[port].Hash)
			}
			g, err := f.graph(path)
			if err != nil {
				return err
			}
			stage, port := splitPort(g, args[0])
			r, st, err := f.runner(path, runner.Options{Stages: []string{stage}})
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			s := plan.Stage(stage)
			ports := slices.Sorted(maps.Keys(s.Outputs))
			if port == "" && len(ports) == 1 {
				port = ports[0]
			}
			if port == "" {
				return usage("%s has several ports: %s.%s", stage, stage, strings.Join(ports, ", "+stage+"."))
			}
			if !slices.Contains(ports, port) {
				return usage("%s has no port %s; it has %s", stage, port, strings.Join(ports, ", "))
			}
			hash := s.Outputs[port]
			if hash == nil {
				return f.nothing(r, plan, s, "artifact")
			}
			return f.printPath(c, st, stage, port, *hash)
		},
	}
	f.register(c, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	return c
}

func (f *flags) printPath(c *cobra.Command, st *store.Store, stage, port, hash string) error {
	if err := st.Check(hash); err != nil {
		return f.unsound(st, stage+"."+port, err)
	}
	if f.json {
		return printJSON(c, map[string]any{"stage": stage, "port": port, "hash": hash, "path": st.Tree(hash)})
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), st.Tree(hash))
	return err
}

// splitPort takes STAGE.PORT apart. A stage whose own name has a dot comes first.
func splitPort(g *pipelines.Graph, name string) (stage, port string) {
	if g.Stage(name) != nil {
		return name, ""
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && g.Stage(name[:dot]) != nil {
		return name[:dot], name[dot+1:]
	}
	return name, ""
}
