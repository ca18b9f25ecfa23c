package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

const (
	samplesShown = 3   // answers of a suite
	sampleWidth  = 300 // characters of one
)

func showCommand() *cobra.Command {
	f := flags{whole: true}
	var p provenanceFlags
	var all bool
	c := &cobra.Command{
		Use:   "show [STAGE [PATH]]",
		Short: "what the stages gave: the pipeline's, or one stage's record",
		Long: "show prints what the stages gave: a line each, or all of one stage's record.\n\n" + recordHelp + `

--provenance prints what STAGE (or STAGE.PORT) was made of instead, drawn from the records: in-toto statements with SLSA
provenance, a line a run, a CycloneDX bill of materials, or a model card. ` + signHelp,
		Example: `  hone show
  hone show score examples/sft
  hone show 3f2c81d0a9b4
  hone show tune --json
  hone show tune --provenance --format cyclonedx

  hone show --records > records.jsonl`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if all {
				return f.showRecords(c, args)
			}
			var opts runner.Options
			rest := args
			if len(args) > 0 {
				opts.Stages, rest = args[:1], args[1:]
			}
			path, err := f.path(rest)
			if err != nil {
				return err
			}
			if err := p.check(c, &f, args); err != nil {
				return err
			}
			if p.on {
				return p.print(c, &f, args[0], path)
			}
			if len(args) > 0 {
				rec, _, st, err := f.record(args[0], pipelineOf(path))
				if err != nil {
					return err
				}
				if rec != nil {
					return f.printRecord(c, st, recorded(rec))
				}
			}
			r, st, err := f.runner(path, opts)
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				known := slices.ContainsFunc(plan.Stages, func(s *runner.StagePlan) bool { return s.Record != nil }) // a moved folder's too
				if err := showAll(c, &f, plan); err != nil || f.json || f.found == "" || known || !r.New() {
					return err
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "\n%s: no record of it\nlooked in %s\n", plan.Pipeline, f.found)
				return err
			}
			s := plan.Stage(args[0])
			if s.Record == nil {
				return f.nothing(r, plan, s, "record")
			}
			if err := f.printRecord(c, st, s); err != nil || f.json {
				return err
			}
			if others := earlier(r, s); others != "" {
				_, err = fmt.Fprint(c.OutOrStdout(), "\n"+others)
			}
			return err
		},
	}
	f.register(c, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	p.register(c)
	c.Flags().BoolVar(&all, "records", false, "all records of the store, or of the pipeline at PATH, as a file that --records of plan and diff reads")
	return c
}

// showRecords writes the file of records.
func (f *flags) showRecords(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("show --records has one argument, the pipeline's PATH")
	}
	path, err := f.path(args)
	if err != nil {
		return err
	}
	if len(path) > 0 {
		r, _, err := f.runner(path, runner.Options{})
		if err != nil {
			return err
		}
		records, err := r.AllRecords()
		if err != nil {
			return err
		}
		return runner.WriteRecords(c.OutOrStdout(), version(), records)
	}
	st, err := f.openStore()
	if err != nil {
		return err
	}
	records, err := st.AllRecords()
	if err != nil {
		return err
	}
	return runner.WriteRecords(c.OutOrStdout(), version(), records)
}

func (f *flags) printRecord(c *cobra.Command, st *store.Store, s *runner.StagePlan) error {
	if f.json {
		return printJSON(c, shown{s, s.Record, folders(st, s.Record), st.LogDir(s.Record)})
	}
	return showStage(c.OutOrStdout(), st, s)
}

// shown is a stage with its record, as --json prints it.
type shown struct {
	*runner.StagePlan
	Record *store.Record     `json:"record"`
	Paths  map[string]string `json:"paths,omitempty"`
	Log    string            `json:"log,omitempty"` // the folder of its log
}

func folders(st *store.Store, r *store.Record) map[string]string {
	paths := map[string]string{}
	for port, out := range r.Outputs {
		paths[port] = st.Tree(out.Hash)
	}
	return paths
}

// showAll lists the stages with what their records say.
func showAll(c *cobra.Command, f *flags, plan *runner.Plan) error {
	if f.json {
		all := make([]shown, len(plan.Stages))
		for i, s := range plan.Stages {
			all[i] = shown{StagePlan: s, Record: s.Record}
		}
		return printJSON(c, map[string]any{"pipeline": plan.Pipeline, "stages": all})
	}
	t := newTable(c.OutOrStdout())
	t.row("STAGE", "KIND", "RAN", "TOOK", "METRICS")
	name, kind := len("STAGE"), len("KIND")
	for _, s := range plan.Stages {
		name, kind = max(name, len([]rune(s.Name))), max(kind, len(s.Kind))
	}
	room := width(c.OutOrStdout()) - name - kind - len(dayAndTime) - len("12m34s") - 4*2
	for _, s := range plan.Stages {
		if s.Record == nil {
			said := "no current record"
			if s.Unfinished != nil {
				said = s.Unfinished.Next()
			}
			t.row(s.Name, s.Kind, said)
			continue
		}
		t.row(s.Name, s.Kind, s.Record.Started.Local().Format(dayAndTime),
			duration(time.Duration(s.Record.Seconds*float64(time.Second))), metricsLine(s.Record.Metrics, room))
	}
	return t.flush()
}

