package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
)

func logCommand() *cobra.Command {
	var f flags
	var chosen []string
	var folder bool
	c := &cobra.Command{
		Use:   "log STAGE [PATH]",
		Short: "the metrics that a stage logged, a line a step",
		Long: `log prints what a stage logged: of its current record, or of the attempt that is
under way, was interrupted or failed. A table shows the columns that say most
and fit the terminal, and names the others. Without metrics it prints what the
stage's program said. Messages come before, and the error of an attempt that
failed after. --dir prints the folder that all of it lies in, for TensorBoard:
tensorboard --logdir "$(hone log tune --dir)". --smoke shows what the stage logged
in the last hone run --smoke.

` + recordHelp,
		Example: `  hone log tune
  hone log tune examples/sft --columns loss,grad_norm
  hone log tune --smoke
  hone log tune --json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if f.json && len(chosen) > 0 {
				return usage("--columns and --json: one of them, since --json has all")
			}
			if folder && (f.json || len(chosen) > 0) {
				return usage("--dir: it prints a folder and no metrics")
			}
			path, err := f.path(args[1:])
			if err != nil {
				return err
			}
			dir, failed, err := f.logDir(args[0], path)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if folder {
				_, err := fmt.Fprintln(w, dir)
				return err
			}
			lines, err := jsonLinesOf(filepath.Join(dir, "metrics.jsonl"))
			if err != nil {
				return err
			}
			if f.json {
				for _, line := range lines {
					fmt.Fprintf(w, "%s\n", line)
				}
				return nil
			}
			said, err := printMessages(w, filepath.Join(dir, runner.MessagesFile))
			if err != nil {
				return err
			}
			if len(lines) > 0 {
				if err := printMetrics(w, lines, chosen); err != nil {
					return err
				}
			} else { // what the worker, or the program of an exec stage, has said
				for _, name := range []string{"stderr.txt", "program.out", "program.err"} {
					some, err := printText(w, filepath.Join(dir, name))
					if err != nil {
						return err
					}
					said = said || some
				}
			}
			switch {
			case failed != nil:
				_, err = fmt.Fprintf(w, "%s\n%s", failed.Next(), indented(printable(failed.Error)))
			case len(lines) == 0 && !said:
				_, err = fmt.Fprintf(c.ErrOrStderr(), "%s: no metrics, and nothing was said\n", args[0])
			}
			return err
		},
	}
	c.Flags().BoolVar(&folder, "dir", false, "print the folder of the log")
	c.Flags().BoolVar(&f.smoke, "smoke", false, "of the stage in hone run --smoke")
	c.Flags().StringSliceVar(&chosen, "columns", nil, "`NAMES` of the columns to show, a,b,c, or all")
	f.register(c, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	c.Flags().Lookup("json").Usage = "a JSON value a logged step, a line each"
	return c
}

// logDir is the folder of what a stage logged, or an earlier run, and the attempt whose log it is where that failed.
func (f *flags) logDir(name string, path []string) (dir string, failed *runner.Unfinished, err error) {
	rec, _, st, err := f.record(name, pipelineOf(path))
	if err != nil {
		return "", nil, err
	}
	if rec != nil {
		return st.LogDir(rec), nil, nil
	}
	r, _, err := f.runner(path, runner.Options{Stages: []string{name}, Smoke: f.smoke})
	if err != nil {
		return "", nil, err
	}
	plan, err := r.Plan()
	if err != nil {
		return "", nil, err
	}
	s := plan.Stage(name)
	if dir = r.LogDir(s); dir == "" {
		return "", nil, f.nothing(r, plan, s, "log")
	}
	if u := s.Unfinished; s.Record == nil && u != nil && u.Error != "" && !u.Now {
		failed = u
	}
	return dir, failed, nil
}

// printMessages prints what the worker told a run's user, marked as there.
func printMessages(w io.Writer, path string) (some bool, err error) {
	lines, err := jsonLinesOf(path)
	for _, line := range lines {
		var m runner.Message
		if json.Unmarshal(line, &m) == nil {
			fmt.Fprintln(w, marked(m.Level), printable(m.Message))
		}
	}
	return len(lines) > 0, err
}

// jsonLinesOf reads a file of JSON lines. A last line that is still being written is left out.
func jsonLinesOf(path string) ([]json.RawMessage, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []json.RawMessage
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if json.Valid(scan.Bytes()) {
			lines = append(lines, slices.Clone(scan.Bytes()))
		}
	}
	return lines, scan.Err()
}

// printMetrics prints a table, a line a step: of the chosen columns, else of those that fit, and then names the others.
func printMetrics(w io.Writer, lines []json.RawMessage, chosen []string) error {
	var names []string
	rows := make([]map[string]string, len(lines))
	for i, line := range lines {
		own, err := fields(line)
		if err != nil {
			return err
		}
		var values map[string]*float64
		if err := json.Unmarshal(line, &values); err != nil {
			return err
		}
		rows[i] = map[string]string{}
		for _, name := range own {
			rows[i][name] = cell(values[name])
			if name != "time" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	shown, left := byImportance(names), []string(nil)
	switch {
	case len(chosen) == 0:
		shown, left = fitting(names, rows, width(w))
	case !slices.Contains(chosen, "all"):
		for _, name := range chosen {
			if !slices.Contains(names, name) {
				return usage("--columns %s: no such column%s\n--columns all shows those that there are", name, pipelines.Suggest(name, names))
			}
		}
		shown = append([]string{"step"}, slices.DeleteFunc(slices.Clone(chosen), func(n string) bool { return n == "step" })...)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join(shown, "\t")+"\t")
	for _, row := range rows {
		for _, name := range shown {
			fmt.Fprint(t, cmp.Or(row[name], "–"), "\t")
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil || len(left) == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", wrapped("not shown: "+strings.Join(left, ", ")+" (--columns NAMES, or all)", width(w)-2, "  "))
	return err
}

// fitting parts names into those whose columns fit side by side and the others, the telling ones first.
func fitting(names []string, rows []map[string]string, columns int) (fit, left []string) {
	for _, name := range byImportance(names) {
		n := len(name)
		for _, row := range rows {
			n = max(n, len([]rune(row[name])))
		}
		if n += 2; n > columns && len(fit) > 0 {
			left = append(left, name)
			continue
		}
		fit, columns = append(fit, name), columns-n
	}
	return fit, left
}

func cell(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v == float64(int64(*v)):
		return fmt.Sprint(int64(*v))
	}
	return fmt.Sprintf("%.5g", *v)
}

// fields names the keys of a JSON object in the order in which they stand.
func fields(object []byte) ([]string, error) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var names []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprint(name))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// printText prints what a program wrote, which must not steer the terminal, and says whether it wrote anything.
func printText(w io.Writer, path string) (some bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if _, err := fmt.Fprint(w, printable(strings.ReplaceAll(line, "\r\n", "\n"))); err != nil {
			return some, err
		}
		some = some || line != ""
		if err == io.EOF {
			return some, nil
		} else if err != nil {
			return some, err
		}
	}
}
