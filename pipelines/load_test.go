package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cuelang.org/go/cue"
	"golang.org/x/tools/txtar"

	"github.com/hone-ml/hone/schemas"
)

const minimal = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "p"
stages: base: {kind: "model.load", source: "hf://a/b"}
`

// at unpacks an archive in a folder of its own and goes there.
func enter(t *testing.T, archive string) {
	t.Helper()
	t.Chdir(unpack(t, txtar.Parse([]byte(archive))))
}

// TestModules loads the same pipeline from each kind of module that it may lie in. None asks the network.
func TestModules(t *testing.T) {
	t.Setenv("CUE_REGISTRY", "127.0.0.1:1+insecure") // nothing listens there
	vendored := "-- cue.mod/pkg/" + schemas.ImportPath + "/pipeline.cue --\n"
	for name, archive := range map[string]string{
		"no cue.mod":          "",
		"a module":            "-- cue.mod/module.cue --\nmodule: \"x.test/y@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"a module above":      "-- ../cue.mod/module.cue --\nmodule: \"x.test/y@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"hone itself":         "-- cue.mod/module.cue --\nmodule: \"github.com/hone-ml/hone@v0\"\nlanguage: version: \"v0.17.0\"\n-- schemas/old.cue --\npackage schemas\n#Pipeline: name: 5\n",
		"hone required":       "-- cue.mod/module.cue --\nmodule: \"x.test/y@v0\"\nlanguage: version: \"v0.17.0\"\ndeps: \"github.com/hone-ml/hone@v0\": v: \"v0.1.0\"\n",
		"a copy that differs": "-- cue.mod/module.cue --\nmodule: \"x.test/y@v0\"\nlanguage: version: \"v0.17.0\"\n" + vendored + "package schemas\n#Pipeline: {name: 5}\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := unpack(t, txtar.Parse([]byte("-- in/p.cue --\n"+minimal)))
			t.Chdir(filepath.Join(root, "in"))
			for _, f := range txtar.Parse([]byte(archive)).Files {
				if err := writeFile(f.Name, string(f.Data)); err != nil {
					t.Fatal(err)
				}
			}
			p, err := Load(".", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Compile(p); err != nil {
				t.Fatal(err)
			}
			if warned := len(p.Warnings) > 0; warned != strings.Contains(name, "differs") {
				t.Errorf("warnings %q", p.Warnings)
			}
		})
	}
}

// TestFolderThatNoImportPathCanName loads from folders of a module whose names CUE's loader would not take for packages.
func TestFolderThatNoImportPathCanName(t *testing.T) {
	t.Setenv("CUE_REGISTRY", "127.0.0.1:1+insecure")
	for _, name := range []string{"a run", "Übung", "con", "x@y"} {
		enter(t, "-- cue.mod/module.cue --\nmodule: \"x.test/y@v0\"\nlanguage: version: \"v0.17.0\"\n-- "+name+"/p.cue --\n"+minimal)
		p, err := Load(name, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := Compile(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := filepath.Join(name, "p.cue"); len(p.Files) != 1 || !strings.HasSuffix(p.Files[0], want) {
			t.Errorf("%s: files %q, want %s", name, p.Files, want)
		}
	}
}

func TestVendorSilencesTheWarning(t *testing.T) {
	enter(t, "-- p.cue --\n"+minimal)
	folder, err := Vendor(".")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "gone.cue"), []byte("package schemas\nx: 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	p, err := Load(".", Options{})
	if err != nil || len(p.Warnings) != 1 {
		t.Fatal(err, p.Warnings)
	}
	if again, err := Vendor("."); err != nil || again != folder {
		t.Fatal(again, err)
	}
	if p, err = Load(".", Options{}); err != nil || len(p.Warnings) != 0 {
		t.Fatal(err, p.Warnings)
	}
}

// TestPath says what a PATH may be. An error here is a matter of usage, not of the pipeline, but for a
// file without a package clause.
func TestPath(t *testing.T) {
	other := strings.Replace(strings.Replace(minimal, "package p", "package q", 1), `"p"`, `"q"`, 1)
	enter(t, "-- one/p.cue --\n"+minimal+"-- one/lib.cue --\npackage lib\n-- two/p.cue --\n"+minimal+"-- two/q.cue --\n"+other+
		"-- none/x.cue --\npackage x\nx: 1\n-- empty/readme --\n-- a:b/p.cue --\n"+minimal+"-- bare/p.cue --\nx: 1\n")
	for path, want := range map[string]string{
		"one":          "p",
		"one/":         "p",
		"one:p":        "p",
		"one/p.cue":    "p",
		"two:q":        "q",
		"two/q.cue":    "q",
		"a:b":          "p",
		"two":          "two: which pipeline? name one of two:p, two:q",
		"two:r":        "two: no package r; there is p, q",
		"none":         "none: package x is no pipeline",
		"one:lib":      "one: package lib is no pipeline",
		"empty":        "empty: no CUE package here",
		"nowhere":      "nowhere: no such folder or file",
		"nowhere:p":    "nowhere: no such folder or file",
		"one/p.cue:q":  "one/p.cue: no such folder or file",
		".":            ".: no CUE package here",
		"empty/readme": "empty/readme: not a CUE file",
	} {
		p, err := Load(path, Options{})
		var usage *UsageError
		switch {
		case err == nil && p.Package != want:
			t.Errorf("%s: package %s, want %s", path, p.Package, want)
		case err != nil && !errors.As(err, &usage):
			t.Errorf("%s: %T %v", path, err, err)
		case err != nil && !strings.HasPrefix(err.Error(), want):
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	for _, path := range []string{"bare", "bare/p.cue"} {
		var wrong Errors
		if _, err := Load(path, Options{}); !errors.As(err, &wrong) || err.Error() != "bare/p.cue:1:1: no package clause: a pipeline's files begin with package NAME" {
			t.Errorf("%s: %T %v", path, err, err)
		}
	}
	all, err := CompileAll("./...", Options{})
	if err != nil || len(all.Errors) != 0 || len(all.Graphs) != 4 {
		t.Errorf("./...: %+v, %v", all, err)
	}
	if _, err := CompileAll("empty/...", Options{}); err == nil {
		t.Error("empty/...: a pipeline")
	}
}

// TestTags says what happens to a tag: a pipeline has it, some of many have it, or none has.
func TestTags(t *testing.T) {
	tagged := strings.Replace(minimal, `"hf://a/b"`, `_m`, 1) + "_m: *\"hf://a/b\" | string @tag(model)\n"
	enter(t, "-- one/p.cue --\n"+tagged+"-- two/p.cue --\n"+minimal)
	var usage *UsageError
	for _, c := range [][3]string{
		{"two", "model=hf://c/d", "two: no tag model; there is none at all"},
		{"one", "modle=hf://c/d", "one: no tag modle (did you mean model?)"},
		{"one", "x=hf://c/d", "one: no tag x; there is model"},
		{"one", "x", "one: no tag x; there is model"},
		{"one", "model", "one: the tag model takes a value: model=VALUE"},
	} {
		if _, err := Load(c[0], Options{Tags: []string{c[1]}}); !errors.As(err, &usage) || err.Error() != c[2] {
			t.Errorf("%s -t %s: %v", c[0], c[1], err)
		}
	}
	all, err := CompileAll("./...", Options{Tags: []string{"model=hf://c/d"}})
	if err != nil || len(all.Errors) != 0 || len(all.Graphs) != 2 {
		t.Fatal(all, err)
	}
	if g := all.Graphs[0]; g.Stages[0].Sources[0].Hub != "hf://c/d" {
		t.Errorf("%v", g)
	}
	if _, err := CompileAll("./...", Options{Tags: []string{"nodel=x"}}); !errors.As(err, &usage) {
		t.Errorf("no pipeline has the tag: %v", err)
	}
}

// TestExportDefaults: a type comes with gguf alone, so that the key of a folder's export does not know of it.
func TestExportDefaults(t *testing.T) {
	enter(t, "-- p/p.cue --\n"+minimal+`
