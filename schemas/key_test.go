package schemas_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hone-ml/hone/schemas"
)

const tune = `{
	"model": {"kind": "model", "from": "base", "port": "model"}, "data": {"kind": "dataset", "from": "rows", "port": "data"},
	"learningRate": 1e-5, "epochs": 1, "batch": {"rows": 8, "accumulate": 1}, "maxLength": 1024,
	"schedule": {"kind": "linear", "warmup": 0, "minimum": 0},
	"optimizer": {"kind": "adamw", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weightDecay": 0},
	"clip": 1, "seed": 42, "shuffle": true, "dtype": "auto", "gradientCheckpointing": false, "date": "2024-07-26",
	"logEvery": 10, "saveEvery": 500, "saveTotalLimit": 2, "packing": false,
	"lora": {"rank": 16, "alpha": 32, "dropout": 0, "targets": "all-linear", "rslora": false, "dora": false, "doubleQuantize": false, "init": "adapters/a"}}`

func key(t *testing.T, kind, config string) string {
	t.Helper()
	b, err := schemas.KeyConfig(kind, json.RawMessage(config))
	if err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	return string(b)
}

// TestKeyConfigLeavesOut changes what must re-run nothing.
func TestKeyConfigLeavesOut(t *testing.T) {
	for _, change := range [][2]string{
		{`"logEvery": 10`, `"logEvery": 1`},
		{`"saveEvery": 500`, `"saveEvery": 7`},
		{`"saveTotalLimit": 2`, `"saveTotalLimit": 9`},
		{`"from": "base"`, `"from": "renamed"`},
		{`"port": "data"`, `"port": "train"`},
		{`"epochs": 1`, `"epochs": 1.0`},
		{`1e-5`, `0.00001`},
		{`"adapters/a"`, `"elsewhere/a"`},
		{`"clip": 1, "seed": 42`, `"seed": 42, "clip": 1`},
		{`"packing": false`, `"packing": false, "objective": "nll", "groupByLength": false`},
	} {
		changed := strings.Replace(tune, change[0], change[1], 1)
		if changed == tune {
			t.Fatalf("%s is not there", change[0])
		}
		if a, b := key(t, "train.sft", tune), key(t, "train.sft", changed); a != b {
			t.Errorf("%s → %s changes the key:\n%s\n%s", change[0], change[1], a, b)
		}
	}
}

// TestKeyConfigKeeps changes what must run again.
func TestKeyConfigKeeps(t *testing.T) {
	for _, change := range [][2]string{
		{`1e-5`, `1.0001e-5`},
		{`"seed": 42`, `"seed": 43`},
		{`"kind": "model", "from"`, `"kind": "adapter", "from"`},
		{`, "init": "adapters/a"`, ``},
		{`"adapters/a"`, `{"kind": "adapter", "from": "a", "port": "model"}`},
		{`"all-linear"`, `["q_proj"]`},
		{`"rslora": false`, `"rslora": false, "learningRateRatio": 16`},
		{`"dora": false`, `"dora": true`},
		{`"dora": false`, `"dora": false, "quantize": "nf4"`},
		{`"doubleQuantize": false`, `"doubleQuantize": true`},
		{`"packing": false`, `"packing": false, "loss": "all"`},
		{`"packing": false`, `"packing": false, "objective": "dft"`},
		{`"packing": false`, `"packing": false, "neftuneAlpha": 5`},
		{`"packing": false`, `"packing": false, "groupByLength": true`},
		{`"packing": false`, `"packing": false, "freeze": {"layers": 2}`},
		{`"packing": false`, `"packing": false, "eval": {"data": {"kind": "dataset", "from": "e", "port": "data"}, "every": 5, "batch": 8, "keepBest": false}`},
		{`"epochs": 1`, `"epochs": 1, "maxSteps": 3`},
	} {
		changed := strings.Replace(tune, change[0], change[1], 1)
		if changed == tune {
			t.Fatalf("%s is not there", change[0])
		}
		if a, b := key(t, "train.sft", tune), key(t, "train.sft", changed); a == b {
			t.Errorf("%s → %s leaves the key as it is:\n%s", change[0], change[1], a)
		}
	}
}

