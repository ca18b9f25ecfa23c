package runner

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/job"
)

// program is the argv and environment of the process that does the stage.
func (a *attempt) program() (argv, env []string, err error) {
	if Inline(a.stage) {
		return a.opts.Hone, os.Environ(), nil
	}
	path, err := a.opts.Worker()
	if err != nil {
		return nil, nil, &job.Error{Message: err.Error(), Code: 6, Err: err}
	}
	env, err = WorkerEnv(path, a.res.numerics.Threads)
	return []string{path}, env, err
}

// WorkerEnv is the environment of the hone-worker at path. What a library reads before main must stand here:
//   - one malloc arena, and blocks below a GiB kept rather than returned to the kernel: a training step frees and
//     takes the same gigabyte over and over
//   - the threads of OpenMP; those that wait for the others spin for some ten microseconds and then sleep: sleeping at once costs
//     decoding a third of its speed, spinning for milliseconds (the default) makes it 17 times slower on a machine with other
//     work, since it takes the core from whom they wait for
//   - what the build noted in hone-worker.env beside the program (KEY=VALUE lines), such as where libtorch lies;
//     LD_LIBRARY_PATH is put before what the user has
func WorkerEnv(path string, threads int) ([]string, error) {
	set := []string{
		"MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=1073741824", "MALLOC_TRIM_THRESHOLD_=4294967296",
		"OMP_NUM_THREADS=" + strconv.Itoa(threads), "GOMP_SPINCOUNT=3000",
	}
	b, err := os.ReadFile(path + ".env")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		value = strings.ReplaceAll(value, "$DIR", filepath.Dir(path))
		if had := os.Getenv(name); name == "LD_LIBRARY_PATH" && had != "" {
			value += ":" + had
		}
		set = append(set, name+"="+value)
	}
	return append(os.Environ(), set...), nil
}

// died finds where a program begins to say what it died of: Go's runtime and C++ write pages of registers after it.
var died = regexp.MustCompile(`(?m)^(panic: |fatal error: |SIG[A-Z]+: |terminate called )`)

// tail is the last lines that a worker wrote to its standard error, or the first of what it died of.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > stderrTail {
		if _, err := f.Seek(-stderrTail, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, stderrTail))
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
	if at := died.FindStringIndex(text); at != nil {
		lines := strings.SplitN(text[at[0]:], "\n", stderrLines+1)
		return strings.TrimSpace(strings.Join(lines[:min(len(lines), stderrLines)], "\n"))
	}
	lines := strings.Split(text, "\n")
	return strings.TrimSpace(strings.Join(lines[max(0, len(lines)-stderrLines):], "\n"))
}
