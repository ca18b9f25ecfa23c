package model

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

// graders with what a model that has learnt these rows is to score, a number a row.
var (
	learnt = []string{
		`{"prompt": "Query?", "completion": "SELECT 2", "n": "42", "query": "SELECT 1 + 1"}`,
		`{"prompt": "Object?", "completion": "{\"a\": 3}", "n": "42", "query": "SELECT 1 + 1"}`,
		`{"prompt": "Sum?", "completion": "it is 42.0", "n": "42", "query": "SELECT 1 + 1"}`,
	}
	scores = map[string][]float64{"sql": {1, 0, 0}, "json": {0, 1, 0}, "number": {0, 0, 1}, "program": {0.25, 0.25, 0.5}}
)

// gradersOf are those graders, with their files as inputs of a job's field.
func gradersOf(t *testing.T, j *job.Job, field string) map[string]schemas.WeightedGrader {
	t.Helper()
	dir := t.TempDir()
	page := make([]byte, 512) // an SQLite file without a table
	copy(page, "SQLite format 3\x00\x02\x00\x01\x01\x00\x40\x20\x20")
	page[31], page[47], page[59], page[100], page[105] = 1, 4, 1, 13, 2 // pages, format, UTF-8; a leaf, whose content starts at 512
	write(t, dir, "empty.db", string(page))
	write(t, dir, "half.sh", `while read -r a; do case $a in *'"completion":"it is'*) echo '{"score": 0.5}';; *) echo '{"score": 0.25}';; esac; done`)
	j.Files[field+".sql.sql.database"] = filepath.Join(dir, "empty.db")
	j.Files[field+".program.exec.files[0]"] = filepath.Join(dir, "half.sh")
	return map[string]schemas.WeightedGrader{
		"sql":     {Grader: schemas.Grader{SQL: &schemas.SQL{Compare: schemas.Compare{Column: "query"}, Database: schemas.Ref{Path: "empty.db"}}}, Weight: 1},
		"json":    {Grader: schemas.Grader{JSONSchema: &schemas.JSONSchema{Schema: map[string]any{"type": "object", "required": []string{"a"}}}}, Weight: 2},
		"number":  {Grader: schemas.Grader{Number: &schemas.Compare{Column: "n"}}, Weight: 4},
		"program": {Grader: schemas.Grader{Exec: &schemas.Program{Command: []string{"sh", "half.sh"}, Files: []string{"half.sh"}}}, Weight: -1},
	}
}

// Graders with files and columns of their own serve as rewards of train.grpo and as graders of curate.reject.
func TestGradersReward(t *testing.T) {
	data := lines(t, learnt...)
	model, _ := tune(t, data, nil, func(c *schemas.TrainSFT) {
		steps := int64(60)
		c.MaxSteps, c.LogEvery, c.LearningRate, c.Loss = &steps, 60, 1e-2, "completion"
	})

	j := grpoJob(t, data, nil)
	var c schemas.TrainGRPO
	if err := json.Unmarshal(j.Config, &c); err != nil {
		t.Fatal(err)
	}
	one := int64(1)
	c.MaxSteps, c.Batch.Rows, c.Generations, c.MaxNewTokens, c.Temperature, c.Shuffle = &one, 3, 2, 16, 0.01, false
	c.Rewards = gradersOf(t, j, "rewards")
	j.Config, j.Inputs["model"] = json.RawMessage(encoded(t, c)), model
	r := do(t, j)
	var sum float64
	for name, want := range scores {
		if got := logged(r, "rewards/"+name+"/mean"); len(got) != 1 || math.Abs(got[0]-mean(want)) > 1e-6 {
			t.Errorf("%s: mean %v, want %g", name, got, mean(want))
		}
		sum += c.Rewards[name].Weight * mean(want)
	}
	if got := logged(r, "reward"); len(got) != 1 || math.Abs(got[0]-sum) > 1e-6 {
		t.Errorf("reward %v, want %g", got, sum)
	}

	j = stagetest.New(t, "curate.reject", "{}", map[string]string{"data": "dataset", "pairs": "dataset", "candidates": "dataset"})
	graders := gradersOf(t, j, "graders")
	j.Config = json.RawMessage(fmt.Sprintf(`{"model": {"kind": "model", "from": "m", "port": "model"}, "data": {"kind": "dataset", "from": "d", "port": "data"},
		"maxNewTokens": 16, "batch": 4, "n": 2, "seed": 3, "temperature": 0.01, "date": "2024-07-26", "graders": %s}`, encoded(t, graders)))
	j.Inputs["model"], j.Inputs["data"] = model, data
	do(t, j)
	d, err := dataset.Open(j.Out["candidates"].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Rows != 6 {
		t.Errorf("%d candidates", d.Rows)
	}
	for row, err := range d.All() {
		if err != nil {
			t.Fatal(err)
		}
		n, _ := row.Get("row")
		given, _ := row.Get("scores")
		var sum float64
		for name, want := range scores {
			score, _ := given.(*ordjson.Object).Get(name)
			if x := want[int(real(t, n))-1]; real(t, score) != x {
				t.Errorf("%s: want %s %g", text(row), name, x)
			}
			sum += graders[name].Weight * real(t, score)
		}
		if x, _ := row.Get("score"); real(t, x) != sum {
			t.Errorf("%s: want the score %g", text(row), sum)
		}
	}
}
