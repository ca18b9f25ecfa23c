// Package provenance says what an artifact was made of, from the records of a store and nothing else.
//
//	lineage    the runs that an artifact goes back to, and the evals that measured it
//	statement  an in-toto statement with SLSA provenance: one run, what it made by hash, what it read by hash
//	BOM        the same as a CycloneDX bill of materials, with a model card in it
//	card       the same as the README.md of a model on the Hugging Face hub
//	envelope   a statement with its signature (DSSE)
//	check      a folder held against the statements that lie beside it, without a network or a store
//
// docs/provenance.md is the prose of it.
package provenance

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// Lineage is what an artifact goes back to.
type Lineage struct {
	Made  *Run   // made it
	Port  string // of Made; "" where all of its ports are meant
	Runs  []*Run // Made first; what a run read comes after it
	Evals []Eval // of the artifact itself, or of the model that an export stage wrote
}

// Run is a record with what it read resolved.
type Run struct {
	*store.Record
	Inputs  []Input
	Sources []Source
}

// Input is an artifact that a run read. Run is nil where no record says what made it.
type Input struct {
	Field, Hash string
	Run         *Run
	Port        string
}

// Source is bytes from outside that a run read: a file or folder of the user's, or a commit of a repository on the hub.
type Source struct {
	Field string
	Name  string // as the pipeline names it; "" where an older hone did not note it
	Hash  string // BLAKE3 of a file, or of a folder's manifest; "" on the hub
	Repo  string // on the hub: org/name, or datasets/org/name
	At    string // the repository's commit
}

// Eval is what a report says of one suite.
type Eval struct {
	Suite  string
	Run    *Run
	After  runner.Measure
	Before *runner.Measure // of the baseline
	Data   string          // hash of the rows

	Gated bool     // a gate has judged it: see Judge
	Fails []string // why that gate fails, STAGE: what
}

// Trace follows a record back by the hashes of what it read. Where several records made the same bytes it takes the latest
// that began before the reader did, one of the reader's own pipeline first: each is true, and that one is nearest.
func Trace(st *store.Store, made *store.Record, port string) (*Lineage, error) {
	records, err := st.AllRecords()
	if err != nil {
		return nil, err
	}
	t := tracer{makers: map[string][]*store.Record{}, runs: map[string]*Run{}, open: map[string]bool{}}
	for _, r := range records {
		for _, hash := range slices.Compact(slices.Sorted(hashes(r))) {
			t.makers[hash] = append(t.makers[hash], r)
		}
	}
	l := &Lineage{Made: t.run(made), Port: port, Runs: t.done}
	slices.Reverse(l.Runs)
	t.done = nil
	l.measure(st, &t, records)
	return l, nil
}

// Hashes is those of the artifacts whose lineage it is, by port.
func (l *Lineage) Hashes() map[string]store.Output {
	if l.Port == "" {
		return l.Made.Outputs
	}
	return map[string]store.Output{l.Port: l.Made.Outputs[l.Port]}
}

func hashes(r *store.Record) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, out := range r.Outputs {
			if !yield(out.Hash) {
				return
			}
		}
	}
}

// tracer finds the records that made artifacts. done has each run after those that it read from.
type tracer struct {
	makers map[string][]*store.Record // by hash, the oldest first
	runs   map[string]*Run
	open   map[string]bool // those being traced: a step that changes nothing reads and makes the same bytes
	done   []*Run
}

// id tells records apart: those of one key may differ in numerics.
func id(r *store.Record) string { return r.Key + r.Started.String() }

func (t *tracer) run(rec *store.Record) *Run {
	if known := t.runs[id(rec)]; known != nil {
		return known
	}
	run := &Run{Record: rec}
	t.runs[id(rec)], t.open[id(rec)] = run, true
	for _, in := range rec.Ingredients {
		var hash string
		if json.Unmarshal(in.Value, &hash) != nil {
			continue
		}
		switch in.From {
		case "input":
			read := Input{Field: in.Field, Hash: hash}
			if maker := t.maker(rec, hash); maker != nil {
				read.Run, read.Port = t.run(maker), portOf(maker, hash)
			}
			run.Inputs = append(run.Inputs, read)
		case "source":
			run.Sources = append(run.Sources, source(in.Field, rec.Sources[in.Field], hash))
		}
	}
	delete(t.open, id(rec))
	t.done = append(t.done, run)
	return run
}

