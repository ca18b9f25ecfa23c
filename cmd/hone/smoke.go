package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// printSmoke says how a smoke ended: the stages, unless they were seen live, and a last line. The reports of its evals are read,
// as those of a run are, and not shown: what a model scores after two steps says nothing. The log of a stage that failed is where no
// other verb looks, so its command is said.
func (f *flags) printSmoke(w io.Writer, st *store.Store, result *runner.Result, seen bool, took time.Duration) error {
	if err := printStages(w, result, seen); err != nil {
		return err
	}
	passed := 0
	others := map[string]int{}
	for _, s := range result.Stages {
		switch status, _ := ended(s); s.Status {
		case runner.Failed, runner.Skipped:
			others[status]++
		default:
			if _, err := reports(st, s.StagePlan, s.Artifacts); err != nil {
				return err
			}
			passed++
		}
	}
	said := []string{count(passed, "stage") + " passed"}
	for _, status := range []string{"failed", interrupted, "skipped"} {
		if others[status] > 0 {
			said = append(said, fmt.Sprintf("%d %s", others[status], status))
		}
	}
	fmt.Fprintf(w, "\nsmoke: %s in %s; nothing of it counts as a run\n", strings.Join(said, ", "), duration(took))
	for _, s := range result.Stages {
		if s.Status == runner.Failed {
			fmt.Fprintf(w, "the log of %s: %s\n", s.Name, f.line("log "+s.Name))
		}
	}
	return nil
}
