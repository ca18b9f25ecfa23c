package main

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

// comparedRuns is a table, as --format json prints it.
type comparedRuns struct {
	Pipeline   string            `json:"pipeline"`
	Path       string            `json:"path"` // of its folder
	Runs       []*comparedRun    `json:"runs"`
	Parameters []string          `json:"parameters"` // those that differ, in order
	Metrics    []string          `json:"metrics"`    // those that are shown, in order
	Best       map[string]string `json:"best"`       // by metric: the run whose interval overlaps no other's
	Unlike     []string          `json:"unlike"`     // metrics that are not of the same rows, grader and settings in all runs
}

// comparedRun is a column: a stage, or a pipeline in a revision.
type comparedRun struct {
	Name       string                     `json:"name"`
	Commit     string                     `json:"commit,omitempty"` // of a revision
	Action     *runner.Action             `json:"action"`           // of a stage; null of a revision
	Parameters map[string]any             `json:"parameters"`       // by name; what it has no such field of is not there
	Metrics    map[string]*comparedMetric `json:"metrics"`          // all that there are

	of *planned // nil where the revision has no such pipeline
}

// comparedMetric is a metric of a run.
type comparedMetric struct {
	Stage  string        `json:"stage"`            // that measured it
	Action runner.Action `json:"action"`           // of that stage
	Better string        `json:"better,omitempty"` // higher or lower, where that is known
	Value  *float64      `json:"value"`            // null where the stage has not run
	Low    *float64      `json:"low"`              // the 95% interval; null where the rows do not tell one
	High   *float64      `json:"high"`
	Rows   int64         `json:"rows,omitempty"` // that were measured

	kind  string // score or perplexity of an eval; empty of a stage's own
	shown bool   // without being asked for
	alike string // the same where it was measured by the same rows, grader and settings
}

// sideBySide compares stages of one pipeline. Sorted are those that no one put in an order.
func (c *comparer) sideBySide(g *pipelines.Graph, stages []*pipelines.Stage, sorted bool) (*comparedRuns, error) {
	p, err := c.planOf("", g)
	if err != nil {
		return nil, err
	}
	t := &comparedRuns{Pipeline: g.Name, Path: relative(g.Dir)}
	for _, s := range stages {
		t.Runs = append(t.Runs, &comparedRun{Name: s.Name, Action: &p.plan.Stage(s.Name).Action, of: p, Parameters: map[string]any{}})
	}
	c.differing(t, "", stages, map[string]bool{})
	shared := common(stages)
	for i, s := range stages {
		if t.Runs[i].Metrics, err = c.ownMetrics(p.plan.Stage(s.Name)); err != nil {
			return nil, err
		}
		evals := evalsOf(g, s)
		names := suiteNames(evals, shared(s.Name))
		for _, e := range evals {
			all, err := c.suites(p.plan.Stage(e.Name))
			if err != nil {
				return nil, err
			}
			for suite, m := range all {
				t.Runs[i].Metrics[names(e, suite)] = m
			}
		}
	}
	if sorted {
		t.sort()
	}
	return t, nil
}

