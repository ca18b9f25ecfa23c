package pipelines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"golang.org/x/tools/txtar"
)

// TestReads says which changes a pipeline's evaluation would see, and which it would see in positions alone.
func TestReads(t *testing.T) {
	const archive = `
-- cue.mod/module.cue --
module: "x.test/y@v0"
language: version: "v0.17.0"
-- shared/rate.cue --
package shared

rate: 1e-5
-- p/p.cue --
@extern(embed)

package p

import (
	"github.com/hone-ml/hone/schemas"
	"x.test/y/shared"
)

schemas.#Pipeline

name: "p"
_rate:   shared.rate
_config: _ @embed(file=config.json)
stages: base: {kind: "model.load", source: "hf://a/b", description: "at \(_rate) (or \("less"))"} // a comment
-- p/config.json --
{}
-- p/other.txt --
`
	write := func(path, text string) func() {
		return func() {
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(path, old, now string) func() {
		return func() {
			b, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(b), old) {
				t.Fatalf("%s: no %q: %v", path, old, err)
			}
			write(path, strings.Replace(string(b), old, now, 1))()
		}
	}
	for name, c := range map[string]struct {
		change        func()
		same, exactly bool
	}{
		"nothing":                  {func() {}, true, true},
		"another file":             {write("p/more.txt", "x"), true, true},
		"a comment":                {replace("p/p.cue", "// a comment", "// another\n"), true, false},
		"format":                   {replace("p/p.cue", `{kind: "model.load", source:`, "{\n\n kind:   \"model.load\"\n  source: "), true, false},
		"a trailing comma":         {replace("p/p.cue", `"))"}`, `"))",}`), true, false},
		"a value":                  {replace("p/p.cue", "hf://a/b", "hf://a/c"), false, false},
		"within an interpolation":  {replace("p/p.cue", `"less"`, `"more"`), false, false},
		"after an interpolation":   {replace("p/p.cue", ` (or `, ` (and `), false, false},
		"two fields made of one":   {replace("p/p.cue", `_rate:   shared.rate`, `_rate: shared: rate`), false, false},
		"an import":                {replace("shared/rate.cue", "1e-5", "2e-5"), false, false},
		"a file of an import":      {write("shared/more.cue", "package shared\n"), false, false},
		"a file of the package":    {write("p/more.cue", "package p\n"), false, false},
		"a file above":             {write("more.cue", "package p\n"), false, false},
		"a module in between":      {write("p/cue.mod/module.cue", "module: \"z.test/z@v0\"\n"), false, false},
		"the module":               {replace("cue.mod/module.cue", "x.test/y@v0", "x.test/z@v0"), false, false},
		"what is embedded":         {write("p/config.json", "[]"), false, false},
		"an import put before":     {write("cue.mod/pkg/x.test/y/shared/rate.cue", "package shared\n"), false, false},
		"a file that is gone":      {func() { os.Remove("shared/rate.cue") }, false, false},
		"what is not seen at all":  {write("p/_hidden.txt", ""), true, true},
		"a folder below":           {write("p/below/x.cue", "package p\n"), true, true},
		"the module's other files": {write("cue.mod/x.txt", ""), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, archive)
			all, err := evaluateHere(t, "p")
			if err != nil || len(all.Errors) > 0 {
				t.Fatal(all, err)
			}
			r := all.Graphs[0].Reads
			c.change()
			if same, exactly := r.Same(); same != c.same || exactly != c.exactly {
				t.Errorf("same %v, exactly %v", same, exactly)
			}
		})
	}
}

// TestReadsOfExamples says of the examples, and of all that the tests of Compile have, that formatting changes nothing, and that
// nothing is unknown.
func TestReadsOfExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*/*.cue")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	texts := map[string][]byte{}
	for _, path := range files {
		if texts[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	archives, err := filepath.Glob("testdata/graphs/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".cue") {
				texts[path+":"+f.Name] = f.Data
			}
		}
	}
	for path, text := range texts {
		f, err := parser.ParseFile(path, text) // without comments
		if err != nil {
			continue
		}
		ast.Walk(f, func(n ast.Node) bool { ast.SetRelPos(n, 0); return true }, nil)
		plain, err := format.Node(f)
		if err != nil {
			t.Fatal(err)
		}
		if tokensSum(text) != tokensSum(plain) {
			t.Errorf("%s says something else than\n%s", path, plain)
		}
	}
	all, err := CompileAll("../examples/...", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all.Graphs {
		if same, exactly := g.Reads.Same(); !same || !exactly {
			t.Errorf("%s: %+v", g.Name, g.Reads)
		}
	}
}
