package runner

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hone-ml/hone/pipelines"
)

const sft = `{"model":{"kind":"model","from":"base","port":"model"},"data":{"kind":"dataset","from":"rows","port":"data"},
"learningRate":2e-5,"epochs":3,"batch":{"rows":8,"accumulate":1},"maxLength":1024,
"schedule":{"kind":"linear","warmup":0,"minimum":0},
"optimizer":{"kind":"adamw","beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weightDecay":0},
"clip":1,"seed":42,"shuffle":true,"dtype":"auto","gradientCheckpointing":false,
"logEvery":10,"saveEvery":500,"saveTotalLimit":2,"loss":"assistant","packing":false,"lora":{"rank":16,"alpha":32,"dropout":0,"targets":"all-linear","rslora":false,"dora":false,"doubleQuantize":false}}`

func keyOf(t *testing.T, config string, change func(*pipelines.Stage, map[string]*Artifact, map[string]string)) string {
	t.Helper()
	s := &pipelines.Stage{Name: "tune", Kind: "train.sft", Config: json.RawMessage(config)}
	inputs := map[string]*Artifact{
		"model": {Kind: "model", Hash: "m"},
		"data":  {Kind: "dataset", Hash: "d"},
	}
	content := map[string]string{}
	if change != nil {
		change(s, inputs, content)
	}
	list, err := ingredients(s, inputs, content)
	if err != nil {
		t.Fatal(err)
	}
	return key(list)
}

func TestKey(t *testing.T) {
	same := keyOf(t, sft, nil)
	edit := func(old, new string) string {
		if !strings.Contains(sft, old) {
			t.Fatalf("no %s", old)
		}
		return keyOf(t, strings.Replace(sft, old, new, 1), nil)
	}
	keeps := map[string]string{
		"the order of fields":       edit(`"clip":1,"seed":42`, `"seed":42,"clip":1`),
		"the spelling of a number":  edit(`"epochs":3`, `"epochs":3.0`),
		"logging":                   edit(`"logEvery":10`, `"logEvery":1`),
		"saving":                    edit(`"saveEvery":500`, `"saveEvery":7`),
		"the name of the stage":     keyOf(t, sft, func(s *pipelines.Stage, _ map[string]*Artifact, _ map[string]string) { s.Name = "other" }),
		"the upstream stage's name": edit(`"from":"base"`, `"from":"renamed"`),
		"the description":           keyOf(t, sft, func(s *pipelines.Stage, _ map[string]*Artifact, _ map[string]string) { s.Description = "x" }),
		"resources": keyOf(t, sft, func(s *pipelines.Stage, _ map[string]*Artifact, _ map[string]string) {
			s.Resources = pipelines.Resources{CPUs: 3, Memory: 5, Device: "cuda", Threads: 7}
		}),
		"needs": keyOf(t, sft, func(s *pipelines.Stage, _ map[string]*Artifact, _ map[string]string) {
			s.Needs = []pipelines.Edge{{Kind: "report", From: "score", Port: "report"}}
		}),
	}
	for what, k := range keeps {
		if k != same {
			t.Errorf("%s changes the key", what)
		}
	}
	differs := map[string]string{
		"learningRate":  edit(`"learningRate":2e-5`, `"learningRate":2.0001e-5`),
		"seed":          edit(`"seed":42`, `"seed":43`),
		"removing lora": edit(`,"lora":{"rank":16,"alpha":32,"dropout":0,"targets":"all-linear","rslora":false,"dora":false,"doubleQuantize":false}`, ``),
		"another model": keyOf(t, sft, func(_ *pipelines.Stage, in map[string]*Artifact, _ map[string]string) { in["model"].Hash = "n" }),
		"swapped inputs": keyOf(t, sft, func(_ *pipelines.Stage, in map[string]*Artifact, _ map[string]string) {
			in["model"].Hash, in["data"].Hash = "d", "m"
		}),
		"an adapter": keyOf(t, sft, func(_ *pipelines.Stage, in map[string]*Artifact, _ map[string]string) {
			in["model"].Base = &Artifact{Hash: "b"}
		}),
		"another base": keyOf(t, sft, func(_ *pipelines.Stage, in map[string]*Artifact, _ map[string]string) {
			in["model"].Base = &Artifact{Hash: "c"}
		}),
		"a source":        keyOf(t, sft, func(_ *pipelines.Stage, _ map[string]*Artifact, c map[string]string) { c["lora.init"] = "x" }),
		"another content": keyOf(t, sft, func(_ *pipelines.Stage, _ map[string]*Artifact, c map[string]string) { c["lora.init"] = "y" }),
	}
	seen := map[string]string{same: "the original"}
	for what, k := range differs {
		if was, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", what, was)
		}
		seen[k] = what
	}
}

// Two configurations have one list of leaves only where they are one: paths of names with dots and brackets do not
// collide, and an empty list is not an absent one.
func TestLeavesAreInjective(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "a.b", "a[0]", "[0]", `"a"`, "", ".", "0"}
	var tree func(depth int) any
	tree = func(depth int) any {
		switch n := rnd.IntN(5); {
		case n < 2 && depth > 0:
			m := map[string]any{}
			for range rnd.IntN(3) {
				m[names[rnd.IntN(len(names))]] = tree(depth - 1)
			}
			return m
		case n == 2 && depth > 0:
			l := make([]any, rnd.IntN(3))
			for i := range l {
				l[i] = tree(depth - 1)
			}
			return l
		}
		return []any{json.Number("1"), json.Number("2"), "x", nil, true}[rnd.IntN(5)]
	}
	seen := map[string]any{}
	for range 20000 {
		v := map[string]any{"top": tree(3)}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		list, err := leaves(b)
		if err != nil {
			t.Fatal(err)
		}
		k := key(sorted(list))
		if was, ok := seen[k]; ok && !reflect.DeepEqual(was, v) {
			t.Fatalf("%v and %v have one key", was, v)
		}
		seen[k] = v
	}
}

func TestHubLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hone.lock")
	l, err := readHubLock(path)
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.Repeat("a1", 20)
	l.add("hf://org/name", commit)
	l.add("hf://org/name@main", "another") // main is what no revision means, and what is there stays
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("{\n  \"hub\": {\n    \"hf://org/name@main\": %q\n  }\n}\n", commit); string(b) != want {
		t.Fatalf("got %s want %s", b, want)
	}
	l, err = readHubLock(path)
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		"hf://org/name": commit, "hf://org/name@main": commit, "hf://org/name@v2": "", "hf://org/name@" + commit: commit,
	} {
		if got := l.commit(source); got != want {
			t.Errorf("%s is %q, want %q", source, got, want)
		}
	}
}
