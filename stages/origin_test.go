package stages_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/stagetest"
)

// noted runs a stage that notes where its rows come from, and returns the file of the notes.
func noted(t *testing.T, note func(j *stages.Job)) string {
	t.Helper()
	j := stagetest.New(t, "data.load", `{}`, nil)
	if r := stagetest.Run(t.Context(), t, j, func(_ context.Context, j *stages.Job) error { note(j); return nil }); r.Code != 0 {
		t.Fatal(r.Events)
	}
	return filepath.Join(j.Log, job.OriginFile("data"))
}

// A row is traced through stages that drop, repeat and mix rows to the line of the file that it came from.
func TestRowIsTraced(t *testing.T) {
	loaded := &job.Origin{Source: "data", Notes: noted(t, func(j *stages.Job) {
		for _, line := range []int64{1, 2, 4, 5} { // line 3 is empty
			j.From("data", "/a.jsonl:", line)
		}
		j.From("data", "/b.parquet: row ", 1)
	})}
	other := &job.Origin{Source: "more.csv", Notes: noted(t, func(j *stages.Job) { j.From("data", ":", 2) })}
	mixed := &job.Origin{Inputs: map[string]*job.Origin{"data[0].data": loaded, "data[1].data": other}, Notes: noted(t, func(j *stages.Job) {
		j.From("data", "data[0].data", 5)
		j.From("data", "data[1].data", 1)
		j.From("data", "data[0].data", 3)
		j.From("data", "data[0].data", 4)
		j.From("data", "data[2].data", 1)
	})}
	j := &stages.Job{Job: &job.Job{Inputs: map[string]job.Input{"data": {Origin: mixed}, "untold": {}, "gone": {Origin: &job.Origin{Notes: "gone"}}}}}
	for _, test := range []struct {
		field string
		n     int64
		want  string
	}{
		{"data", 1, "row 1 (data/b.parquet: row 1)"},
		{"data", 2, "row 2 (more.csv:2)"},
		{"data", 3, "row 3 (data/a.jsonl:4)"},
		{"data", 4, "row 4 (data/a.jsonl:5)"},
		{"data", 5, "row 5"}, // of an input whose rows are not traced
		{"data", 6, "row 6"}, // beyond the notes
		{"untold", 1, "row 1"},
		{"gone", 1, "row 1"},
	} {
		if got := j.Row(test.field, test.n); got != test.want {
			t.Errorf("%s %d: %s, want %s", test.field, test.n, got, test.want)
		}
	}
}