func TestKeyConfigOfOtherKinds(t *testing.T) {
	same := func(kind, a, b string, want bool) {
		t.Helper()
		if got := key(t, kind, a) == key(t, kind, b); got != want {
			t.Errorf("%s: equal is %v\n%s\n%s", kind, got, key(t, kind, a), key(t, kind, b))
		}
	}
	report := `{"model": {"kind": "model", "from": "m", "port": "model"}, "batch": 8, "date": "2024-07-26",
		"suites": {"a": {"data": {"kind": "dataset", "from": "d", "port": "data"}, "maxNewTokens": 9, "exact": {}}}GATE}`
	same("eval", strings.Replace(report, "GATE", `, "gate": {"a": {"minimum": 0.5}}`, 1), strings.Replace(report, "GATE", "", 1), true)
	same("eval", strings.Replace(report, "GATE", "", 1), strings.Replace(strings.Replace(report, "GATE", "", 1), "exact", "contains", 1), false)
	graded := func(grader string) string {
		return strings.Replace(strings.Replace(report, "GATE", "", 1), `"exact": {}`, grader, 1)
	}
	same("eval", graded(`"sql": {"database": "a.db"}`), graded(`"sql": {"database": "far/b.db"}`), true) // the bytes decide
	same("eval", graded(`"sql": {"database": "a.db"}`), graded(`"sql": {"database": {"kind": "files", "from": "a", "port": "db"}}`), false)
	same("eval", graded(`"exec": {"command": ["./a"], "files": ["a"]}`), graded(`"exec": {"command": ["./a"], "files": ["b"]}`), false)
	same("eval", graded(`"jsonSchema": {"schema": {"minimum": 1}}`), graded(`"jsonSchema": {"schema": {"minimum": 1.0}}`), true)
	same("data.load", `{"source": "a.jsonl"}`, `{"source": "b.jsonl"}`, true)
	same("data.load", `{"source": "a.jsonl"}`, `{"source": "far/away/A.JSONL"}`, true)
	same("data.load", `{"source": "a.jsonl"}`, `{"source": "a.txt"}`, false) // other rows from the same bytes
	same("data.load", `{"source": "a.jsonl.gz"}`, `{"source": "a.txt.gz"}`, false)
	same("model.load", `{"source": "hf://a/b1.5@main", "dtype": "auto"}`, `{"source": "hf://a/b1.7@v2.1", "dtype": "auto"}`, true) // the commit decides
	same("data.load", `{"source": "a.jsonl"}`, `{"source": "a.jsonl", "columns": {"text": "body"}}`, false)
	same("model.load", `{"config": {"hidden_size": 64}, "seed": 1, "dtype": "auto"}`, `{"config": {"hidden_size": 64.0}, "seed": 1, "dtype": "auto"}`, true)
	same("model.load", `{"config": {"source": "x"}, "seed": 1, "dtype": "auto"}`, `{"config": {"source": "y"}, "seed": 1, "dtype": "auto"}`, false)
	ship := `{"model": {"kind": "model", "from": "m", "port": "model"}, "format": "gguf", "type": "f16"}`
	same("export", ship, strings.Replace(ship, "f16", "q8_0", 1), false)
	same("export", strings.Replace(ship, "gguf", "hf", 1), strings.Replace(strings.Replace(ship, `, "type": "f16"`, "", 1), "gguf", "hf", 1), false)
	same("exec", `{"command": ["a"], "files": ["a.py"], "out": {}}`, `{"command": ["a"], "files": ["b.py"], "out": {}}`, false)
}

// The cadence of an evaluation is an ingredient where the result follows from it.
func TestEvaluationInKey(t *testing.T) {
	with := func(eval string) string {
		return key(t, "train.sft", strings.Replace(tune, `"packing": false`, `"packing": false, "eval": {"data": {"kind": "dataset", "from": "e", "port": "data"}, `+eval+`}`, 1))
	}
	for rest, same := range map[string]bool{`"keepBest": false`: true, `"keepBest": true`: false, `"keepBest": false, "earlyStopping": {"patience": 2, "minDelta": 0}`: false} {
		if got := with(`"every": 5, "batch": 8, `+rest) == with(`"every": 6, "batch": 8, `+rest); got != same {
			t.Errorf("%s: another cadence, the same key: %v", rest, got)
		}
	}
}

// What a longer training can go on from, and why not.
func TestLonger(t *testing.T) {
	for change, want := range map[string]string{
		`"kind": "linear", "warmup": 0`:     "schedule.kind",
		`"kind": "wsd", "warmup": 0`:        "schedule.kind",
		`"kind": "constant", "warmup": 0.1`: "schedule.warmup",
		`"kind": "constant", "warmup": 0`:   "",
		`"kind": "constant", "warmup": 10`:  "",
	} {
		can, field, why := schemas.Longer("train.sft", json.RawMessage(strings.Replace(tune, `"kind": "linear", "warmup": 0`, change, 1)))
		if field != want || can != (want == "") || (why == "") != can {
			t.Errorf("%s: %v, %s: %s", change, can, field, why)
		}
	}
	if can, field, _ := schemas.Longer("template.set", json.RawMessage(`{}`)); can || field != "" {
		t.Errorf("template.set: %v, %s", can, field)
	}
	for pair, want := range map[[2]string]bool{
		{`{"epochs": 2}`, `{"epochs": 1}`}:                               true,
		{`{"epochs": 1}`, `{"epochs": 2}`}:                               false,
		{`{"epochs": 1, "maxSteps": 9}`, `{"epochs": 3, "maxSteps": 5}`}: true,
		{`{"epochs": 3, "maxSteps": 4}`, `{"epochs": 1, "maxSteps": 5}`}: false,
		{`{"epochs": 9}`, `{"epochs": 1, "maxSteps": 5}`}:                false,
	} {
		if got := schemas.AtLeast(json.RawMessage(pair[0]), json.RawMessage(pair[1])); got != want {
			t.Errorf("%s after %s: %v", pair[0], pair[1], got)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for _, bad := range []string{`{"learningRte": 1}`, `{"model": {"kind": "model", "frm": "x"}}`, `{"lora": {"init": {"x": 1}}}`,
		`{"lora": {"targets": 1}}`, `{"epochs": "one"}`, `{} {}`, `[]`, ``} {
		if v, err := schemas.Decode("train.sft", []byte(bad)); err == nil {
			t.Errorf("%s decodes to %+v", bad, v)
		}
	}
	if _, err := schemas.Decode("train.sfft", []byte(`{}`)); err == nil {
		t.Error("an unknown kind decodes")
	}
}

func TestLossOf(t *testing.T) {
	for format, want := range map[string]string{"messages": "all", "text": "all", "prompt-completion": "completion", "kto": "completion"} {
		if got := (&schemas.TrainSFT{}).LossOf(format); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
		if got := (&schemas.TrainSFT{Loss: "assistant"}).LossOf(format); got != "assistant" {
			t.Errorf("%s: %s, want what was asked for", format, got)
		}
	}
}