// wholePipelines compares what the runs' pipelines have of stages of one name: what differs, and the metrics of trainings and evals.
func (c *comparer) wholePipelines(t *comparedRuns) error {
	var names []string
	for _, r := range t.Runs {
		r.Parameters, r.Metrics = map[string]any{}, map[string]*comparedMetric{}
		if r.of == nil {
			continue
		}
		for _, s := range r.of.Stages {
			if !s.Internal && !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	for _, name := range names {
		stages := make([]*pipelines.Stage, len(t.Runs))
		for i, r := range t.Runs {
			if r.of != nil {
				stages[i] = r.of.Stage(name)
			}
		}
		c.differing(t, name+".", stages, nil)
		for i, s := range stages {
			if s == nil {
				continue
			}
			if s.Kind != "eval" && !slices.Contains(swept[0], s.Kind) {
				continue
			}
			all, err := c.ownMetrics(t.Runs[i].of.plan.Stage(name))
			if err != nil {
				return err
			}
			for metric, m := range all {
				t.Runs[i].Metrics[name+"."+metric] = m
			}
		}
	}
	return nil
}

// differing adds the parameters that differ between stages, one a run; nil where a run has none. With seen, edges that lead to
// different stages of one kind are followed, and what differs there is told in their place: the stages are of one graph.
func (c *comparer) differing(t *comparedRuns, prefix string, stages []*pipelines.Stage, seen map[string]bool) {
	var there []*pipelines.Stage
	kinds := map[string]bool{}
	for _, s := range stages {
		if s != nil {
			there = append(there, s)
			kinds[s.Kind] = true
		}
	}
	add := func(name string, value func(s *pipelines.Stage) any) {
		t.Parameters = append(t.Parameters, prefix+name)
		for i, s := range stages {
			if s != nil {
				if v := value(s); v != nil {
					t.Runs[i].Parameters[prefix+name] = v
				}
			}
		}
	}
	if len(there) < len(stages) || len(kinds) > 1 {
		add("kind", func(s *pipelines.Stage) any { return s.Kind })
		if len(there) < len(stages) {
			return // its fields tell nothing that the other has not
		}
	}
	var paths []string
	for _, s := range there {
		for _, f := range s.Fields {
			if !slices.Contains(paths, f.Path) && (len(kinds) == 1 || f.Explicit) {
				paths = append(paths, f.Path)
			}
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		values := make([]any, len(stages))
		differs := false
		for i, s := range stages {
			values[i] = c.valueOf(s, path)
			differs = differs || !reflect.DeepEqual(values[i], values[0])
		}
		if !differs || len(values) == 1 {
			continue
		}
		if ups := c.upstream(t, stages, path); ups != nil && seen != nil {
			key := path
			for _, s := range ups {
				key += " " + s.Name
			}
			if !seen[key] {
				seen[key] = true
				c.differing(t, prefix+path+".", ups, seen)
			}
			continue
		}
		add(path, func(s *pipelines.Stage) any { return c.valueOf(s, path) })
	}
}

// valueOf is a field's value: of a file whose name alone does not tell it, with the beginning of its hash.
func (c *comparer) valueOf(s *pipelines.Stage, path string) any {
	for _, source := range s.Sources {
		if source.Field != path || source.Hub != "" {
			continue
		}
		if hash := (&content{sources: c.sources}).of(source); hash != "" {
			return fmt.Sprintf("%s (%.8s)", source.Written, hash)
		}
		return source.Written
	}
	for _, f := range s.Fields {
		if f.Path == path {
			return f.Value
		}
	}
	return nil
}

// upstream is the stages that an edge leads to, one a run, where all are there, of one kind and port, and not hone's own.
func (c *comparer) upstream(t *comparedRuns, stages []*pipelines.Stage, path string) (ups []*pipelines.Stage) {
	port := ""
	for i, s := range stages {
		j := slices.IndexFunc(s.Inputs, func(in pipelines.Input) bool { return in.Field == path })
		if j < 0 || t.Runs[i].of == nil {
			return nil
		}
		edge := s.Inputs[j].Edge
		up := t.Runs[i].of.Stage(edge.From)
		if up == nil || up.Internal || i > 0 && (up.Kind != ups[0].Kind || edge.Port != port) {
			return nil
		}
		ups, port = append(ups, up), edge.Port
	}
	return ups
}

// learning is the metrics of a training that are shown without being asked for; its others, under what hone show calls them, are
// shown by --metric.
var learning = []string{"loss", "eval_loss", "reward", "eval_reward", "rewards/accuracies"}

// ownMetrics is what a stage's record says of it; of an eval, what it measured.
func (c *comparer) ownMetrics(s *runner.StagePlan) (map[string]*comparedMetric, error) {
	if s.Kind == "eval" {
		return c.suites(s)
	}
	all := map[string]*comparedMetric{}
	trains := slices.Contains(swept[0], s.Kind)
	switch {
	case s.Record == nil && trains:
		all["loss"] = &comparedMetric{Stage: s.Name, Action: s.Action, shown: true}
	case s.Record != nil:
		for name, value := range s.Record.Metrics {
			all[name] = &comparedMetric{Stage: s.Name, Action: s.Action, Value: &value, shown: !trains || slices.Contains(learning, name)}
		}
		all["seconds"] = &comparedMetric{Stage: s.Name, Action: s.Action, Value: &s.Record.Seconds}
	}
	return all, nil
}

// evalsOf is the evals that read a stage's model: as it is, merged, exported, or with another template.
func evalsOf(g *pipelines.Graph, s *pipelines.Stage) (evals []*pipelines.Stage) {
	from := map[string]bool{s.Name: true}
	for _, next := range g.Stages { // topological
		for _, in := range next.Inputs {
			if !from[in.Edge.From] || in.Edge.Kind != "model" && in.Edge.Kind != "adapter" && in.Edge.Kind != "files" {
				continue
			}
			switch next.Kind {
			case "eval":
				if in.Field == "model" && !next.Internal && !slices.Contains(evals, next) {
					evals = append(evals, next)
				}
			case "model.merge", "template.set", "export":
				from[next.Name] = true
			}
		}
	}
	return evals
}

// common tells of names what is their own: between what all begin and what all end with.
func common(stages []*pipelines.Stage) func(name string) string {
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = s.Name
	}
	first := slices.MinFunc(names, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	begin, end := len(first), len(first)
	for _, name := range names {
		for !strings.HasPrefix(name, first[:begin]) {
			begin--
		}
	}
	for _, name := range names {
		for end = min(end, len(first)-begin); !strings.HasSuffix(name, first[len(first)-end:]); {
			end--
		}
	}
	return func(name string) string {
		if len(names) == 1 {
			return ""
		}
		return name[begin : len(name)-end]
	}
}

// suiteNames tells what a suite is called: its own name, behind its eval's where another eval of the run has one of that name. What
// is the run's own in the eval's name is *, so that it is called the same in all runs.
func suiteNames(evals []*pipelines.Stage, own string) func(e *pipelines.Stage, suite string) string {
	count := map[string]int{}
	for _, e := range evals {
		for _, f := range suitesOf(e) {
			count[f]++
		}
	}
	return func(e *pipelines.Stage, suite string) string {
		if count[suite] < 2 {
			return suite
		}
		name := e.Name
		if own != "" {
			name = strings.ReplaceAll(name, own, "*")
		}
		return name + "." + suite
	}
}

// shownMetrics is the names of the metrics to show, in order: what stages say of themselves, the most telling first, then evals' by name.
func (t *comparedRuns) shownMetrics(wanted func(name string, m *comparedMetric) bool) []string {
	own, evals := map[string]bool{}, map[string]bool{}
	for _, r := range t.Runs {
		for name, m := range r.Metrics {
			if !wanted(name, m) {
				continue
			}
			if m.kind == "" {
				own[name] = true
			} else {
				evals[name] = true
			}
		}
	}
	return append(byImportance(slices.Sorted(maps.Keys(own))), slices.Sorted(maps.Keys(evals))...)
}

// called says whether a metric is meant by a name: its own, or without the stage before it.
func called(metric, name string) bool { return metric == name || strings.HasSuffix(metric, "."+name) }

// noMetric is an error where no table has a metric of one of the names.
func noMetric(tables []*comparedRuns, names []string) error {
	var all []string
	for _, t := range tables {
		all = append(all, t.shownMetrics(func(string, *comparedMetric) bool { return true })...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, name := range names {
		if !slices.ContainsFunc(all, func(metric string) bool { return called(metric, name) }) {
			return usage("--metric %s: no such metric%s", name, pipelines.Suggest(name, all))
		}
	}
	return nil
}

// choose sets the metrics that are shown, all of the usual where none is named, and which run is best in each.
func (t *comparedRuns) choose(names []string) {
	t.Metrics = t.shownMetrics(func(metric string, m *comparedMetric) bool {
		return len(names) == 0 && m.shown || slices.ContainsFunc(names, func(name string) bool { return called(metric, name) })
	})
	t.Best, t.Unlike = map[string]string{}, []string{}
	if t.Parameters == nil {
		t.Parameters = []string{}
	}
	if t.Metrics == nil {
		t.Metrics = []string{}
	}
	for _, name := range t.Metrics {
		if !t.measuredAlike(name) {
			t.Unlike = append(t.Unlike, name)
		} else if best := t.best(name); best != "" {
			t.Best[name] = best
		}
	}
}

// measuredAlike says whether all runs were measured on the same rows, by the same grader and settings.
func (t *comparedRuns) measuredAlike(metric string) bool {
	by := ""
	for _, r := range t.Runs {
		if m := r.Metrics[metric]; m != nil && m.Value != nil {
			if by != "" && m.alike != by {
				return false
			}
			by = m.alike
		}
	}
	return true
}

// best is the run that is better than each other one by more than their intervals; empty where there is none, or it is not known which
// way is better.
func (t *comparedRuns) best(metric string) string {
	var best *comparedRun
	measured := 0
	for _, r := range t.Runs {
		m := r.Metrics[metric]
		if m == nil || m.Value == nil {
			continue
		}
		if m.Better == "" || m.Low == nil {
			return ""
		}
		measured++
		if best == nil || (m.Better == "higher") == (*m.Value > *best.Metrics[metric].Value) {
			best = r
		}
	}
	if measured < 2 {
		return ""
	}
	b := best.Metrics[metric]
	for _, r := range t.Runs {
		if m := r.Metrics[metric]; r != best && m != nil && m.Value != nil && *m.Low <= *b.High && *b.Low <= *m.High {
			return ""
		}
	}
	return best.Name
}

// sort puts runs in the order of their parameters, the first that differs first; numbers as numbers.
func (t *comparedRuns) sort() {
	slices.SortStableFunc(t.Runs, func(a, b *comparedRun) int {
		for _, name := range t.Parameters {
			x, y := a.Parameters[name], b.Parameters[name]
			order := cmp.Compare(plain(x), plain(y))
			n, noN := strconv.ParseFloat(plain(x), 64)
			m, noM := strconv.ParseFloat(plain(y), 64)
			if noN == nil && noM == nil {
				order = cmp.Compare(n, m)
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
}
