// Package program runs programs of the user's.
//
//	Command    a program with its arguments, folder and environment, not yet started
//	Group      a started program and whatever it starts, ended together
//	CopyFiles  puts the user's files where the program finds them
//
// A program is not confined: it can read what the user can read, and use the network.
package program

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hone-ml/hone/internal/job"
)

// Environment is the whole of a program's environment: PATH, HOME and TMPDIR as they are here, HONE_THREADS, and extra.
func Environment(threads int, extra map[string]string) map[string]string {
	env := map[string]string{"HONE_THREADS": fmt.Sprint(threads), "TMPDIR": os.TempDir()}
	for _, name := range []string{"PATH", "HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	maps.Copy(env, extra)
	return env
}

// CopyFiles copies the user's files to their relative paths in the folder dir, so that a program cannot change the user's
// own, and a script finds its neighbours here, not where it came from. at gives the place of each; the first parts of a
// path that are reserved are refused.
func CopyFiles(dir string, names []string, at func(i int) string, reserved ...string) error {
	for i, name := range names {
		field := fmt.Sprintf("files[%d]", i)
		rel := filepath.Clean(name)
		if !filepath.IsLocal(rel) {
			return &job.Error{Path: field, Message: name + " is not below the pipeline's folder", Code: 1}
		}
		if first, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); slices.Contains(reserved, first) {
			return &job.Error{Path: field, Message: name + ": in and out are the inputs' and the ports' folders", Code: 1}
		}
		if err := CopyTree(at(i), filepath.Join(dir, rel)); err != nil {
			return &job.Error{Path: field, Message: fmt.Sprintf("%s: %v", name, err), Code: 1, Err: err}
		}
	}
	return nil
}

// Command finds the program: one with a slash is a file in dir, another is looked for in PATH. Where the machine lacks it the
// error is the environment's.
func Command(command []string, dir string, env map[string]string) (*exec.Cmd, error) {
	path, err := Find(command, dir, env)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Args, cmd.Dir = command, dir
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	return cmd, nil
}

// Find is the path of the program that Command would start.
func Find(command []string, dir string, env map[string]string) (string, error) {
	if len(command) == 0 || command[0] == "" {
		return "", errors.New("no program")
	}
	name := command[0]
	lacking := func(format string, args ...any) error {
		return &job.Error{Message: fmt.Sprintf(format, args...), Code: 6}
	}
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, name)
		}
		info, err := os.Stat(path)
		switch {
		case err != nil && filepath.IsAbs(name):
			return "", lacking("no program %s", name)
		case err != nil:
			return "", fmt.Errorf("no program %s among the stage's files; name it in files too", name)
		case info.IsDir() || info.Mode()&0o111 == 0:
			return "", fmt.Errorf("%s is not executable", name)
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
	return "", lacking("no program %s on PATH", name)
}

// Failure says how a program failed: err is what starting it or waiting for it gave, last its last lines.
func Failure(cmd *exec.Cmd, err error, last string) error {
	name := cmd.Args[0]
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if errors.Is(err, syscall.ENOEXEC) {
			err = errors.New("its first line names no interpreter (#!)")
		} else if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the interpreter that its first line names is not there")
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	what := fmt.Sprintf("%s ended with exit status %d", name, exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		what = fmt.Sprintf("%s was ended by signal %d (%v)", name, status.Signal(), status.Signal())
		if status.Signal() == syscall.SIGKILL {
			what += "; was there too little memory?"
		}
	}
	if last != "" {
		what += "; its last lines:\n" + last
	}
	return errors.New(what)
}

// Tail returns the last lines of a text file: at most twenty, of the last 4 KiB.
func Tail(file string) string {
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
