package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
)

// missing is what the machine lacks for a stage.
func (r *Runner) missing(s *pipelines.Stage) error {
	if Inline(s) {
		return nil
	}
	if r.opts.Worker == nil {
		return errors.New("this program was started without a worker")
	}
	if _, err := r.opts.Worker(); err != nil {
		return err
	}
	if n := r.numerics(s); n.Device != "cpu" && !anyExists("/dev/nvidiactl", "/dev/dxg") {
		return fmt.Errorf("device %s: this machine has no NVIDIA device", n.Device)
	}
	return nil
}

// cuda reports whether a worker that is left to choose will take a CUDA device, as far as files tell: there is one, and a libtorch
// for it where the worker finds its own.
func (o *Options) cuda() bool {
	if !anyExists("/dev/nvidiactl", "/dev/dxg") || o.Worker == nil {
		return false
	}
	path, err := o.Worker()
	if err != nil {
		return false
	}
	env, err := WorkerEnv(path, 1)
	if err != nil {
		return false
	}
	here := filepath.Dir(path)
	folders := []string{filepath.Join(here, "../.tools/libtorch/lib"), filepath.Join(here, "../lib")}
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "LD_LIBRARY_PATH="); ok {
			folders = append(filepath.SplitList(list), folders...)
		}
	}
	for _, dir := range folders { // the first libtorch is the one that is loaded
		if anyExists(filepath.Join(dir, "libtorch_cpu.so")) {
			return anyExists(filepath.Join(dir, "libtorch_cuda.so"))
		}
	}
	return false
}

func anyExists(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		_, err := os.Stat(p)
		return !errors.Is(err, fs.ErrNotExist)
	})
}
