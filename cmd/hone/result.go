package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// marks of how a stage ended.
var marks = map[runner.Status]string{
	runner.Reused: "=", runner.Ran: "✓", runner.Resumed: "✓", runner.Failed: "✗", runner.Skipped: "-",
}

// printResult says how a run ended: the stages, unless they were seen live, the tables of its evals, and a last line.
// A place is the store, said where the pipeline is new to it and the user did not name it.
func printResult(w io.Writer, st *store.Store, result *runner.Result, seen bool, place string) error {
	if err := printStages(w, result, seen); err != nil {
		return err
	}
	var evals []evaluated
	for _, s := range result.Stages {
		if s.Internal || s.Status == runner.Failed || s.Status == runner.Skipped {
			continue
		}
		found, err := reports(st, s.StagePlan, s.Artifacts)
		if err != nil {
			return err
		}
		evals = append(evals, found...)
	}
	if err := printReports(w, evals); err != nil {
		return err
	}
	count := map[string]int{}
	for _, s := range result.Stages {
		status, _ := ended(s)
		count[status]++
	}
	var said []string
	for _, status := range []string{"reused", "ran", "resumed", "failed", interrupted, "skipped"} {
		if count[status] > 0 {
			said = append(said, fmt.Sprintf("%d %s", count[status], status))
		}
	}
	last := fmt.Sprintf("\n%s: %s\n", result.Pipeline, strings.Join(said, ", "))
	if place != "" && count["reused"] == 0 {
		last += "kept in " + place + "\n"
	}
	_, err := fmt.Fprint(w, last)
	return err
}

// printStages is a line a stage, unless they were seen live.
func printStages(w io.Writer, result *runner.Result, seen bool) error {
	if seen {
		return nil
	}
	t := newTable(w)
	for _, s := range result.Stages {
		status, message := ended(s)
		first, more, _ := strings.Cut(printable(message), "\n")
		t.row(marks[s.Status]+" "+s.Name, s.Kind, status, seconds(s), first)
		t.below(more)
	}
	return t.flush()
}

const interrupted = "interrupted"

// ended is how a stage ended, in a word, and what is to be said of it.
func ended(s *runner.StageResult) (status, message string) {
	if s.Interrupted {
		return interrupted, strings.TrimLeft(strings.TrimPrefix(s.Error, interrupted), " ,")
	}
	if s.Status == runner.Reused && s.From != "" {
		return string(s.Status), from(s.StagePlan)
	}
	return string(s.Status), s.Error
}

func seconds(s *runner.StageResult) string {
	if s.Status == runner.Reused || s.Status == runner.Skipped {
		return ""
	}
	return duration(time.Duration(s.Seconds * float64(time.Second)))
}

// duration is short and steady in width: 0.4s, 12.3s, 4m05s, 2h03m.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// evaluated is a report that an eval made, with what its gate says.
type evaluated struct {
	*runner.StagePlan
	report *runner.Report
	gate   map[string]schemas.Gate
}

// reports are what a stage reports; none of another kind than an eval.
func reports(st *store.Store, s *runner.StagePlan, outputs runner.Outputs) (all []evaluated, err error) {
	if s.Kind != "eval" {
		return nil, nil
	}
	gate, err := runner.Gate(s.Stage)
	if err != nil {
		return nil, err
	}
	for _, port := range slices.Sorted(maps.Keys(outputs)) {
		out := outputs[port]
		if out.Kind != "report" {
			continue
		}
		report, err := runner.ReadReport(st.Tree(out.Hash))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		all = append(all, evaluated{s, report, gate})
	}
	return all, nil
}

// comparable says whether two evals measured the same: their suites, and by the same metrics.
func (e evaluated) comparable(o evaluated) bool {
	return maps.EqualFunc(e.report.Suites, o.report.Suites, func(a, b runner.Measure) bool { return a.Metric == b.Metric })
}

// row is a suite's line of a table: before, after and what the gate says.
func (e evaluated) row(suite string) string {
	after, before, verdict := e.report.Suites[suite], notThere, notThere
	if b, ok := e.report.Baseline[suite]; ok {
		before = measure(b)
	}
	if _, ok := e.gate[suite]; ok {
		verdict = "holds"
	}
	if slices.ContainsFunc(e.Failures, func(f runner.Failure) bool { return f.Suite == suite }) {
		verdict = "fails"
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s\t\n", suite, after.Metric, after.Rows, before, measure(after), verdict)
}

// printReports prints a table of each eval; those of a sweep, which measure the same, are one.
func printReports(w io.Writer, all []evaluated) error {
	for len(all) > 0 {
		var table, rest []evaluated
		for _, e := range all {
			if e.comparable(all[0]) {
				table = append(table, e)
			} else {
				rest = append(rest, e)
			}
		}
		all = rest
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
		head, name := table[0].Name, func(evaluated) string { return "" }
		if len(table) > 1 {
			head, name = "eval\tsuite", func(e evaluated) string { return e.Name + "\t" }
		}
		fmt.Fprintf(t, "\n%s\tmetric\trows\tbefore\tafter\tgate\t\n", head)
		for _, suite := range slices.Sorted(maps.Keys(table[0].report.Suites)) {
			for _, e := range table {
				fmt.Fprint(t, name(e)+e.row(suite))
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, e := range table {
			for _, f := range e.Failures {
				fmt.Fprintf(w, "the gate of %s fails: %s\n", e.Name, f)
			}
		}
	}
	return nil
}

func measure(m runner.Measure) string {
	if m.Metric == "perplexity" {
		return fmt.Sprintf("%.3f", m.Value)
	}
	return fmt.Sprintf("%.1f%%", 100*m.Value)
}
