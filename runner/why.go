package runner

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Change is a reason for an action: an ingredient that differs from an earlier run, or what stands in the way. Old
// and New are nil where the one or the other side has no such field.
type Change struct {
	Field string `json:"field"`
	Old   any    `json:"old"`
	New   any    `json:"new"`
	Pos   string `json:"pos"` // file:line:col in the source as it is now

	From string `json:"from,omitempty"` // the stage that makes an input which is not made yet
	Says bool   `json:"-"`              // New is a sentence, and no value of Field
}

// earlier is the record to compare with. It is of this pipeline: what a stage of equal name or kind gave elsewhere is no run
// before this one. The stage's last run comes first, else that of a stage which the pipeline has no longer and which shares more
// than it differs in: it was renamed, and its name is returned too. A record of the key itself tells nothing.
func (r *Runner) earlier(s *pipelines.Stage, key string, list []store.Ingredient) (last *store.Record, renamed string) {
	if rec := r.lastRun(s.Name); rec != nil && rec.Key != key {
		return rec, "" // perhaps made by another pipeline, and reused here
	}
	least := len(list)/2 + 1
	for _, rec := range r.history() { // the oldest first, so a later one wins where nothing else decides
		if rec.Key == key || rec.Kind != s.Kind || !r.own(rec) || pipelines.Vetted(rec.Stage) {
			continue
		}
		if rec.Stage == s.Name {
			last, renamed, least = rec, "", -1
		} else if r.graph.Stage(rec.Stage) == nil {
			if n := len(compare(rec.Ingredients, list)); n <= least {
				last, renamed, least = rec, rec.Stage, n
			}
		}
	}
	return last, renamed
}

// lastRun is what the stage had in the pipeline's last run, nil where that came to nothing.
func (r *Runner) lastRun(stage string) *store.Record {
	key := r.before[stage]
	if key == "" {
		return nil
	}
	records, err := r.store.Records(key)
	if err != nil || len(records) == 0 {
		return nil
	}
	return records[len(records)-1]
}

// own says whether a record is of this pipeline: of its folder, or of one that it lay in before.
func (r *Runner) own(rec *store.Record) bool {
	return rec.Ref == r.ref || slices.Contains(r.moved(), rec.Ref)
}

// Ran says whether the store has a record of the pipeline's stage of that name, whatever its key.
func (r *Runner) Ran(stage string) bool {
	return r.lastRun(stage) != nil || slices.ContainsFunc(r.history(), func(rec *store.Record) bool {
		return rec.Stage == stage && r.own(rec)
	})
}

// Earlier is the other records of the pipeline's stage, the newest first.
func (r *Runner) Earlier(s *StagePlan) []*store.Record {
	var found []*store.Record
	for _, rec := range slices.Backward(r.history()) {
		if rec.Stage == s.Name && r.own(rec) && (s.Record == nil || rec.Key != s.Record.Key) {
			found = append(found, rec)
		}
	}
	return found
}

// New says whether the store has seen no run of the pipeline in its folder.
func (r *Runner) New() bool {
	ref, err := r.store.Ref(r.graph.Dir, r.graph.Package)
	return err == nil && len(ref.Stages) == 0
}

// compare lists the ingredients that differ, sorted by field.
func compare(before, after []store.Ingredient) []Change {
	type name struct{ from, field string }
	old, new := map[name]any{}, map[name]any{}
	var names []name
	for _, in := range before {
		n := name{in.From, in.Field}
		old[n] = value(in.Value)
		names = append(names, n)
	}
	for _, in := range after {
		n := name{in.From, in.Field}
		if _, ok := old[n]; !ok {
			names = append(names, n)
		}
		new[n] = value(in.Value)
	}
	var changes []Change
	for _, n := range names {
		if !equal(old[n], new[n]) {
			changes = append(changes, Change{Field: n.field, Old: old[n], New: new[n]})
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return strings.Compare(a.Field, b.Field) })
	return changes
}

func value(raw json.RawMessage) any {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	return v
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// why explains an action other than reuse by an earlier record, which it returns too, as earlier does. Fields in unknown are
// inputs that are not made yet.
func (r *Runner) why(s *pipelines.Stage, key string, list []store.Ingredient, unknown []string) (why []Change, before *store.Record, renamed string) {
	before, renamed = r.earlier(s, key, list)
	if before == nil {
		return []Change{{Field: "kind", New: s.Kind, Pos: position(s, "kind")}}, nil, ""
	}
	var changes []Change
	for _, c := range compare(before.Ingredients, list) {
		// The base of an unknown adapter is as unknown as the adapter; one line says so.
		if !slices.ContainsFunc(unknown, func(f string) bool { return strings.HasPrefix(c.Field, f+".base") }) {
			changes = append(changes, c)
		}
	}
	for _, field := range unknown {
		if !slices.ContainsFunc(changes, func(c Change) bool { return c.Field == field }) {
			changes = append(changes, Change{Field: field})
		}
	}
	for i := range changes {
		changes[i].Pos = position(s, changes[i].Field)
	}
	return changes, before, renamed
}

// position is where the user wrote a field, as a reader goes there; empty where nobody wrote the stage.
func position(s *pipelines.Stage, field string) string {
	if pos := s.At(field); pos.IsValid() {
		return pos.String()
	}
	return ""
}
