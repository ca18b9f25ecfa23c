package pipelines

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

var goals = []string{"behaviour", "capability", "knowledge", "live data"}

// intent reads what the pipeline is to achieve; nil where nobody said.
func (c *compiler) intent() *Intent {
	v := c.p.value.LookupPath(cue.MakePath(cue.Str("intent")))
	if !v.Exists() || !c.p.pos(v).IsValid() {
		return nil
	}
	wrong := func(label string, at cue.Value, format string, args ...any) {
		c.errs = append(c.errs, Error{Pos: c.p.place(at), Path: strings.TrimSuffix("intent."+label, "."), Msg: fmt.Sprintf(format, args...)})
	}
	it, err := v.Fields(cue.Optional(false))
	if err != nil {
		wrong("", v, "wants {goal, instructions}")
		return nil
	}
	at := c.p.place(v)
	in := &Intent{Pos: map[string]token.Position{"goal": at, "instructions": at}}
	for it.Next() {
		label, field := it.Selector().Unquoted(), it.Value()
		if !c.p.pos(field).IsValid() {
			continue // the schema's own: missing
		}
		in.Pos[label] = c.p.place(field)
		said, _ := field.Default()
		switch label {
		case "goal":
			if in.Goal, err = said.String(); err == nil {
				continue
			}
			switch text, ok := c.own(field).(string); {
			case !ok:
				wrong(label, field, "wants one of %s", strings.Join(goals, ", "))
			case slices.Contains(goals, text): // and another
				c.addCUE(nil, "intent."+label, field, field.Err())
			default:
				wrong(label, field, "unknown goal %q%s", text, Suggest(text, goals))
			}
		case "instructions":
			if in.Instructions, err = said.Int64(); err != nil {
				wrong(label, field, "wants their number, 1 or more")
			}
		default:
			wrong(label, field, "field not allowed%s", Suggest(label, []string{"goal", "instructions"}))
		}
	}
	if goal := v.LookupPath(cue.MakePath(cue.Str("goal"))); in.Goal == "" && !c.p.pos(goal).IsValid() {
		wrong("goal", v, "missing: one of %s", strings.Join(goals, ", "))
	}
	return in
}

// What docs/when-to-post-train.md says of numbers. Both are rules of thumb, as it says too.
const (
	fewInstructions  = 5  // a prompt may do
	manyInstructions = 20 // post-training pays
	domainTokens     = 1_000_000_000
	bytesOfToken     = 4 // of English, about
)

// senseIntent advises by what the pipeline is to achieve and what it does for that. That post-training pays is a note where a stage
// trains: there is nothing to mend.
func (c *compiler) senseIntent(g *Graph) {
	in := g.Intent
	if in == nil {
		return
	}
	advise := func(field, format string, args ...any) {
		c.advice = append(c.advice, Error{Pos: in.Pos[field], Path: "intent." + field, Msg: fmt.Sprintf(format, args...)})
	}
	trained := g.trained()
	pays := func(field, format string, args ...any) {
		if without := untrained(trained); without != "" {
			advise(field, format+without, args...)
			return
		}
		c.notes = append(c.notes, Error{Pos: in.Pos[field], Path: "intent." + field, Msg: fmt.Sprintf(format, args...)})
	}
	switch n := in.Instructions; {
	case n == 0 || in.Goal == "live data" || in.Goal == "knowledge":
	case n <= fewInstructions:
		advise("instructions", "%d of them: a prompt may do, though it is less steady; measure one first (generate and the suites of eval take system)", n)
	case n < manyInstructions:
		advise("instructions", "%d of them: try a prompt first; from about %d that are to hold strictly, post-training pays", n, manyInstructions)
	default:
		pays("instructions", "%d to hold strictly: post-training pays, for of so many in a prompt some are not followed", n)
	}
	switch in.Goal {
	case "behaviour":
		if in.Instructions == 0 {
			advise("goal", "with a few instructions a prompt may do, though it is less steady; with %d or more to hold strictly post-training pays: say how many in intent.instructions", manyInstructions)
		}
	case "capability":
		pays("goal", "a capability such as SQL, function calls or reasoning: post-training pays")
	case "knowledge":
		c.senseKnowledge(g, advise)
	case "live data":
		advise("goal", "retrieval keeps up with data that changes, and weights do not: train how the model uses what is put before it, not the data")
	}
	if (in.Goal == "capability" || in.Goal == "knowledge") && untrained(trained) == "" && !g.guarded(trained) {
		advise("goal", "no eval holds what the model could do before against a baseline: what it learns may cost it other things (an eval with baseline, "+
			"a suite of other tasks, and maxDrop or maxRise in its gate)")
	}
}

