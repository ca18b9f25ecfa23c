package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/internal/near"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

func compareCommand() *cobra.Command {
	c := comparer{}
	command := &cobra.Command{
		Use:   "compare [REV…|STAGE…] [PATH]",
		Short: "runs side by side: parameters that differ, and metrics",
		Long: `compare shows what differs between runs, and what came of them: stages of the pipeline, or the pipeline as it was in git
revisions. A stage's name may be a pattern, tune-*, as a shell reads it; one revision is compared with the work tree. Without
either it shows the sweep that the pipeline has: stages of one kind that differ in a few fields. ./... compares in every
pipeline below.

The metrics of a stage are its own and those of the evals that read its model, through merges and exports too. An eval's have
their 95% interval where its rows tell one. * is the best where its interval overlaps no other's. What has not run shows –
with what hone run would do. It executes nothing.`,
		Example: `  hone compare
  hone compare 'tune-*' examples/sweep
  hone compare main HEAD~3
  hone compare --format csv > runs.csv`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	c.register(command, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	command.Flags().StringVar(&c.format, "format", "text", "`FORMAT`: text, markdown, csv or json")
	command.Flags().StringArrayVar(&c.metrics, "metric", nil, "only the metric `NAME`, also one that is not shown otherwise")
	return command
}

// comparer is one call of compare.
type comparer struct {
	flags
	format  string
	metrics []string

	st      *store.Store
	sources *store.Sources
}

// run finds out what the arguments are, and compares that.
func (c *comparer) run(command *cobra.Command, args []string) error {
	if c.json {
		c.format = "json"
	}
	print := map[string]func(*cobra.Command, []*comparedRuns) error{"text": compareText, "json": compareJSON, "markdown": compareMarkdown, "csv": compareCSV}[c.format]
	if print == nil {
		return usage("--format %s: text, markdown, csv or json", c.format)
	}
	if err := c.check(); err != nil {
		return err
	}
	where := c.pipeline
	if last := len(args) - 1; last >= 0 && where == "" && isFolder(args[last]) && !(last > 0 && c.isStage(args[last])) {
		args, where = args[:last], args[last]
	}
	if where == "" {
		where = "."
	}
	var err error
	if c.st, err = c.openStore(); err != nil {
		return err
	}
	c.sources = c.st.Sources()
	ctx, stop := interruptible()
	defer stop()
	graphs, invalid := c.graphs(where)
	stages := stagesNamed(graphs, args)
	var tables []*comparedRuns
	switch {
	case len(args) == 0 && invalid != nil:
		return invalid
	case len(args) == 0:
		tables, err = c.sweeps(graphs)
	case len(stages) == len(args):
		tables, err = c.stages(graphs, args)
	case len(stages) > 0:
		return usage("%s names a stage and %s does not: compare stages, or revisions", stages[0], other(args, stages))
	default:
		tables, err = c.revisions(ctx, where, args, graphs, invalid)
	}
	if err != nil {
		return err
	}
	if err := noMetric(tables, c.metrics); err != nil {
		return err
	}
	for _, t := range tables {
		t.choose(c.metrics)
	}
	return print(command, tables)
}

// isFolder says whether an argument is PATH: something that is there, or a pattern of folders.
func isFolder(arg string) bool {
	_, err := os.Stat(strings.SplitN(arg, ":", 2)[0])
	return err == nil || strings.HasSuffix(arg, "...") && (strings.HasPrefix(arg, ".") || strings.HasPrefix(arg, "/"))
}

// graphs are the pipelines of PATH.
func (c *comparer) graphs(where string) (graphs []*pipelines.Graph, err error) {
	if !strings.HasSuffix(where, "...") {
		g, err := c.graph([]string{where})
		if err != nil {
			return nil, err
		}
		return []*pipelines.Graph{g}, nil
	}
	all, err := evaluate(where, pipelines.Options{Tags: c.tags})
	if err != nil {
		return nil, err
	}
	if len(all.Errors) > 0 {
		return nil, all.Errors
	}
	return all.Graphs, nil
}

// stagesNamed is the arguments that name stages of one of the pipelines, as a whole or by a pattern.
func stagesNamed(graphs []*pipelines.Graph, args []string) (found []string) {
	for _, arg := range args {
		if slices.ContainsFunc(graphs, func(g *pipelines.Graph) bool { return len(matching(g, arg)) > 0 }) {
			found = append(found, arg)
		}
	}
	return found
}

// matching is the pipeline's stages that an argument names.
func matching(g *pipelines.Graph, arg string) (found []*pipelines.Stage) {
	if s := g.Stage(arg); s != nil {
		return []*pipelines.Stage{s}
	}
	for _, s := range g.Stages {
		if ok, err := path.Match(arg, s.Name); err == nil && ok && !s.Internal {
			found = append(found, s)
		}
	}
	return found
}

func other(args, but []string) string {
	i := slices.IndexFunc(args, func(arg string) bool { return !slices.Contains(but, arg) })
	return args[i]
}

// planned is a pipeline with what is known of it, a column or the home of several.
type planned struct {
	name string // of the column
	*pipelines.Graph
	plan *runner.Plan
}

func (c *comparer) planOf(name string, g *pipelines.Graph) (*planned, error) {
	r, err := c.runnerOf(g, c.st, runner.Options{Sources: c.sources})
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan()
	return &planned{name, g, plan}, err
}

// stages compares stages of each pipeline, in the order in which they are named; those of a pattern by what differs.
func (c *comparer) stages(graphs []*pipelines.Graph, args []string) (tables []*comparedRuns, err error) {
	for _, g := range graphs {
		var stages []*pipelines.Stage
		pattern := false
		for _, arg := range args {
			pattern = pattern || g.Stage(arg) == nil
			for _, s := range matching(g, arg) {
				if !slices.Contains(stages, s) {
					stages = append(stages, s)
				}
			}
		}
		if len(stages) == 0 {
			continue // another of ./... has them
		}
		t, err := c.sideBySide(g, stages, pattern)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// sweeps compares the stages of each pipeline that differ in a few fields.
func (c *comparer) sweeps(graphs []*pipelines.Graph) (tables []*comparedRuns, err error) {
	for _, g := range graphs {
		for _, stages := range sweeps(g) {
			t, err := c.sideBySide(g, stages, true)
			if err != nil {
				return nil, err
			}
			tables = append(tables, t)
		}
	}
	if tables == nil {
		return nil, usage("no sweep: no two stages of one kind differ in a few fields\nhone compare STAGE… compares those that you name, hone compare REV… revisions")
	}
	return tables, nil
}

// revisions compares the pipelines of PATH in git revisions.
func (c *comparer) revisions(ctx context.Context, where string, args []string, graphs []*pipelines.Graph, invalid error) ([]*comparedRuns, error) {
	var wrong pipelines.Errors
	repo, err := git.Open(ctx, ".")
	if errors.Is(err, git.ErrNone) && errors.As(invalid, &wrong) {
		return nil, wrong // the stages may be there
	}
	if errors.Is(err, git.ErrNone) {
		return nil, usage("%s: no such stage%s, and %w", args[0], c.suggest(graphs, args[0]), git.ErrNone)
	} else if err != nil {
		return nil, err
	}
	names, commits, err := columns(ctx, repo, args)
	if err != nil && errors.As(invalid, &wrong) && ctx.Err() == nil {
		return nil, wrong
	}
	if none, ok := errors.AsType[*git.UnknownRevisionError](err); ok {
		text := fmt.Sprintf("%s: no such revision, and no stage is called so%s\n%s", none.Revision, c.suggest(graphs, none.Revision), none.Next)
		return nil, usage("%s", strings.TrimSpace(text))
	} else if err != nil {
		return nil, err
	}
	in, below, err := placeIn(repo.Root, where)
	if err != nil {
		return nil, err
	}
	wanted := func(p string) bool { return p == in || below && isIn(in, p) }
	var sides []*side
	for _, commit := range commits {
		if commit == "" && invalid != nil {
			return nil, invalid
		}
		s, drop, err := c.side(ctx, repo, commit, nil)
		if err != nil {
			return nil, err
		}
		defer drop()
		if bad := s.errors(wanted); len(bad) > 0 {
			return nil, bad
		}
		sides = append(sides, s)
	}
	var tables []*comparedRuns
	for _, columns := range aligned(sides, wanted) {
		t := &comparedRuns{}
		for i, l := range columns {
			if l == nil {
				t.Runs = append(t.Runs, &comparedRun{Name: names[i], Commit: commits[i]})
				continue
			}
			p, err := c.planOf(names[i], l.Graph)
			if err != nil {
				return nil, err
			}
			t.Pipeline, t.Path = l.Name, l.path
			t.Runs = append(t.Runs, &comparedRun{Name: names[i], Commit: commits[i], of: p})
		}
		if err := c.wholePipelines(t); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	if tables == nil {
		return nil, usage("no pipeline in %s in these revisions; ./... compares all below", where)
	}
	return tables, nil
}

// suggest is the stage that a name was probably meant to be.
func (c *comparer) suggest(graphs []*pipelines.Graph, name string) string {
	var names []string
	for _, g := range graphs {
		for _, s := range g.Stages {
			if !s.Internal {
				names = append(names, s.Name)
			}
		}
	}
	if meant := near.Name(name, names); meant != "" {
		return fmt.Sprintf(" (did you mean %s?)", meant)
	}
	return ""
}

// workTree is the column of the files as they are.
const workTree = "work tree"

// columns are the commits that arguments name, A..B both; one is compared with the work tree, whose commit is empty.
func columns(ctx context.Context, repo *git.Repository, args []string) (names, commits []string, err error) {
	if len(args) == 1 {
		base, head, err := revisions(ctx, repo, args)
		if err != nil {
			return nil, nil, err
		}
		from, to, ranged := strings.Cut(args[0], "..")
		if !ranged {
			return []string{args[0], workTree}, []string{base, head}, nil
		}
		if to, parted := strings.CutPrefix(to, "."); parted { // A...B begins where the two parted
			return []string{base[:12], cmp.Or(to, "HEAD")}, []string{base, head}, nil
		}
		return []string{cmp.Or(from, "HEAD"), cmp.Or(to, "HEAD")}, []string{base, head}, nil
	}
	for _, arg := range args {
		commit, err := repo.Commit(ctx, arg)
		if err != nil {
			return nil, nil, usageUnless(ctx, err)
		}
		names, commits = append(names, arg), append(commits, commit)
	}
	return names, commits, nil
}

// placeIn is where PATH lies in the repository, and whether all below is meant.
func placeIn(root, where string) (in string, below bool, err error) {
	where, below = strings.CutSuffix(where, "...")
	where, _, _ = strings.Cut(where, ":")
	if where == "" {
		where = "."
	}
	abs, err := filepath.Abs(where)
	if err != nil {
		return "", false, err
	}
	gone := "" // in the work tree
	for real := abs; ; real = filepath.Dir(real) {
		if at, err := filepath.EvalSymlinks(real); err == nil {
			abs = filepath.Join(at, gone)
			break
		}
		gone = filepath.Join(filepath.Base(real), gone)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() || err != nil && filepath.Ext(abs) == ".cue" {
		abs = filepath.Dir(abs)
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || rel != "." && !filepath.IsLocal(rel) {
		return "", false, usage("%s is not in the repository %s", where, root)
	}
	return filepath.ToSlash(rel), below, nil
}

// aligned puts the pipelines of several sides together that lie in one place, else those of one name, by the last side that has them.
// An entry is nil where a side has no such pipeline.
func aligned(sides []*side, wanted func(path string) bool) (rows [][]*located) {
	taken := map[*located]bool{}
	for _, by := range slices.Backward(sides) {
		for _, l := range by.pipelines {
			if taken[l] || !wanted(l.path) {
				continue
			}
			row := make([]*located, len(sides))
			for i, s := range sides {
				free := func(same func(o *located) bool) *located {
					for _, o := range s.pipelines {
						if !taken[o] && same(o) {
							return o
						}
					}
					return nil
				}
				if row[i] = free(func(o *located) bool { return o.path == l.path && o.Package == l.Package }); row[i] == nil {
					row[i] = free(func(o *located) bool { return o.Name == l.Name })
				}
			}
			for _, l := range row {
				taken[l] = true
			}
			rows = append(rows, row)
		}
	}
	return rows
}
