package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// recordHelp is for verbs that show what a stage gave.
const recordHelp = `In place of the stage, the beginning of a key names an earlier run, and that of a
hash an artifact: hone show STAGE prints them.`

// prefix is the beginning of a key or hash, and perhaps a port.
var prefix = regexp.MustCompile(`^([0-9a-f]+)(?:\.(.+))?$`)

// leastPrefix is how many digits the beginning of a key or hash has at least, as in git: fewer could be a stage's name.
const leastPrefix = 7

// earlierShown is how many earlier runs a stage's are listed.
const earlierShown = 5

// candidatesShown is how many of those are listed that a beginning of few digits may mean.
const candidatesShown = 10

// record is the one that a name means which is no stage, but the beginning of a record's key or of an artifact's hash; nil
// where it is neither. The port is the artifact's, or what the name says behind a dot.
func (f *flags) record(name, path string) (rec *store.Record, port string, st *store.Store, err error) {
	m := prefix.FindStringSubmatch(name)
	if m == nil || len(m[1]) > 64 {
		return nil, "", nil, nil
	}
	g, err := f.graph([]string{path})
	if err == nil {
		if stage, _ := splitPort(g, name); g.Stage(stage) != nil {
			return nil, "", nil, nil
		}
	}
	none := err == nil // for it is no stage
	if st, err = f.openStore(); err != nil {
		return nil, "", nil, err
	}
	found, err := st.Named(m[1])
	switch long := len(m[1]) >= leastPrefix; {
	case err != nil:
		return nil, "", nil, err
	case len(found) == 0 && none && long:
		return nil, "", nil, usage("%s: no such stage, and no key or hash begins so\nlooked in %s", m[1], f.place)
	case len(found) == 0:
		return nil, "", nil, nil
	case !long:
		return nil, "", nil, usage("%s: no such stage, and the beginning of a key or hash has %d digits or more\n%s", m[1], leastPrefix, candidates(found))
	case len(found) > 1:
		return nil, "", nil, usage("%s: several begin so: name more digits\n%s", m[1], candidates(found))
	}
	return found[0].Record, cmp.Or(m[2], found[0].Port), st, nil
}

// candidates are what a prefix may mean, a line each: as many digits as tell all of them apart, and what made it.
func candidates(found []store.Named) string {
	digits := 12
	for i := range found[1:] { // sorted: neighbours have most in common
		same := 0
		for same < len(found[i].Hash) && found[i].Hash[same] == found[i+1].Hash[same] {
			same++
		}
		digits = max(digits, same+1)
	}
	var b strings.Builder
	t := newTable(&b)
	for i, n := range found {
		if i == candidatesShown {
			t.row(fmt.Sprintf("  and %d more", len(found)-i))
			break
		}
		what := "the run"
		if n.Port != "" {
			what = "out." + n.Port
		}
		t.row(fmt.Sprintf("  %.*s", digits, n.Hash), what, n.Record.Stage+" of "+n.Record.Pipeline, n.Record.Started.Local().Format(dayAndTime))
	}
	_ = t.flush() // to memory
	return strings.TrimSuffix(b.String(), "\n")
}

// one is the port that a record's name means: the named one, or the only one of those that fit.
func one(rec *store.Record, name, port string, fits func(store.Output) bool) (string, error) {
	var ports []string
	for _, p := range slices.Sorted(maps.Keys(rec.Outputs)) {
		if fits(rec.Outputs[p]) {
			ports = append(ports, p)
		}
	}
	switch {
	case port == "" && len(ports) == 1:
		return ports[0], nil
	case port == "" && len(ports) > 1:
		return "", usage("%s has several ports: %s.%s", name, name, strings.Join(ports, ", "+name+"."))
	case slices.Contains(ports, port):
		return port, nil
	}
	return "", usage("%s (%s of %s) has no such artifact; it has %s", name, rec.Stage, rec.Pipeline, strings.Join(slices.Sorted(maps.Keys(rec.Outputs)), ", "))
}

// openRecord opens the model that an earlier run made, with the base that an adapter was trained over.
func (f *modelFlags) openRecord(name string) (*openedModel, error) {
	rec, port, st, err := f.record(name, f.pipeline)
	if rec == nil || err != nil {
		return nil, err
	}
	port, err = one(rec, name, port, func(o store.Output) bool {
		return o.Kind == "model" || o.Kind == "adapter" || f.files && rec.Kind == "export"
	})
	if err != nil {
		return nil, err
	}
	out := rec.Outputs[port]
	if err := st.Check(out.Hash); err != nil { // gc frees what no last run uses
		return nil, f.unsound(st, rec.Stage+"."+port, err)
	}
	in := job.Input{Kind: out.Kind, Hash: out.Hash, Path: st.Tree(out.Hash)}
	if base := rec.Input("model"); out.Kind == "adapter" && base != "" {
		in.Base = &job.Input{Kind: "model", Hash: base, Path: st.Tree(base)}
	}
	return made{rec, port, st}.opened(f.verified(st, rec.Stage+"."+port, in))
}

// recorded is an earlier run in the place of a planned stage.
func recorded(rec *store.Record) *runner.StagePlan {
	p := &runner.StagePlan{
		Name: rec.Stage, Kind: rec.Kind, Action: runner.Reuse, Key: &rec.Key, Why: []runner.Change{}, Record: rec, Stage: &pipelines.Stage{Name: rec.Stage},
		Inputs: map[string]*string{}, Outputs: map[string]*string{},
	}
	for port, out := range rec.Outputs {
		p.Outputs[port] = &out.Hash
	}
	return p
}

// earlier lists a stage's other runs, the newest first: when, and what came of them.
func earlier(r *runner.Runner, s *runner.StagePlan) string {
	records := r.Earlier(s)
	if len(records) == 0 {
		return ""
	}
	var b strings.Builder
	t := newTable(&b)
	for i, rec := range records {
		if i == earlierShown {
			t.row(fmt.Sprintf("  and %d more", len(records)-i))
			break
		}
		t.row("  "+rec.Key[:12], rec.Started.Local().Format(dayAndTime), metricsLine(rec.Metrics, 50))
	}
	_ = t.flush() // to memory
	return "earlier runs (hone show KEY):\n" + b.String()
}