// maker is the record that made what a reader read; nil where there is none.
func (t *tracer) maker(reader *store.Record, hash string) *store.Record {
	var best *store.Record
	rank := func(r *store.Record) int {
		n := 0
		if r.Started.Before(reader.Started) {
			n += 2
		}
		if r.Ref == reader.Ref {
			n++
		}
		return n
	}
	for _, r := range t.makers[hash] {
		if !t.open[id(r)] && (best == nil || rank(r) >= rank(best)) {
			best = r
		}
	}
	return best
}

func portOf(r *store.Record, hash string) string {
	for _, port := range slices.Sorted(maps.Keys(r.Outputs)) {
		if r.Outputs[port].Hash == hash {
			return port
		}
	}
	return ""
}

// source reads an ingredient: a commit is shorter than a hash.
func source(field, name, value string) Source {
	s := Source{Field: field, Name: name, Hash: value}
	if len(value) == 40 {
		s.Hash, s.At = "", value
		s.Repo, _, _ = strings.Cut(strings.TrimPrefix(name, "hf://"), "@")
	}
	return s
}

// measure finds the evals of the artifact, the latest of a suite over the same rows.
func (l *Lineage) measure(st *store.Store, t *tracer, records []*store.Record) {
	of := map[string]bool{}
	for _, out := range l.Hashes() {
		of[out.Hash] = true
	}
	if l.Made.Kind == "export" { // writes the model, whose evals are of other bytes than its own
		of[l.Made.Input("model")] = true
	}
	found := map[[2]string]Eval{}
	for _, r := range records { // the oldest first
		out, ok := r.Outputs["report"]
		if r.Kind != "eval" || !ok || !of[r.Input("model")] {
			continue
		}
		if err := st.Verify(out.Hash); err != nil {
			continue // freed by gc, or damaged: what a report says is known no longer
		}
		report, err := runner.ReadReport(st.Tree(out.Hash))
		if err != nil {
			continue // of another hone: no figure is better than a wrong one
		}
		for suite, after := range report.Suites {
			e := Eval{Suite: suite, Run: t.run(r), After: after, Data: r.Input("suites." + suite + ".data")}
			if before, ok := report.Baseline[suite]; ok {
				e.Before = &before
			}
			found[[2]string{suite, e.Data}] = e
		}
	}
	l.Evals = slices.SortedFunc(maps.Values(found), func(a, b Eval) int {
		return cmp.Or(strings.Compare(a.Suite, b.Suite), strings.Compare(a.Data, b.Data))
	})
}

// Judge says what the gates of a plan make of the evals. Thresholds are in no record, and so a gate is judged by each plan anew: this
// is of the pipeline as it is now. An eval that the plan does not reuse is not judged.
func (l *Lineage) Judge(plan *runner.Plan) error {
	for i := range l.Evals {
		e := &l.Evals[i]
		for _, s := range plan.Stages {
			if s.Record == nil || s.Record.Key != e.Run.Key {
				continue
			}
			gate, err := runner.Gate(s.Stage)
			if err != nil {
				return err
			}
			if _, ok := gate[e.Suite]; !ok {
				continue
			}
			e.Gated = true
			for _, f := range s.Failures {
				if f.Suite == e.Suite {
					e.Fails = append(e.Fails, s.Name+": "+f.String())
				}
			}
		}
	}
	return nil
}

// Setting is a field of a run's configuration as its schema resolved it, by its path: lora.rank.
type Setting struct {
	Field string
	Value json.RawMessage
}

// Settings is the configuration that a record keeps. The values of a program's environment stay out: people put tokens there,
// and provenance is published.
func (r *Run) Settings() []Setting {
	var list []Setting
	for _, in := range r.Ingredients {
		if in.From != "config" {
			continue
		}
		if r.Kind == "exec" && (strings.HasPrefix(in.Field, "env.") || in.Field == "env") {
			in.Value = json.RawMessage(`"not shown"`)
		}
		list = append(list, Setting{in.Field, in.Value})
	}
	return list
}

// Setting is the text or number at a field of the configuration; "" where it has none there.
func (r *Run) Setting(field string) string {
	for _, s := range r.Settings() {
		if s.Field == field {
			return text(s.Value)
		}
	}
	return ""
}

// text is a JSON value as people write it: a string without its quotes.
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

// sources are all bytes from outside that the runs go back to, each once.
func sources(runs []*Run) []Source {
	var all []Source
	seen := map[string]bool{}
	for _, r := range runs {
		for _, s := range r.Sources {
			if !seen[s.Repo+s.At+s.Hash] {
				seen[s.Repo+s.At+s.Hash] = true
				all = append(all, s)
			}
		}
	}
	return all
}
