package runner

import (
	"encoding/json"
	"errors"
	"fmt"
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
// ingredients but for how long it is. A longer one with the same prefix goes on from there, or from what an interrupted one left.

// shorter is a training that differs from another in nothing but its length.
type shorter struct {
	Key    string          `json:"key"`
	Config json.RawMessage `json:"config"` // for its length

	state      string
	unfinished *Unfinished // how far it came; nil for one that has ended
	other      string      // flags of one that has ended, where they are not this run's
}

const finishedFile = "finished.json"

// prefixKey is the key of what a stage shares with a longer one; "" where none can go on from it.
func prefixKey(s *pipelines.Stage, list []store.Ingredient) string {
	if can, _, _ := schemas.Longer(s.Kind, s.Config); !can {
		return ""
	}
	return sharedKey(s, list)
}

// sharedKey is the key of what a training shares with those of other lengths; "" for what is none.
func sharedKey(s *pipelines.Stage, list []store.Ingredient) string {
	if can, field, _ := schemas.Longer(s.Kind, s.Config); !can && field == "" {
		return ""
	}
	shared := slices.DeleteFunc(slices.Clone(list), func(in store.Ingredient) bool {
		return in.From == "config" && slices.Contains(schemas.Lengths, in.Field)
	})
	return key(append(shared, store.Ingredient{From: "stage", Field: "prefix", Value: json.RawMessage("true")})) // never the key of a stage
}

// shorter is the training that a stage can go on from, the one that came furthest; nil where there is none.
func (r *Runner) shorter(s *pipelines.Stage, list []store.Ingredient, n job.Numerics, begun *shorter) *shorter {
	prefix := prefixKey(s, list)
	if prefix == "" {
		return nil
	}
	if begun != nil && !schemas.AtLeast(s.Config, begun.Config) {
		begun = nil
	}
	e := finished(s, r.store.Checkpoints(prefix, n))
	if e == nil || begun != nil && schemas.Steps(e.Config) < begun.unfinished.Saved {
		return begun
	}
	return e
}

// finished is the training whose last state lies in a folder, where a stage is as long at least; nil where there is none.
func finished(s *pipelines.Stage, dir string) *shorter {
	b, err := os.ReadFile(filepath.Join(dir, finishedFile))
	e := &shorter{state: filepath.Join(dir, "state")}
	if err != nil || json.Unmarshal(b, e) != nil || !schemas.AtLeast(s.Config, e.Config) {
		return nil
	}
	return e
}

// shorterElsewhere is what shorter would be with another device or number of threads. A smoke, which loses nothing, has none.
func (r *Runner) shorterElsewhere(s *pipelines.Stage, list []store.Ingredient, own string, n job.Numerics, begun *shorter) *shorter {
	prefix := prefixKey(s, list)
	if prefix == "" || s.Apart {
		return nil
	}
	if begun != nil && schemas.AtLeast(s.Config, begun.Config) {
		return begun
	}
	for dir, flags := range others(r.store.Checkpoints(prefix, n)) {
		if e := finished(s, dir); e != nil && e.Key != own {
			e.other = flags
			return e
		}
	}
	return nil
}

// begun is the attempt without a record, at a training of another length, that has the newest checkpoint, and likewise that of another
// device or number of threads; nil where there is none.
func (r *Runner) begun(s *pipelines.Stage, list []store.Ingredient, own string, n job.Numerics) (here, other *shorter) {
	shared := sharedKey(s, list)
	if shared == "" {
		return nil, nil
	}
	keys, _ := os.ReadDir(filepath.Dir(filepath.Dir(r.store.Checkpoints(own, n))))
	for _, e := range keys {
		key := e.Name()
		newest := func(found **shorter, u *Unfinished) {
			if u == nil || u.Shared != shared || key == own || *found != nil && (*found).unfinished.Saved >= u.Saved || r.store.Held(key) {
				return
			}
			*found = &shorter{Key: key, Config: u.Config, state: filepath.Join(u.dir, "state"), unfinished: u}
		}
		dir := r.store.Checkpoints(key, n)
		newest(&here, saved(dir))
		for _, u := range savedElsewhere(dir) {
			newest(&other, u)
		}
	}
	return here, other
}

// goOn lays the last state of a shorter training, and what it logged, where the attempt looks for its own.
func (a *attempt) goOn() error {
	from := a.res.shorter
	if err := linkAll(from.state, a.state()); err != nil {
		return err
	}
	log := filepath.Join(filepath.Dir(from.state), "log")
	if from.unfinished == nil {
		records, err := a.store.Records(from.Key)
		if err != nil {
			return err
		}
		for _, rec := range records {
			if like(rec, a.res.numerics) {
				log = a.store.LogDir(rec)
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(log, "metrics.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.log(), "metrics.jsonl"), b, 0o644)
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
	if e := a.shorter(a.stage, a.res.ingredients, a.res.numerics, nil); e == nil {
		if _, err := os.Stat(filepath.Join(to, finishedFile)); err == nil {
			return nil // a longer one's is there
		}
	}
	b, err := json.Marshal(shorter{Key: rec.Key, Config: a.stage.Config})
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

// why is how a training's length differs from that of one that did not end, what follows from it, and as a field how far that one came.
func (e *shorter) why(s *pipelines.Stage, field string) (changes []Change) {
	var was, is map[string]json.RawMessage
	if json.Unmarshal(e.Config, &was) == nil && json.Unmarshal(s.Config, &is) == nil {
		for _, length := range schemas.Lengths {
			if old, now := was[length], is[length]; string(old) != string(now) {
				changes = append(changes, Change{Field: length, Old: old, New: now, Pos: position(s, length)})
			}
		}
	}
	changes = append(changes, lengthened(s, changes)...)
	return append(changes, Change{Field: field, New: e.unfinished.Last(), Pos: position(s, "kind"), Says: true})
}

// next is how far a training came with another device or number of threads, and the flags that go on from there.
func (e *shorter) next() string {
	if e.unfinished != nil {
		return e.unfinished.Next()
	}
	return fmt.Sprintf("a shorter one is done (%s); %s goes on from there", schemas.Length(e.Config), e.other)
}

// lengthened says of a training that differs from an earlier one in nothing but its length why it cannot go on from there.
func lengthened(s *pipelines.Stage, changes []Change) []Change {
	if len(changes) == 0 || slices.ContainsFunc(changes, func(c Change) bool { return !slices.Contains(schemas.Lengths, c.Field) }) {
		return nil
	}
	can, field, why := schemas.Longer(s.Kind, s.Config)
	switch i := slices.IndexFunc(changes, shortens); {
	case !can && field == "": // no training
		return nil
	case i >= 0:
		short := changes[i].Field
		return []Change{{Field: short, New: "begins anew: a shorter training goes on from no longer one", Pos: position(s, short), Says: true}}
	case can:
		return nil
	}
	return []Change{{Field: field, New: "begins anew for its " + field + ", " + why, Pos: position(s, field), Says: true}}
}

// shortens says whether a length is less than it was.
func shortens(c Change) bool {
	old, now := number(c.Old), number(c.New)
	return old != nil && now != nil && *now < *old
}

func number(v any) (n *float64) {
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &n) != nil {
		return nil
	}
	return n
}
