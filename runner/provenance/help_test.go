package provenance

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/runner/store"
)

var update = flag.Bool("update", false, "rewrite what the tests expect")

// history is a store whose records follow one another by a minute each.
type history struct {
	*store.Store
	t   *testing.T
	now time.Time
}

func begin(t *testing.T) *history {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Init(); err != nil {
		t.Fatal(err)
	}
	return &history{st, t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// put makes an artifact of files, each its name, a colon and its text.
func (h *history) put(files ...string) string {
	h.t.Helper()
	dir := h.t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, ":")
		write(h.t, filepath.Join(dir, name), text)
	}
	hash, err := h.Put(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	return hash
}

// did is the record of a stage of that kind that read and made artifacts, by field and port; others are as in want, to be changed.
func (h *history) did(stage, kind string, in, out map[string]string, change ...func(*store.Record)) *store.Record {
	h.t.Helper()
	h.now = h.now.Add(time.Minute)
	r := &store.Record{
		Key: store.Sum([]byte(stage + h.now.String())), Kind: kind, Pipeline: "p", Ref: "here", Stage: stage, Started: h.now, Seconds: 1.5, Version: "v1.2.3",
		Outputs: map[string]store.Output{}, Numerics: &job.Numerics{Device: "cpu", ISA: "AVX2", Libtorch: "2.11.0", Threads: 2},
		Ingredients: []store.Ingredient{{From: "stage", Field: "implementation", Value: json.RawMessage("7")}},
	}
	for field, hash := range in {
		r.Ingredients = append(r.Ingredients, store.Ingredient{From: "input", Field: field, Value: quoted(hash)})
	}
	for port, hash := range out {
		what := map[string]string{"model": "model", "adapter": "adapter", "data": "dataset", "report": "report"}[port]
		r.Outputs[strings.Replace(port, "adapter", "model", 1)] = store.Output{Kind: what, Hash: hash}
	}
	for _, f := range change {
		f(r)
	}
	slices.SortFunc(r.Ingredients, func(a, b store.Ingredient) int { return strings.Compare(a.From+a.Field, b.From+b.Field) })
	if err := h.Commit(r, ""); err != nil {
		h.t.Fatal(err)
	}
	return r
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}

// from gives a record a source, and with a value a setting.
func from(field, name, hash string) func(*store.Record) {
	return func(r *store.Record) {
		r.Ingredients = append(r.Ingredients, store.Ingredient{From: "source", Field: field, Value: quoted(hash)})
		if name != "" {
			r.Sources = map[string]string{field: name}
		}
	}
}

func set(field, value string) func(*store.Record) {
	return func(r *store.Record) {
		r.Ingredients = append(r.Ingredients, store.Ingredient{From: "config", Field: field, Value: json.RawMessage(value)})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden compares with a file of testdata, which -update writes.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, string(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-update rewrites it): %s", name, d)
	}
}

const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	repo   = "HuggingFaceTB/SmolLM2-135M-Instruct"
)

// tuned is the records of an adapter over a model of the hub, which an eval has measured.
func tuned(t *testing.T) (*history, *store.Record) {
	h := begin(t)
	base := h.put(`config.json:{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}`, "model.safetensors:weights")
	rows, kept := h.put("data.parquet:rows"), h.put("data.parquet:kept")
	adapter := h.put(`adapter_config.json:{"r": 8}`, "adapter_model.safetensors:factors")
	h.did("base", "model.load", nil, map[string]string{"model": base}, from("source", "hf://"+repo+"@main", commit), set("dtype", `"auto"`))
	h.did("rows", "data.load", nil, map[string]string{"data": rows}, from("source", "data/train.jsonl", store.Sum([]byte("a file"))), func(r *store.Record) {
		r.Metrics = map[string]float64{"rows": 320}
	})
	h.did("good", "curate.filter", map[string]string{"data": rows}, map[string]string{"data": kept}, set("steps[0].exact", "{}"))
	made := h.did("tune", "train.sft", map[string]string{"data": kept, "model": base}, map[string]string{"adapter": adapter},
		set("learningRate", "0.0002"), set("lora.rank", "8"), set("epochs", "1"), set("optimizer.kind", `"adamw"`), set("model.kind", `"model"`),
		func(r *store.Record) { r.Metrics = map[string]float64{"loss": 1.25, "steps": 12} })
	report := h.put(`report.json:{"suites": {"sql": {"metric": "score", "value": 0.625, "rows": 48, "tokens": 900}, "text": {"metric": "perplexity", "value": 12.5, "rows": 9, "tokens": 800}},
		"baseline": {"sql": {"metric": "score", "value": 0.25, "rows": 48, "tokens": 990}}}`)
	h.did("score", "eval", map[string]string{"model": adapter, "model.base": base, "suites.sql.data": kept, "suites.text.data": rows}, map[string]string{"report": report},
		set("suites.sql.exact", "{}"), set("suites.text.perplexity", "{}"))
	return h, made
}

func traced(t *testing.T, h *history, made *store.Record) *Lineage {
	t.Helper()
	l, err := Trace(h.Store, made, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stages is what a lineage goes back to, in its order.
func stages(l *Lineage) string {
	var names []string
	for _, r := range l.Runs {
		names = append(names, r.Stage)
	}
	return strings.Join(names, " ")
}