// dayAndTime is short enough for a table; a record has the whole.
const dayAndTime = "Jan 02 15:04"

// metricsLine is the most telling metrics of a stage, as many as there is room for: one in any case, four at most.
func metricsLine(metrics map[string]float64, columns int) string {
	line := ""
	for i, name := range byImportance(slices.Sorted(maps.Keys(metrics))) {
		next := fmt.Sprintf("%s %.4g", strings.TrimPrefix(name, "rewards/"), metrics[name])
		if i > 0 && (i == 4 || len([]rune(line+next))+len(", , …") > columns) {
			return line + ", …"
		}
		line = strings.TrimPrefix(line+", "+next, ", ")
	}
	return line
}

// showStage prints a stage's record, and of an eval its table and some answers.
func showStage(w io.Writer, st *store.Store, s *runner.StagePlan) error {
	r := s.Record
	t := newTable(w)
	line := func(name, format string, args ...any) { t.row(name, fmt.Sprintf(format, args...)) }
	line("stage", "%s (%s)", s.Name, s.Kind)
	if s.Stage.Description != "" {
		line("description", "%s", s.Stage.Description)
	}
	line("key", "%s", r.Key)
	line("ran", "%s, %s", r.Started.Local().Format("2006-01-02 15:04:05"), duration(time.Duration(r.Seconds*float64(time.Second))))
	if n := r.Numerics; n != nil {
		line("numerics", "%s", n)
	}
	for _, port := range slices.Sorted(maps.Keys(r.Outputs)) {
		line("out."+port, "%s", st.Tree(r.Outputs[port].Hash))
	}
	line("log", "%s", st.LogDir(r))
	for _, name := range byImportance(slices.Sorted(maps.Keys(r.Metrics))) {
		line(name, "%.6g", r.Metrics[name])
	}
	if err := t.flush(); err != nil {
		return err
	}
	evals, err := reports(st, s, r.Outputs)
	if err != nil {
		return err
	}
	if err := printReports(w, evals); err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(r.Outputs)) {
		if r.Outputs[port].Kind != "report" {
			continue
		}
		if err := printSamples(w, filepath.Join(st.Tree(r.Outputs[port].Hash), "samples")); err != nil {
			return err
		}
	}
	return nil
}

// printSamples shows the first answers of each suite in a report's samples folder.
func printSamples(w io.Writer, dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range files {
		suite, ok := strings.CutSuffix(file.Name(), ".jsonl")
		if !ok {
			continue
		}
		f, err := os.Open(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		defer f.Close()
		d := json.NewDecoder(bufio.NewReader(f))
		for range samplesShown {
			var row struct {
				Prompt, Completion, Answer any
				Score                      *float64
			}
			if err := d.Decode(&row); err == io.EOF {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", f.Name(), err)
			}
			if row.Completion == nil { // a perplexity: there is no answer to show
				break
			}
			fmt.Fprintf(w, "\n%s", suite)
			if row.Score != nil {
				fmt.Fprintf(w, ", score %.3g", *row.Score)
			}
			fmt.Fprintf(w, "\n  prompt  %s\n  said    %s\n", sample(row.Prompt), sample(row.Completion))
			if row.Answer != nil {
				fmt.Fprintf(w, "  answer  %s\n", sample(row.Answer))
			}
		}
	}
	return nil
}

// sample shows text, or a prompt of messages by its last turn, in few lines.
func sample(v any) string {
	if turns, ok := v.([]any); ok && len(turns) > 0 {
		if last, ok := turns[len(turns)-1].(map[string]any); ok {
			v = last["content"]
		}
	}
	text, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v)
		text = string(b)
	}
	if r := []rune(text); len(r) > sampleWidth {
		text = string(r[:sampleWidth]) + "…"
	}
	return strings.ReplaceAll(strings.TrimSpace(printable(text)), "\n", "\n          ")
}

// onLine is text on one line.
func onLine(text string) string { return strings.ReplaceAll(printable(text), "\n", "⏎") }

// printable keeps what a model wrote from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}
