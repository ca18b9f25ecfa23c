package main

import (
	"bufio"
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

	"github.com/hone-ml/hone/runner"
)

func logCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "log STAGE [PATH]",
		Short: "the metrics that a stage logged, of its current record or of the attempt under way",
		Example: `  hone log tune
  hone log tune examples/sft --json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path(args[1:])
			if err != nil {
				return err
			}
			r, _, err := f.runner(path, runner.Options{Stages: args[:1]})
			if err != nil {
				return err
			}
			plan, err := r.Plan()
			if err != nil {
				return err
			}
			s := plan.Stage(args[0])
			dir := r.LogDir(s)
			if dir == "" {
				return f.nothing(r, s, "log")
			}
			lines, err := metrics(filepath.Join(dir, "metrics.jsonl"))
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			switch {
			case f.json:
				for _, line := range lines {
					fmt.Fprintf(w, "%s\n", line)
				}
				return nil
			case len(lines) > 0:
				return printMetrics(w, lines)
			}
			// No metrics: what the worker, or the program of an exec stage, has said.
			for _, name := range []string{"stderr.txt", "program.out", "program.err"} {
				if err := printText(w, filepath.Join(dir, name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(c, "json", "pipeline", "store", "tags", "device", "threads", "numerics")
	return c
}

// metrics reads the lines of metrics.jsonl. A last line that is still being written is left out.
func metrics(path string) ([]json.RawMessage, error) {
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

// printMetrics prints a table, a line a step; the columns are those of the first line, the time left out.
func printMetrics(w io.Writer, lines []json.RawMessage) error {
	names, err := fields(lines[0])
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "time" })
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join(names, "\t")+"\t")
	for _, line := range lines {
		var values map[string]*float64
		if err := json.Unmarshal(line, &values); err != nil {
			return err
		}
		for _, name := range names {
			switch v := values[name]; {
			case v == nil:
				fmt.Fprint(t, "–\t")
			case *v == float64(int64(*v)):
				fmt.Fprintf(t, "%d\t", int64(*v))
			default:
				fmt.Fprintf(t, "%.5g\t", *v)
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
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

func printText(w io.Writer, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
