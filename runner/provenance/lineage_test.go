package provenance

import (
	"fmt"
	"testing"
	"time"

	"github.com/hone-ml/hone/runner/store"
)

func TestTrace(t *testing.T) {
	h, made := tuned(t)
	l := traced(t, h, made)
	if got := stages(l); got != "tune base good rows" {
		t.Errorf("goes back to %s", got)
	}
	if len(l.Evals) != 2 || l.Evals[0].Suite != "sql" || l.Evals[0].After.Value != 0.625 || l.Evals[0].Before.Value != 0.25 || l.Evals[1].Before != nil {
		t.Errorf("measured: %+v", l.Evals)
	}
}

// A step that changes nothing reads and makes the same bytes: it is its own maker's neighbour, not its own maker.
func TestTracePassingThrough(t *testing.T) {
	h := begin(t)
	rows := h.put("data.parquet:rows")
	h.did("rows", "data.load", nil, map[string]string{"data": rows})
	h.did("good", "curate.filter", map[string]string{"data": rows}, map[string]string{"data": rows})
	made := h.did("mix", "curate.mix", map[string]string{"data": rows}, map[string]string{"data": h.put("data.parquet:mixed")})
	if got := stages(traced(t, h, made)); got != "mix good rows" {
		t.Errorf("goes back to %s", got)
	}
	// There and back again: each made what the other read.
	a, b := h.put("data.parquet:a"), h.put("data.parquet:b")
	h.did("there", "curate.mix", map[string]string{"data": a}, map[string]string{"data": b})
	back := h.did("back", "curate.mix", map[string]string{"data": b}, map[string]string{"data": a})
	if got := stages(traced(t, h, back)); got != "back there" {
		t.Errorf("goes back to %s", got)
	}
}

// Bytes that several records made are of the nearest: of the reader's pipeline, before it; but one made again later will do.
func TestTraceNearest(t *testing.T) {
	h := begin(t)
	rows := h.put("data.parquet:rows")
	elsewhere := func(r *store.Record) { r.Ref = "elsewhere" }
	h.did("old", "data.load", nil, map[string]string{"data": rows})
	h.did("ours", "data.load", nil, map[string]string{"data": rows})
	h.did("theirs", "data.load", nil, map[string]string{"data": rows}, elsewhere)
	made := h.did("mix", "curate.mix", map[string]string{"data": rows}, map[string]string{"data": h.put("data.parquet:mixed")})
	h.did("later", "data.load", nil, map[string]string{"data": rows})
	if got := stages(traced(t, h, made)); got != "mix ours" {
		t.Errorf("goes back to %s", got)
	}

	h = begin(t)
	made = h.did("mix", "curate.mix", map[string]string{"data": rows}, map[string]string{"data": h.put("data.parquet:mixed")})
	if l := traced(t, h, made); stages(l) != "mix" || l.Made.Inputs[0].Run != nil {
		t.Errorf("goes back to %s", stages(l))
	}
	h.did("again", "data.load", nil, map[string]string{"data": rows}, elsewhere)
	if got := stages(traced(t, h, made)); got != "mix again" {
		t.Errorf("goes back to %s", got)
	}
}

// The latest eval of a suite over the same rows is the one that counts, and a report that gc has freed is not known.
func TestTraceEvals(t *testing.T) {
	h, made := tuned(t)
	adapter := made.Outputs["model"].Hash
	eval := func(data string, value float64) {
		h.did("score", "eval", map[string]string{"model": adapter, "suites.sql.data": data}, map[string]string{
			"report": h.put(fmt.Sprintf(`report.json:{"suites": {"sql": {"metric": "score", "value": %g, "rows": 48}}}`, value)),
		})
	}
	kept := made.Input("data")
	eval(kept, 0.75)
	eval(store.Sum([]byte("other rows")), 0.5)
	l := traced(t, h, made)
	found := map[float64]bool{}
	for _, e := range l.Evals {
		found[e.After.Value] = true
	}
	if len(l.Evals) != 3 || !found[0.75] || !found[0.5] || !found[12.5] {
		t.Errorf("measured: %+v", l.Evals)
	}
}

func TestTraceLongChain(t *testing.T) {
	records := 10_000
	tr := tracer{makers: map[string][]*store.Record{}, runs: map[string]*Run{}, open: map[string]bool{}}
	var last *store.Record
	for i := range records {
		out := store.Sum(fmt.Append(nil, i))
		r := &store.Record{Key: out, Stage: fmt.Sprint(i), Started: time.Unix(int64(i), 0), Outputs: map[string]store.Output{"out": {Kind: "files", Hash: out}}}
		if last != nil {
			r.Ingredients = []store.Ingredient{{From: "input", Field: "inputs.x", Value: quoted(last.Outputs["out"].Hash)}}
		}
		tr.makers[out] = []*store.Record{r}
		last = r
	}
	tr.run(last)
	if len(tr.done) != records || tr.done[0].Stage != "0" {
		t.Errorf("%d runs, the first %s", len(tr.done), tr.done[0].Stage)
	}
}
