package runner

import (
	"slices"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// Inline says whether a stage runs in a child of this program rather than in hone-worker: its kind needs neither
// tensors nor token ids.
func Inline(s *pipelines.Stage) bool {
	switch s.Kind {
	case "data.load", "exec", "curate.split", "curate.mix", schemas.Tokenizer, schemas.RowsProof:
		return true
	case "curate.filter":
		// The model edge is there for its tokenizer: a filter that has one counts tokens.
		return !slices.ContainsFunc(s.Inputs, func(in pipelines.Input) bool { return in.Edge.Kind == "model" || in.Edge.Kind == "adapter" })
	}
	return false
}

// numerics is what this process can know of what a stage's bits depend on: instruction set and libtorch are the
// worker's to say.
func (r *Runner) numerics(s *pipelines.Stage) job.Numerics {
	n := job.Numerics{Device: r.device(s), Threads: s.Resources.Threads}
	if n.Device == "auto" {
		if n.Device = "cpu"; r.opts.cuda() {
			n.Device = "cuda"
		}
	}
	if n.Threads == 0 {
		n.Threads = r.opts.Threads
	}
	return n
}

// device is what a stage is asked to compute on: cpu, cuda, cuda:N or auto, which is the worker's to settle.
func (r *Runner) device(s *pipelines.Stage) string {
	switch {
	case !schemas.Computes(s.Kind):
		return "cpu"
	case s.Resources.Device != "":
		return s.Resources.Device
	}
	return r.opts.Device
}

// prefer picks the record to reuse: one of the same numerics before the others, the first run before later ones.
// With exact there are no others.
func prefer(records []*store.Record, want job.Numerics, exact bool) *store.Record {
	for _, r := range records {
		if like(r, want) {
			return r
		}
	}
	if exact || len(records) == 0 {
		return nil
	}
	return records[0]
}

// like tells whether a record was made with the threads and the device that are asked for; its device may be an accelerator's name.
func like(r *store.Record, want job.Numerics) bool {
	return r.Numerics != nil && r.Numerics.Threads == want.Threads && (r.Numerics.Device == "cpu") == (want.Device == "cpu")
}
