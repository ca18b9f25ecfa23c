package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

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

func anyExists(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		_, err := os.Stat(p)
		return !errors.Is(err, fs.ErrNotExist)
	})
}
