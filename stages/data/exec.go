package data

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/program"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// execute is exec: a fresh folder with in/NAME, files and out/PORT, the user's program in it, and what the program
// left in out/PORT as artifacts. Its output goes to log/program.out and log/program.err. The working folder stays for
// the runner, which removes it with the job's: until then it can see that the disk is full.
//
// The program is not confined: it can read what the user can read, and use the network. What it reads besides its
// inputs and files is not in the stage's key.
func execute(ctx context.Context, j *stages.Job) error {
	var c schemas.Exec
	if err := j.Decode(&c); err != nil {
		return err
	}
	work := filepath.Join(j.Dir, "work")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := furnish(j, &c, work); err != nil {
		return err
	}
	cmd, err := program.Command(c.Command, work, program.Environment(j.Threads, c.Env))
	if err != nil {
		return stages.Errorf("command", "%w", err)
	}
	if err := runProgram(ctx, j, cmd); err != nil {
		return err
	}
	for _, port := range sorted(c.Ports) {
		if err := collect(ctx, j, port, c.Ports[port].Kind, filepath.Join(work, "out", port)); err != nil {
			return err
		}
	}
	return nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// furnish makes the working folder. Files are copies, so that a program cannot change the user's own, and so that a
// script finds its neighbours here, not where it came from. An adapter's base model is in/NAME.base.
func furnish(j *stages.Job, c *schemas.Exec, work string) error {
	for _, dir := range []string{"in", "out"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range sorted(c.Inputs) {
		in := j.In("inputs." + name)
		if err := os.Symlink(in.Path, filepath.Join(work, "in", name)); err != nil {
			return err
		}
		if in.Base != nil {
			if err := os.Symlink(in.Base.Path, filepath.Join(work, "in", name+".base")); err != nil {
				return err
			}
		}
	}
	file := func(i int) string { return j.File(fmt.Sprintf("files[%d]", i)) }
	if err := program.CopyFiles(work, c.Files, file, "in", "out"); err != nil {
		return err
	}
	for port := range c.Ports {
		if err := os.Mkdir(filepath.Join(work, "out", port), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func runProgram(ctx context.Context, j *stages.Job, cmd *exec.Cmd) error {
	stdout, err := os.Create(filepath.Join(j.Job.Log, "program.out"))
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(j.Job.Log, "program.err"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = program.Run(ctx, cmd)
	j.Ran(cmd.ProcessState)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	}
	last := program.Tail(stderr.Name())
	if last == "" {
		last = program.Tail(stdout.Name())
	}
	return stages.Errorf("command", "%w", program.Failure(cmd, err, last))
}

// collect moves what the program left for a port into the port's folder and checks that it is of its kind. Rows in
// any format that data.load reads become a dataset.
func collect(ctx context.Context, j *stages.Job, port, kind, from string) error {
	path := "out/" + port
	entries, err := os.ReadDir(from)
	if err != nil {
		return stages.Errorf(path, "the program took the folder away")
	}
	if len(entries) == 0 {
		return stages.Errorf(path, "the program wrote nothing there")
	}
	_, noHeader := os.Stat(filepath.Join(from, "dataset.json"))
	if kind == "dataset" && noHeader != nil {
		return loadSource(ctx, j, &dataset.Source{Path: from, Name: path, Warn: j.Warn}, nil, port)
	}
	if err := program.MoveTree(from, j.Out(port)); err != nil {
		return stages.Errorf(path, "%w", err)
	}
	switch kind {
	case "dataset":
		d, err := dataset.Open(j.Out(port))
		if err != nil {
			return stages.Errorf(path, "%w", err)
		}
		d.Close()
	case "model":
		return wantJSON(path, filepath.Join(j.Out(port), "config.json"))
	case "report":
		return wantJSON(path, filepath.Join(j.Out(port), "report.json"))
	}
	return nil
}

func wantJSON(path, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return stages.Errorf(path, "no %s", filepath.Base(file))
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return stages.Errorf(path+"/"+filepath.Base(file), "%w", ordjson.Explain(b, err))
	}
	return nil
}
