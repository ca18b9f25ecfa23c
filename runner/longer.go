package runner

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// A training whose steps do not depend on how many there are to be leaves its last state under its prefix key: that of the
// ingredients but for how long it is. A longer one with the same prefix goes on from there.

// finished is what lies beside such a state: which training it ended.
type finished struct {
	Key    string          `json:"key"`
	Config json.RawMessage `json:"config"` // for its length
}

const finishedFile = "finished.json"

// prefixKey is the key of what a stage shares with a longer one; "" where none can go on from it.
func prefixKey(s *pipelines.Stage, list []store.Ingredient) string {
	if can, _, _ := schemas.Longer(s.Kind, s.Config); !can {
		return ""
	}
	shared := slices.DeleteFunc(slices.Clone(list), func(in store.Ingredient) bool {
		return in.From == "config" && slices.Contains(schemas.Lengths, in.Field)
	})
	return key(append(shared, store.Ingredient{From: "stage", Field: "prefix", Value: json.RawMessage("true")})) // never the key of a stage
}

// shorter is the finished training that a stage can go on from; nil where there is none.
func (r *Runner) shorter(s *pipelines.Stage, list []store.Ingredient, n job.Numerics) *finished {
	prefix := prefixKey(s, list)
	if prefix == "" {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(r.store.Checkpoints(prefix, n), finishedFile))
	var e finished
	if err != nil || json.Unmarshal(b, &e) != nil || !schemas.AtLeast(s.Config, e.Config) {
		return nil
	}
	return &e
}

// goOn lays the last state of a shorter training, and what it logged, where the attempt looks for its own.
func (a *attempt) goOn() error {
	from := a.store.Checkpoints(prefixKey(a.stage, a.res.ingredients), a.res.numerics)
	if err := linkAll(filepath.Join(from, "state"), a.state()); err != nil {
		return err
	}
	records, err := a.store.Records(a.res.shorter.Key)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if rec.Numerics == nil || rec.Numerics.Device != a.res.numerics.Device || rec.Numerics.Threads != a.res.numerics.Threads {
			continue
		}
		b, err := os.ReadFile(filepath.Join(a.store.LogDir(rec), "metrics.jsonl"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(a.log(), "metrics.jsonl"), b, 0o644)
	}
	return nil
}

// linkAll gives a folder's files a second name in another: a state is replaced, never written to.
func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// retire keeps the last state for a longer training, in place of a shorter one's, or throws it away.
func (a *attempt) retire(rec *store.Record) error {
	if rec.Prefix == "" {
		return nil
	}
	to := a.store.Checkpoints(rec.Prefix, a.res.numerics)
	if e := a.shorter(a.stage, a.res.ingredients, a.res.numerics); e == nil {
		if _, err := os.Stat(filepath.Join(to, finishedFile)); err == nil {
			return nil // a longer one's is there
		}
	}
	b, err := json.Marshal(finished{rec.Key, a.stage.Config})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := os.Rename(a.state(), filepath.Join(to, "state")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, finishedFile), b, 0o644) // last: without it there is nothing to go on from
}

// lengthened says of a training that differs from an earlier one in nothing but its length why it cannot go on from there.
func lengthened(s *pipelines.Stage, changes []Change) []Change {
	if len(changes) == 0 || slices.ContainsFunc(changes, func(c Change) bool { return !slices.Contains(schemas.Lengths, c.Field) }) {
		return nil
	}
	can, field, why := schemas.Longer(s.Kind, s.Config)
	if can || field == "" {
		return nil
	}
	return []Change{{Field: field, New: "begins anew for its " + field + ", " + why, Pos: position(s, field), Says: true}}
}