stages: a: {kind: "export", model: stages.base.out.model}
stages: b: {kind: "export", model: stages.base.out.model, format: "gguf"}
stages: c: {kind: "export", model: stages.base.out.model, format: "gguf", type: "q4_0"}
`)
	p, err := Load("p", Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "hf ", "b": "gguf f16", "c": "gguf q4_0"} {
		var c schemas.Export
		if err := json.Unmarshal(g.Stage(name).Config, &c); err != nil || c.Format+" "+c.Type != want {
			t.Errorf("%s: %s %s, want %s, %v", name, c.Format, c.Type, want, err)
		}
	}
}

// TestCommonAgrees holds what every kind takes, as Compile knows it, against the schemas.
func TestCommonAgrees(t *testing.T) {
	enter(t, "-- p.cue --\n"+minimal)
	p, err := Load(".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for def, have := range map[string]map[string]*schemas.Shape{"#Stage": common, "#Resources": common["resources"].Fields} {
		it, err := p.context.BuildInstance(p.schemas()).LookupPath(cue.ParsePath(def)).Fields(cue.Optional(true))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for it.Next() {
			want = append(want, it.Selector().Unquoted())
		}
		slices.Sort(want)
		if got := names(have); !slices.Equal(got, want) {
			t.Errorf("%s has %q, Compile knows %q", def, want, got)
		}
	}
}

func TestNoPackageClause(t *testing.T) {
	enter(t, "-- p.cue --\nx: 1\n")
	_, err := Load("p.cue", Options{})
	var wrong Errors
	if !errors.As(err, &wrong) || err.Error() != "p.cue:1:1: no package clause: a pipeline's files begin with package NAME" {
		t.Errorf("%T %v", err, err)
	}
}

// TestMovedFolder compiles the same pipeline in two places: configurations do not differ.
func TestMovedFolder(t *testing.T) {
	var graphs []string
	for range 2 {
		enter(t, "-- p.cue --\n"+minimal)
		g, err := compileHere()
		if err != nil {
			t.Fatal(err)
		}
		graphs = append(graphs, render(g))
	}
	if graphs[0] != graphs[1] {
		t.Errorf("%s\n%s", graphs[0], graphs[1])
	}
}

// TestManyStages bounds the cost of a big sweep, generously: a hundred stages of thirty fields.
func TestManyStages(t *testing.T) {
	enter(t, "-- p.cue --\n"+strings.Replace(minimal, "import ", "import \"list\"\n\nimport ", 1)+`