func untrained(trained map[string]bool) string {
	for _, is := range trained {
		if is {
			return ""
		}
	}
	return "; no stage here trains"
}

// senseKnowledge tells of a domain that is to be learnt from too little text, or by fine-tuning alone.
func (c *compiler) senseKnowledge(g *Graph, advise func(field, format string, args ...any)) {
	const wanted = "a domain model wants continued pre-training on about a billion tokens or more first"
	stages := g.ofKind("model.pretrain")
	if len(stages) == 0 {
		advise("goal", "%s (model.pretrain), or retrieval: fine-tuning teaches few new facts, and to make some up", wanted)
		return
	}
	var bytes int64
	for _, s := range stages {
		n, known := g.sourceBytes(s)
		if !known {
			advise("goal", "%s; see that %s reads as many", wanted, s.Name)
			return
		}
		bytes += n
	}
	if bytes < domainTokens*bytesOfToken {
		advise("goal", "%s, which is some 4 GB of text; %s reads %s", wanted, stages[0].Name, size(bytes))
	}
}

func size(n int64) string {
	f, unit := float64(n), "bytes"
	for _, next := range []string{"kB", "MB", "GB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, next
	}
	return fmt.Sprintf("%.3g %s", f, unit)
}

// ofKind is the user's stages of some kinds.
func (g *Graph) ofKind(kinds ...string) (found []*Stage) {
	for _, s := range g.Stages {
		if !s.Internal && slices.Contains(kinds, s.Kind) {
			found = append(found, s)
		}
	}
	return found
}

// trained is the stages whose models have learnt something here, and those that follow from them.
func (g *Graph) trained() map[string]bool {
	found := map[string]bool{}
	for _, s := range g.ofKind("train.sft", "train.dpo", "train.grpo", "model.pretrain", "exec") {
		found[s.Name] = s.Kind != "exec" || slices.ContainsFunc(s.Outputs, func(out Output) bool { return out.Kind == "model" || out.Kind == "adapter" })
	}
	for _, s := range g.Stages { // topological
		for _, in := range s.Inputs {
			if (in.Edge.Kind == "model" || in.Edge.Kind == "adapter") && found[in.Edge.From] && s.Kind != "eval" {
				found[s.Name] = true
			}
		}
	}
	return found
}

// guarded says whether an eval of a trained model compares with a baseline on something that is not to get better alone: a suite
// whose gate allows no more than a drop, or one beside others without a gate.
func (g *Graph) guarded(trained map[string]bool) bool {
	for _, s := range g.ofKind("eval") {
		var c schemas.Eval
		if json.Unmarshal(s.Config, &c) != nil || c.Baseline == nil || !trained[c.Model.From] {
			continue
		}
		for name := range c.Suites {
			gate := c.Gate[name]
			switch {
			case gate.MaxDrop != nil && *gate.MaxDrop >= 0, gate.MaxRise != nil && *gate.MaxRise >= 0:
				return true
			case gate.MaxDrop == nil && gate.MaxRise == nil && gate.Minimum == nil && gate.Maximum == nil && len(c.Suites) > 1:
				return true
			}
		}
	}
	return false
}

// sourceBytes is the size of the files that the rows of a stage come from; false where that cannot be told by looking.
func (g *Graph) sourceBytes(s *Stage) (total int64, known bool) {
	seen := map[string]bool{}
	var walk func(s *Stage) bool
	walk = func(s *Stage) bool {
		if s == nil || seen[s.Name] {
			return s != nil
		}
		seen[s.Name] = true
		for _, f := range s.Sources {
			info, err := os.Stat(f.Path)
			if err != nil || !info.Mode().IsRegular() || slices.Contains([]string{".gz", ".zst", ".parquet"}, filepath.Ext(f.Path)) {
				return false // a folder, or packed
			}
			total += info.Size()
		}
		if s.Kind == "exec" || s.Kind == "curate.distill" || s.Kind == "generate" {
			return false
		}
		for _, in := range s.Inputs {
			if in.Edge.Kind == "dataset" && !walk(g.Stage(in.Edge.From)) {
				return false
			}
		}
		return true
	}
	known = walk(s)
	return total, known
}
