package model

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages/stagetest"
)

var prompted = map[string][]string{
	"prompt":            {`{"prompt": "Which is larger, 3 or 9?", "id": 7}`, `{"prompt": "Spell maple.", "id": 8}`, `{"prompt": "Spell plum.", "id": 9}`},
	"messages":          {`{"messages": [{"role": "user", "content": "Spell plum."}, {"role": "assistant", "content": "p l u m"}], "id": 7}`},
	"prompt-completion": {`{"prompt": "Spell plum.", "completion": " p l u m", "id": 7}`},
	"preference":        {`{"prompt": [{"role": "user", "content": "Spell plum."}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}], "id": 7}`},
}

// answering does a kind that answers rows with the toy, and returns it with its ports' rows.
func answering(t *testing.T, kind, model, fields string, data job.Input, ports ...string) (stagetest.Result, map[string]*dataset.Dataset, map[string][]dataset.Row) {
	t.Helper()
	config := fmt.Sprintf(`{%q: {"kind": "model", "from": "m", "port": "model"}, "data": {"kind": "dataset", "from": "d", "port": "data"},
		"maxNewTokens": 6, "batch": 4, "seed": 3, "temperature": 1, "date": "2024-07-26", %s}`, model, fields)
	out := map[string]string{}
	for _, port := range ports {
		out[port] = "dataset"
	}
	j := stagetest.New(t, kind, config, out)
	j.Inputs[model], j.Inputs["data"] = toy(t), data
	r := try(t, j)
	opened, rows := map[string]*dataset.Dataset{}, map[string][]dataset.Row{}
	for _, port := range ports {
		if r.Code != 0 {
			break
		}
		d, err := dataset.Open(j.Out[port].Path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		opened[port] = d
		for row, err := range d.All() {
			if err != nil {
				t.Fatal(err)
			}
			rows[port] = append(rows[port], row)
		}
	}
	return r, opened, rows
}

// learns has train.sft take a step on rows.
func learns(t *testing.T, dir string) {
	t.Helper()
	j := stagetest.New(t, "train.sft", sftConfig(func(c *schemas.TrainSFT) { one := int64(1); c.MaxSteps = &one }), map[string]string{"model": "model"})
	j.Inputs["model"], j.Inputs["data"] = toy(t), job.Input{Kind: "dataset", Path: dir}
	do(t, j)
}

func text(v any) string { return string(ordjson.Append(nil, v)) }

// Every format of prompts gives rows that train.sft takes: the teacher's answers in place of the row's own, n a prompt, other
// columns kept, the teacher's system message gone.
func TestDistill(t *testing.T) {
	for format, given := range prompted {
		t.Run(format, func(t *testing.T) {
			system := `, "system": "Be brief."`
			if format == "prompt-completion" { // text that goes in as it stands
				system = ""
			}
			r, opened, rows := answering(t, "curate.distill", "teacher", `"n": 2`+system, lines(t, given...), "data")
			if r.Code != 0 {
				t.Fatal(r.Last())
			}
			want := dataset.Messages
			if format == "prompt-completion" || format == "preference" {
				want = dataset.PromptCompletion
			}
			if d := opened["data"]; d.Format != want || len(rows["data"]) == 0 || len(rows["data"]) > 2*len(given) {
				t.Errorf("%s, %d rows", d.Format, len(rows["data"]))
			}
			answers := map[string]bool{}
			for _, row := range rows["data"] {
				if strings.Contains(text(row), "Be brief") || strings.Contains(text(row), "p l u m") || strings.Contains(text(row), "chosen") {
					t.Errorf("row %s", text(row))
				}
				if id, _ := row.Get("id"); id == nil {
					t.Errorf("no id in %s", text(row))
				}
				answers[text(row)] = true
			}
			if len(answers) < 2 {
				t.Errorf("answers %v", answers)
			}
			learns(t, r.Out("data"))
		})
	}
}

// The best and the worst of each row are those whose scores are highest and lowest among its candidates.
func TestReject(t *testing.T) {
	for format, given := range prompted {
		t.Run(format, func(t *testing.T) {
			r, opened, rows := answering(t, "curate.reject", "model", `"n": 6, "graders": {
				"long": {"cel": {"expression": "size(completion)"}, "weight": 1}, "vowels": {"regex": {"pattern": "[aeiou]"}, "weight": -0.5}}`,
				lines(t, given...), "data", "pairs", "candidates")
			if r.Code != 0 {
				t.Fatal(r.Last())
			}
			if d := opened["pairs"]; d.Format != dataset.Preference || d.Rows == 0 || opened["candidates"].Rows != int64(6*len(given)) {
				t.Fatalf("%d pairs of %s, %d candidates", d.Rows, d.Format, opened["candidates"].Rows)
			}
			sums := map[string][]float64{}
			said := map[string]bool{}
			for _, row := range rows["candidates"] {
				n, _ := row.Get("row")
				scores, _ := row.Get("scores")
				long, _ := scores.(*ordjson.Object).Get("long")
				vowels, _ := scores.(*ordjson.Object).Get("vowels")
				sum, _ := row.Get("score")
				x := real(t, sum)
				if x != real(t, long)-real(t, vowels)/2 {
					t.Errorf("candidate %s", text(row))
				}
				sums[fmt.Sprint(n)] = append(sums[fmt.Sprint(n)], x)
				completion, _ := row.Get("completion")
				said[text(completion)] = true
			}
			for i, row := range rows["data"] {
				best, _ := row.Get("score")
				for _, x := range sums[fmt.Sprint(i+1)] {
					if x > real(t, best) {
						t.Errorf("row %d: %v kept, %v is better", i+1, best, x)
					}
				}
			}
			for _, row := range rows["pairs"] {
				chosen, _ := row.Get("score_chosen")
				rejected, _ := row.Get("score_rejected")
				good, _ := row.Get("chosen")
				bad, _ := row.Get("rejected")
				if real(t, chosen) <= real(t, rejected) || !said[text(good)] || !said[text(bad)] {
					t.Errorf("pair %s", text(row))
				}
				if id, _ := row.Get("id"); id == nil {
					t.Errorf("no id in %s", text(row))
				}
			}
			if v := r.Last().Values; v["rows"] != float64(len(given)) || v["rows_kept"] != float64(len(given)) || v["score_best"] < v["score"] {
				t.Errorf("summary %v", v)
			}
			learns(t, r.Out("data"))
		})
	}
}

func real(t *testing.T, v any) float64 {
	t.Helper()
	x, err := v.(ordjson.Number).Float64()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A completion that could not be scored is shown, a line of it at most, unless the row alone is at fault; and rows with the same mistake
// are told together whatever they say.
func TestUnscored(t *testing.T) {
	fault := errors.New("odd")
	for want, got := range map[string]error{
		`row 3: completion 2 "a\nb\x1b[1m": odd`:                    unscored("row 3", "a\nb\x1b[1m", 1, 4, fault),
		`row 3: completion "": odd`:                                 unscored("row 3", "", 0, 1, fault),
		`row 3: completion "` + strings.Repeat("é", 80) + `": odd`:  unscored("row 3", strings.Repeat("é", 80), 0, 1, fault),
		`row 3: completion "` + strings.Repeat("é", 80) + `"…: odd`: unscored("row 3", strings.Repeat("é", 81), 0, 1, fault),
		`row 3: right: odd`:                                         unscored("row 3", "a", 1, 4, fmt.Errorf("right: %w", &grade.OfRow{Err: fault})),
	} {
		if got.Error() != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	var bad dataset.BadRows
	for i := range 9 {
		bad.Add(unscored(fmt.Sprint("row ", i+1), fmt.Sprint("says ", i), 0, 1, fault))
	}
	if got := bad.Error(); got != `row 1: completion "says 0": odd (the same in 8 more rows)` {
		t.Error(got)
	}
}

// Ties make no pair, a minimum leaves rows out, and rows that cannot be graded are named.
func TestRejectLeavesOut(t *testing.T) {
	data := lines(t, prompted["prompt"]...)
	r, _, rows := answering(t, "curate.reject", "model", `"n": 2, "minimum": 8, "graders": {"id": {"cel": {"expression": "row.id"}, "weight": 1}}`,
		data, "data", "pairs", "candidates")
	if v := r.Last().Values; r.Code != 0 || len(rows["data"]) != 2 || len(rows["pairs"]) != 0 || len(rows["candidates"]) != 6 ||
		v["ties"] != 3 || v["pass@1"] != 2.0/3 || v["pass@2"] != 2.0/3 || v["score"] != 8 || v["rows_kept"] != 2 {
		t.Errorf("%d rows, %d pairs, %d candidates, %+v", len(rows["data"]), len(rows["pairs"]), len(rows["candidates"]), r.Last())
	}
	for graders, want := range map[string]string{
		`"minimum": 10, "graders": {"id": {"cel": {"expression": "row.id"}, "weight": 1}}`:                    "minimum: no row of 3 has a candidate to keep",
		`"graders": {"a": {"exact": {}, "weight": 1}}`:                                                        "graders.a: no column answer to compare with; there is prompt, id",
		`"graders": {"a": {"exec": {"command": ["sh", "-c", "read a; echo '{\"score\": 1}'"]}, "weight": 1}}`: `row 1: completion 2 ".*"…?: a: exec: sh ended before`,
		`"graders": {"a": {"exec": {"command": ["no-such-program"]}, "weight": 1}}`:                           "graders: a: exec.command: no program no-such-program",
	} {
		r, _, _ := answering(t, "curate.reject", "model", `"n": 2, `+graders, data, "data", "pairs", "candidates")
		if e := r.Last(); r.Code == 0 || !regexp.MustCompile(want).MatchString(e.Path+": "+e.Message) {
			t.Errorf("%s: exit %d: %s: %s", graders, r.Code, e.Path, e.Message)
		}
	}
}