stages: rows: {kind: "data.load", source: "rows.jsonl"}
stages: {for i in list.Range(0, 100, 1) {"tune-\(i)": {
	kind: "train.sft", model: stages.base.out.model, data: stages.rows.out.data
	learningRate: 1e-5 * (i + 1)
	lora: {}
}}}
-- rows.jsonl --
`)
	start := time.Now()
	g, err := compileHere()
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Stages) != 102 {
		t.Errorf("%d stages", len(g.Stages))
	}
	t.Log(time.Since(start))
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("102 stages took %v", d)
	}
}

func BenchmarkQuickstart(b *testing.B) {
	for b.Loop() {
		p, err := Load("../examples/quickstart", Options{Tags: []string{"model=hf://a/b"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzCompile feeds what is no pipeline: nothing panics.
func FuzzCompile(f *testing.F) {
	for _, dir := range []string{"mistakes", "graphs"} {
		archives, _ := filepath.Glob("testdata/" + dir + "/*.txtar")
		for _, path := range archives {
			a, err := txtar.ParseFile(path)
			if err != nil {
				f.Fatal(err)
			}
			for _, file := range a.Files {
				if strings.HasSuffix(file.Name, ".cue") {
					f.Add(string(file.Data))
				}
			}
		}
	}
	for _, s := range []string{"stages: 5", "stages: [1]", `stages: a: "x"`, "stages: a: out: 1", `stages: a: {kind: "exec", out: 1, command: 5}`,
		`stages: a: {kind: "eval", suites: [], gate: 1}`, `stages: a: null`, `stages: a: {kind: "data.load", needs: 1, resources: "x"}`,
		`stages: {for i in [1] {"\(i)": {kind: "curate.split", parts: i}}}`, `name: 1`, `stages: a: {kind: "train.sft", lora: 1, model: stages}`} {
		f.Add(fmt.Sprintf("package p\nimport \"%s\"\nschemas.#Pipeline\n%s\n", schemas.ImportPath, s))
	}
	f.Fuzz(func(t *testing.T, text string) {
		t.Setenv("CUE_REGISTRY", "127.0.0.1:1+insecure")
		enter(t, "-- readme --\n")
		if err := os.WriteFile("p.cue", []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c, err := evaluateHere(t, ".")
		if took := time.Since(began); took > maxWait+2*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil || len(c.Errors) > 0 {
			if err == nil && strings.Contains(c.Errors.Error(), "cannot be evaluated: ") {
				t.Errorf("%v of\n%s", c.Errors, text)
			}
			return
		}
		g := c.Graphs[0]
		if len(g.Stages) == 0 {
			t.Errorf("a graph without stages of\n%s", text)
		}
		for _, s := range Diff(g, g, func(Source) string { return "" }) {
			if s.Differs() || s.Cause != "" {
				t.Errorf("%s differs from itself: %+v", s.Name(), s)
			}
		}
	})
}

// Files whose package clause cannot be read, or that have none, are told of where they are looked for and where they are named.
func TestLoadUnpackaged(t *testing.T) {
	enter(t, "-- torn/p.cue --\npackage 5x\n-- data/x.cue --\nx: 1\n-- bare/p.cue --\nimport \"github.com/hone-ml/hone/schemas\"\nschemas.#Pipeline\n")
	all, err := CompileAll("./...", Options{})
	if err != nil || len(all.Invalid) != 2 || len(all.Errors) != 2 || all.Errors[0].Pos.Filename != "bare/p.cue" || all.Errors[1].Pos.Filename != "torn/p.cue" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := Load("torn/p.cue", Options{}); !errors.As(err, new(Errors)) {
		t.Errorf("%T %v", err, err)
	}
}
