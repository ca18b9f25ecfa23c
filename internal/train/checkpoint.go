package train

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
)

// State is what a training run goes on from, besides its config: the order of data and every draw follow from the seed and
// the step. Buffers are the flat float32 memories of weights and moments.
type State struct {
	Step     int64              `json:"step"`             // updates made
	Numerics job.Numerics       `json:"numerics"`         // a resume under others would give other bits
	Sums     map[string]float64 `json:"sums"`             // of metrics since they were last logged
	Method   json.RawMessage    `json:"method,omitempty"` // what the method of training goes on from, besides
	Best     Best               `json:"best"`             // of the evaluations so far
	Digest   string             `json:"digest"`           // BLAKE3-256 of the buffers and of Method
	Buffers  []tensor.Tensor    `json:"-"`
}

// Best is what the evaluations of a training have come to; zero before the first.
type Best struct {
	Evaluated int64   `json:"evaluated"` // step of the newest
	Step      int64   `json:"step"`      // of the best
	Loss      float64 `json:"loss"`      // of the best; of a reward its negative
	Since     int     `json:"since"`     // evaluations since one that was better by the margin asked for
}

const (
	stateSuffix  = ".json" // written last: a checkpoint is there when its state is
	bufferSuffix = ".bin"
)

func stem(dir string, step int64) string { return filepath.Join(dir, fmt.Sprintf("step-%012d", step)) }

// Save writes a checkpoint durably: buffers, then the state that names them; then it removes all but the newest keep.
// A kill at any moment leaves the older checkpoints whole.
func (s *State) Save(dir string, keep int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	h := blake3.New()
	err := atomicfile.Stream(stem(dir, s.Step)+bufferSuffix, 0o600, func(w io.Writer) error {
		both := io.MultiWriter(w, h)
		for _, b := range s.Buffers {
			bytes := b.Bytes()
			for len(bytes) > 0 { // in pieces that stay in the cache between file and hash
				n := min(len(bytes), 1<<20)
				if _, err := both.Write(bytes[:n]); err != nil {
					return err
				}
				bytes = bytes[n:]
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	_, _ = h.Write(s.Method) // a hash takes all
	s.Digest = hex.EncodeToString(h.Sum(nil))
	state, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(stem(dir, s.Step)+stateSuffix, state, 0o600); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	steps, err := saved(dir)
	if err != nil {
		return err
	}
	for len(steps) > max(keep, 1) {
		if err := remove(dir, steps[0]); err != nil {
			return err
		}
		steps = steps[1:]
	}
	return nil
}

// remove takes a checkpoint away, its state first, so that none is there by halves.
func remove(dir string, step int64) error {
	for _, suffix := range []string{stateSuffix, bufferSuffix} {
		if err := os.Remove(stem(dir, step) + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// saved is the steps of the checkpoints in dir, ascending.
func saved(dir string) ([]int64, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "step-*"+stateSuffix))
	if err != nil {
		return nil, err
	}
	var steps []int64
	for _, p := range paths {
		var step int64
		if _, err := fmt.Sscanf(filepath.Base(p), "step-%d"+stateSuffix, &step); err == nil {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// Restore fills the buffers from the newest whole checkpoint in dir and reports whether there is one. Damaged ones are told
// to warn and passed over. One made under other numerics is an error: its bits could not be those of an uninterrupted run.
func (s *State) Restore(dir string, warn func(format string, args ...any)) (bool, error) {
	if err := atomicfile.Sweep(dir); err != nil {
		return false, err
	}
	steps, err := saved(dir)
	if err != nil {
		return false, err
	}
	for _, step := range slices.Backward(steps) {
		found, err := readState(dir, step)
		if err == nil && found.Numerics != s.Numerics {
			return false, fmt.Errorf("checkpoint of step %d: made with %s; here it is %s, and the bits would differ: run it there, or begin anew with --force STAGE",
				step, found.Numerics, s.Numerics)
		}
		if err == nil {
			err = s.fill(stem(dir, step)+bufferSuffix, found)
		}
		if err != nil {
			warn("checkpoint of step %d is passed over: %v", step, err)
			continue
		}
		s.Step, s.Sums, s.Method, s.Best, s.Digest = found.Step, found.Sums, found.Method, found.Best, found.Digest
		return true, nil
	}
	return false, nil
}

func readState(dir string, step int64) (*State, error) {
	b, err := os.ReadFile(stem(dir, step) + stateSuffix)
	if err != nil {
		return nil, err
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	if s.Step != step {
		return nil, fmt.Errorf("its state says step %d", s.Step)
	}
	return &s, nil
}

// fill reads the buffers of the checkpoint that was found and checks what was read.
func (s *State) fill(path string, found *State) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var size int64
	for _, b := range s.Buffers {
		size += b.Count() * int64(b.Dtype().Size())
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return errors.Join(err, fmt.Errorf("%d bytes are wanted", size))
	}
	// The whole is checked before a buffer is touched: a damaged newest checkpoint must not spoil the start of a run.
	h := blake3.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	_, _ = h.Write(found.Method)
	if hex.EncodeToString(h.Sum(nil)) != found.Digest {
		return errors.New("its bytes have changed")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for _, b := range s.Buffers {
		if err := b.Edit(func(own []byte) error { _, err := io.ReadFull(f, own); return err }); err != nil {
			return err
		}
	}
	return nil
}
