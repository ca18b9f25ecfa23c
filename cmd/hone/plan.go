package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
)

func planCommand() *cobra.Command {
	var f flags
	var out string
	var code bool
	c := &cobra.Command{
		Use:   "plan [PATH]",
		Short: "each stage: reuse, run, resume or blocked, with the reason",
		Long: `plan says what run would do with each stage, and why:

  =  reuse    the store has what it would make
  +  run      not run before, or what changed since its last run
  >  resume   interrupted: it goes on from its checkpoint
  !  blocked  a gate fails, or the machine lacks something

Time, memory and disk are predicted, from records of the same kind and shape where
there are any, else from the model's arithmetic and what hone doctor --bench
measured of this machine; --json says what each figure stands on. HONE_PRICE
("2.50 USD/h"), or resources.price, adds money. docs/cost.md says how.

It executes nothing, and needs no network but that of --remote. A stage that cannot have the memory it takes, as hone vet
says, is exit code 3, here and of hone run.

--out writes the plan to a file, which hone run FILE carries out, or refuses where anything changed since: a field, a
source file, what the store has, hone itself. Only what the plan says is run.

With --exit-code the exit code is 1 where something would run or resume, else 4 or 6 where a gate or the machine blocks
a stage, else 0.`,
		Example: `  hone plan
  hone plan --out plan.json && hone run plan.json
  hone plan examples/sft --stage tune`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, _, err := f.runner(args, runner.Options{})
			if err != nil {
				return err
			}
			if err := r.Refuse(); err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			r.Predict(plan)
			if out != "" {
				if err := f.savePlan(r, plan, out); err != nil {
					return err
				}
			}
			place := ""
			if r.New() {
				place = f.found
			}
			if f.json {
				err = printJSON(c, plan)
			} else if err = printPlan(c.OutOrStdout(), plan, place); err == nil && out != "" {
				_, err = fmt.Fprintf(c.OutOrStdout(), "saved: hone run %s carries it out\n", word(out))
			}
			if err == nil && code && plan.Code() != 0 {
				err = &exit{code: plan.Code()}
			}
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the plan to `FILE`, for hone run FILE")
	c.Flags().BoolVar(&code, "exit-code", false, "exit with 1 where something would run")
	f.register(c, "json", "store", "tags", "device", "threads", "stage", "numerics", "remote", "records")
	return c
}

// symbols of actions, as they are printed.
var symbols = map[runner.Action]string{runner.Reuse: "=", runner.Run: "+", runner.Resume: ">", runner.Blocked: "!"}

// printPlan prints a line a stage, or a line a reason, and how many do what. A place is the store that has nothing of
// the pipeline, where that explains why all of it runs and the user did not name it.
func printPlan(w io.Writer, plan *runner.Plan, place string) error {
	count := map[runner.Action]int{}
	t := newTable(w)
	const between = 2
	before := 0 // columns of what stands before the reason
	for _, s := range plan.Stages {
		before = max(before, len([]rune(s.Name)))
	}
	kind, action, time := 0, 0, 0
	for _, s := range plan.Stages {
		kind, action, time = max(kind, len(s.Kind)), max(action, len(s.Action)), max(time, len(brevity(s)))
	}
	before += len("+ ") + kind + action + 3*between
	if time > 0 {
		before += time + between
	}
	for _, s := range plan.Stages {
		count[s.Action]++
		head := []string{symbols[s.Action] + " " + s.Name, s.Kind, string(s.Action)}
		if time > 0 {
			head = append(head, brevity(s))
		}
		t.reasons(head, reasons(s), width(w)-before)
	}
	if err := t.flush(); err != nil {
		return err
	}
	var said []string
	for _, a := range []runner.Action{runner.Reuse, runner.Run, runner.Resume, runner.Blocked} {
		if count[a] > 0 {
			said = append(said, fmt.Sprintf("%d %s", count[a], a))
		}
	}
	last := fmt.Sprintf("\n%s: %s\n", plan.Pipeline, strings.Join(said, ", "))
	if place != "" && count[runner.Reuse] == 0 {
		last += "no record of it in " + place + "\n"
	}
	if _, err := fmt.Fprint(w, last); err != nil {
		return err
	}
	return printCost(w, plan.Cost)
}

// reasons is why a stage's action is what it is, a line each.
func reasons(s *runner.StagePlan) []string {
	var lines []string
	for _, f := range s.Failures {
		lines = append(lines, "gate fails: "+f.String())
	}
	if s.From != "" {
		lines = append(lines, from(s))
	}
	for _, c := range s.Why {
		lines = append(lines, reason(s, c))
	}
	if s.Cost != nil && s.Cost.Warning != "" {
		lines = append(lines, s.Cost.Warning)
	}
	if s.Renamed != "" {
		lines = append(lines, fmt.Sprintf("(compared with %s, which the pipeline has no longer)", s.Renamed))
	}
	return lines
}

// from is where a reused stage's artifacts are, if not in the store.
func from(s *runner.StagePlan) string {
	return map[string]string{"remote": "from the remote", "records": "by its record"}[s.From]
}

func reason(s *runner.StagePlan, c runner.Change) string {
	switch {
	case c.Says:
		return printable(fmt.Sprint(c.New))
	case c.Field == "kind" && c.Old == nil && c.New == s.Kind:
		return "not run before"
	case c.From != "":
		return c.Field + " is not made yet: " + c.From
	case c.Old == nil && c.New == nil:
		return c.Field + " has no commit in hone.lock yet: hone run asks the hub"
	}
	line := fmt.Sprintf("%s %s → %s", c.Field, brief(c.Old), brief(c.New))
	if c.Pos != "" {
		line += "  " + c.Pos
	}
	return line
}

// brief shows a value in a line: hashes short, long text cut, what is not there as a dash.
func brief(v any) string {
	if v == nil {
		return "–"
	}
	text := plain(v)
	if isHex(text) {
		return text[:12]
	}
	if r := []rune(text); len(r) > 60 {
		text = string(r[:59]) + "…"
	}
	return strings.ReplaceAll(text, "\n", "⏎")
}

// plain is a value as it is: text itself, anything else as JSON.
func plain(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func isHex(s string) bool {
	return (len(s) == 64 || len(s) == 40) && strings.Trim(s, "0123456789abcdef") == ""
}
