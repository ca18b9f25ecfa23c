package data

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// termGrace is how long a cancelled program has between SIGTERM and SIGKILL.
const termGrace = 5 * time.Second

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
	env := environment(j, &c)
	program, err := find(c.Command, work, env)
	if err != nil {
		return err
	}
	if err := runProgram(ctx, j, program, c.Command, work, env); err != nil {
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
	for i, name := range c.Files {
		field := fmt.Sprintf("files[%d]", i)
		rel := filepath.Clean(name)
		if !filepath.IsLocal(rel) {
			return stages.Errorf(field, "%s is not below the pipeline's folder", name)
		}
		if first, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); first == "in" || first == "out" {
			return stages.Errorf(field, "%s: in and out are the inputs' and the ports' folders", name)
		}
		if err := copyTree(j.File(field), filepath.Join(work, rel)); err != nil {
			return stages.Errorf(field, "%s: %w", name, err)
		}
	}
	for port := range c.Ports {
		if err := os.Mkdir(filepath.Join(work, "out", port), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// environment is the whole of the program's environment.
func environment(j *stages.Job, c *schemas.Exec) map[string]string {
	env := map[string]string{"HONE_THREADS": fmt.Sprint(j.Threads), "TMPDIR": os.TempDir()}
	for _, name := range []string{"PATH", "HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	for name, v := range c.Env {
		env[name] = v
	}
	return env
}

// find returns the path of the program: one with a slash is a file of the stage, another is looked for in PATH.
func find(command []string, work string, env map[string]string) (string, error) {
	if len(command) == 0 || command[0] == "" {
		return "", stages.Errorf("command", "no program")
	}
	name := command[0]
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(work, name)
		}
		info, err := os.Stat(path)
		switch {
		case err != nil && filepath.IsAbs(name):
			return "", stages.Environment(stages.Errorf("command", "no program %s", name))
		case err != nil:
			return "", stages.Errorf("command", "no program %s among the stage's files; name it in files too", name)
		case info.IsDir() || info.Mode()&0o111 == 0:
			return "", stages.Errorf("command", "%s is not executable", name)
		}
		return path, nil
	}
	for _, dir := range filepath.SplitList(env["PATH"]) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", stages.Environment(stages.Errorf("command", "no program %s on PATH", name))
}

func runProgram(ctx context.Context, j *stages.Job, program string, command []string, work string, env map[string]string) error {
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
	cmd := exec.Command(program)
	cmd.Args = command
	cmd.Dir = work
	for _, name := range sorted(env) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = runGroup(ctx, cmd)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		if errors.Is(err, syscall.ENOEXEC) {
			err = errors.New("its first line names no interpreter (#!)")
		} else if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the interpreter that its first line names is not there")
		}
		return stages.Errorf("command", "%s: %w", command[0], err)
	}
	what := fmt.Sprintf("%s ended with exit status %d", command[0], exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		what = fmt.Sprintf("%s was ended by signal %d (%v)", command[0], status.Signal(), status.Signal())
		if status.Signal() == syscall.SIGKILL {
			what += "; was there too little memory?"
		}
	}
	last := tail(stderr.Name())
	if last == "" {
		last = tail(stdout.Name())
	}
	if last != "" {
		what += "; its last lines:\n" + last
	}
	return stages.Errorf("command", "%s", what)
}

// runGroup runs cmd in a process group of its own and ends the whole group: on cancellation, and when cmd has ended,
// since a process that it left behind could go on writing to what is an artifact by then.
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		unlock := inOwnGroup(cmd)
		defer unlock()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		done <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	group := -cmd.Process.Pid
	defer syscall.Kill(group, syscall.SIGKILL)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	syscall.Kill(group, syscall.SIGTERM)
	select {
	case err := <-done:
		return err
	case <-time.After(termGrace):
		syscall.Kill(group, syscall.SIGKILL)
		return <-done
	}
}

// tail returns the last lines of a text file: at most twenty, of the last 4 KiB.
func tail(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	const most = 4 << 10
	b := make([]byte, min(info.Size(), most))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(b), "�")), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
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
		return loadSource(ctx, j, &dataset.Source{Path: from, Name: path, Warn: j.Warn}, nil, j.Out(port))
	}
	if err := moveTree(from, j.Out(port)); err != nil {
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
		return stages.Errorf(path+"/"+filepath.Base(file), "%w", err)
	}
	return nil
}
