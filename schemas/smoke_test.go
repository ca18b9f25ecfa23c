package schemas_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hone-ml/hone/schemas"
)

// What a smoke reduces of each kind whose fields are all set, largely: field, and what becomes of it. A kind that is not here
// fails the test, and so does one that Smoke does not know.
var smoked = map[string]string{
	"model.load":      ``,
	"template.set":    ``,
	"model.merge":     ``,
	"export":          ``,
	"exec":            `env map[HONE_SMOKE:1 a:x b:x]`,
	"data.load":       `rows 256`,
	"curate.filter":   `rows 256`,
	"curate.split":    `rows 256; parts map[a:0.5 b:0.5]`,
	"curate.mix":      `rows 256; config.rows 256`,
	"generate":        `rows 8; batch 8; maxNewTokens 16; n 2`,
	"curate.distill":  `rows 8; batch 8; maxNewTokens 16; n 2`,
	"curate.reject":   `rows 8; batch 8; maxNewTokens 16; minimum <nil>; n 2`,
	"eval":            `rows 8; batch 8; gate <nil>; suites.a.maxNewTokens 16; suites.b.maxNewTokens 16`,
	"model.pretrain":  trainingSmoked,
	"train.sft":       trainingSmoked,
	"train.dpo":       trainingSmoked,
	schemas.Reference: `rows 16; batch.rows 2`,
	"train.grpo":      `rows 16; batch.accumulate 2; batch.rows 2; eval.batch 8; eval.every 1; generations 2; iterations 2; logEvery 1; maxNewTokens 16; maxSteps 2; saveEvery 1`,
}

const trainingSmoked = `rows 16; batch.accumulate 2; batch.rows 2; eval.batch 8; eval.every 1; logEvery 1; maxSteps 2; saveEvery 1`

func TestSmoke(t *testing.T) {
	for _, kind := range append(schemas.Kinds(), schemas.Reference) {
		want, known := smoked[kind]
		if !known {
			t.Errorf("%s: what does a smoke make of it? Say so in schemas.Smoke and here", kind)
			continue
		}
		v, err := schemas.Decode(kind, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		fill(reflect.ValueOf(v).Elem())
		config, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		reduced, rows, err := schemas.Smoke(kind, config)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		var before, after any
		if err := json.Unmarshal(config, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(reduced, &after); err != nil {
			t.Fatal(err)
		}
		said := differences("", before, after)
		if rows > 0 {
			said = append([]string{fmt.Sprint("rows ", rows)}, said...)
		}
		if kind == "curate.mix" {
			said[1] = "config." + said[1]
		}
		if got := strings.Join(said, "; "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", kind, got, want)
		}
		again, _, err := schemas.Smoke(kind, reduced)
		if err != nil || string(again) != string(reduced) {
			t.Errorf("%s: what is small already is made smaller:\n%s\n%s %v", kind, reduced, again, err)
		}
	}
}

// A training of one step stays one: a smoke never does more than the run.
func TestSmokeNeverMore(t *testing.T) {
	one := strings.Replace(tune, `"epochs": 1`, `"epochs": 1, "maxSteps": 1`, 1)
	reduced, _, err := schemas.Smoke("train.sft", json.RawMessage(one))
	if err != nil || schemas.Steps(reduced) != 1 {
		t.Errorf("%d steps of one, %v", schemas.Steps(reduced), err)
	}
	mix, _, err := schemas.Smoke("curate.mix", json.RawMessage(`{"data": [], "seed": 1}`))
	if err != nil || strings.Contains(string(mix), "rows") {
		t.Errorf("%s, %v", mix, err)
	}
}

// fill sets every field to something large: numbers to 5000, maps to two keys, lists to one item.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		switch v.Addr().Interface().(type) {
		case *schemas.Targets:
			return
		case *schemas.Ref:
			v.Set(reflect.ValueOf(schemas.Ref{Path: "x"}))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, name := range []string{"a", "b"} {
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem)
			v.SetMapIndex(reflect.ValueOf(name), elem)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf("x"))
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(5000)
	case reflect.Float64:
		v.SetFloat(5000)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// differences lists the leaves that differ, with what they are afterwards.
func differences(path string, before, after any) []string {
	a, b := fields(before), fields(after)
	if a == nil || b == nil || path == "env" || path == "parts" {
		if reflect.DeepEqual(before, after) {
			return nil
		}
		return []string{fmt.Sprint(path, " ", after)}
	}
	var said []string
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		said = append(said, differences(strings.TrimPrefix(path+"."+name, "."), a[name], b[name])...)
	}
	return said
}

func fields(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
