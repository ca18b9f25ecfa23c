package runner

import (
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"

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
}

// earlier is the record to compare with: the last of this pipeline and stage name, else the last of a pipeline of
// the same name, else the record of the kind that differs least; and which of these it is. A record of the key itself
// tells nothing.
func (r *Runner) earlier(s *pipelines.Stage, key string, list []store.Ingredient) (best *store.Record, bestRank int) {
	bestDiffers := 0
	for _, rec := range r.history() { // the oldest first, so a later one wins where nothing else decides
		if rec.Key == key || rec.Kind != s.Kind {
			continue
		}
		rank, differs := sameKind, 0
		switch {
		case rec.Stage == s.Name && rec.Ref == r.ref:
			rank = sameFolder
		case rec.Stage == s.Name && rec.Pipeline == r.graph.Name:
			rank = sameName
		default:
			// One that shares less than it differs in is another stage altogether, and says nothing of this one.
			if differs = len(compare(rec.Ingredients, list)); differs > len(list)-differs {
				continue
			}
		}
		if rank > bestRank || rank == bestRank && differs <= bestDiffers {
			best, bestRank, bestDiffers = rec, rank, differs
		}
	}
	return best, bestRank
}

// ranks of a record to compare with.
const (
	sameKind   = 1 + iota
	sameName   // of stage and pipeline
	sameFolder // and the pipeline's folder
)

// Ran says whether the store has a record of the pipeline's stage of that name, whatever its key.
func (r *Runner) Ran(stage string) bool {
	return slices.ContainsFunc(r.history(), func(rec *store.Record) bool {
		return rec.Stage == stage && (rec.Ref == r.ref || rec.Pipeline == r.graph.Name)
	})
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

// why explains an action other than reuse by an earlier record, which it returns too. Fields in unknown are inputs that
// are not made yet.
func (r *Runner) why(s *pipelines.Stage, key string, list []store.Ingredient, unknown []string) ([]Change, *store.Record) {
	before, _ := r.earlier(s, key, list)
	if before == nil {
		return []Change{{Field: "kind", New: s.Kind, Pos: position(s, "kind")}}, nil
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
	return changes, before
}

// position is where the user wrote a field, else the field that holds it, else the stage.
func position(s *pipelines.Stage, field string) string {
	at := map[string]token.Position{}
	for _, f := range s.Fields {
		if f.Pos.IsValid() {
			at[f.Path] = f.Pos
		}
	}
	for path := field; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if pos, ok := at[path]; ok {
			return pos.String()
		}
	}
	if s.Pos.IsValid() {
		return s.Pos.String()
	}
	return ""
}
