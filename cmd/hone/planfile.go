package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/runner"
)

// planLimit is how large a plan's file may be; 10,000 stages make some 20 MB.
const planLimit = 256 << 20

// savePlan writes a plan to a file.
func (f *flags) savePlan(r *runner.Runner, plan *runner.Plan, file string) error {
	if filepath.Ext(file) == ".cue" {
		return usage("--out %s: a .cue file is a pipeline's", file)
	}
	if _, err := readPlan(file); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errPlan) {
		return usage("--out: %w; it stays as it is", err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	below, err := filepath.Rel(dir, r.Graph().Dir)
	if err != nil {
		return err
	}
	saved := &runner.Saved{
		Dir: filepath.ToSlash(below), Tags: f.tags, Only: f.stages, Device: f.device, Threads: f.threads, Numerics: f.numerics,
	}
	if err := r.Save(plan, saved); err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(saved); err != nil {
		return err
	}
	if err := atomicfile.Write(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// errPlan is of a file that is a plan, and cannot be carried out.
var errPlan = errors.New("hone plan --out makes a new one")

// readPlan reads a plan's file. What is no plan is an error of another kind than a plan of no use, which is an errPlan.
func readPlan(file string) (*runner.Saved, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s: a folder, and no plan", file)
	}
	b, err := bounded.ReadFile(file, planLimit)
	if err != nil {
		return nil, err
	}
	var head struct {
		Format *json.Number `json:"hone_plan"`
	}
	err = json.Unmarshal(b, &head)
	switch begun := bytes.Contains(b[:min(len(b), 100)], []byte(`"hone_plan":`)); {
	case err != nil && begun:
		return nil, fmt.Errorf("%s: a plan, but damaged: %w; %w", file, ordjson.Explain(b, err), errPlan)
	case err != nil || head.Format == nil:
		return nil, fmt.Errorf("%s: neither a CUE file nor a plan of hone plan --out", file)
	case head.Format.String() != fmt.Sprint(runner.SavedFormat):
		return nil, fmt.Errorf("%s: a plan of format %s, and this hone reads %d; %w", file, head.Format, runner.SavedFormat, errPlan)
	}
	saved := &runner.Saved{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(saved); err != nil {
		return nil, fmt.Errorf("%s: a plan, but damaged: %w; %w", file, ordjson.Explain(b, err), errPlan)
	}
	if !saved.Whole() {
		return nil, fmt.Errorf("%s: changed since hone plan wrote it; %w", file, errPlan)
	}
	return saved, nil
}

// savedPlan is the plan that run's argument names, with flags set as they were for it; nil where it names a pipeline.
func (f *flags) savedPlan(c *cobra.Command, args []string) (*runner.Saved, []string, error) {
	if len(args) == 0 || filepath.Ext(args[0]) == ".cue" {
		return nil, args, nil
	}
	file := args[0]
	if info, err := os.Stat(file); err != nil || info.IsDir() { // a folder, FOLDER:PACKAGE, or nothing at all
		return nil, args, nil //nolint:nilerr // it is a PATH, and its reading tells
	}
	saved, err := readPlan(file)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	for _, name := range []string{"tag", "device", "threads", "stage", "numerics", "force", "smoke"} {
		if c.Flags().Changed(name) {
			return nil, nil, usage("--%s: %s is a plan, which says that already", name, file)
		}
	}
	f.tags, f.stages, f.device, f.threads, f.numerics = saved.Tags, saved.Only, saved.Device, saved.Threads, saved.Numerics
	if f.store == "" {
		f.store = saved.Store
	}
	dir := filepath.Join(filepath.Dir(file), filepath.FromSlash(saved.Dir))
	return saved, []string{dir + ":" + saved.Package}, nil
}

// hold refuses a plan since which anything changed, and holds the run to it.
func hold(r *runner.Runner, saved *runner.Saved, file string) error {
	plan, err := r.Plan()
	if err != nil {
		return err
	}
	changes, err := r.Stale(saved, plan)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		r.Keep(saved)
		return nil
	}
	var b strings.Builder
	for _, c := range changes {
		line := fmt.Sprintf("%s: %v", c.Field, c.New)
		if !c.Says {
			line = fmt.Sprintf("%s: %s → %s", c.Field, brief(c.Old), brief(c.New))
		}
		if c.Pos != "" {
			line += "  " + c.Pos
		}
		fmt.Fprintf(&b, "\n  %s", printable(line))
	}
	return usage("%s is stale, and nothing was run. Since it was made:%s\n%w", file, b.String(), errPlan)
}
