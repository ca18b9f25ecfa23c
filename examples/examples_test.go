package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cuecmd "cuelang.org/go/cmd/cue/cmd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hone-ml/hone/pipelines"
	honeschema "github.com/hone-ml/hone/schemas/jsonschema"
)

// dirs are the folders of this one that hold a pipeline.
func dirs(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*/*.cue")
	if err != nil || len(found) == 0 {
		t.Fatal("no examples", err)
	}
	seen := map[string]bool{}
	var dirs []string
	for _, path := range found {
		if dir := filepath.Dir(path); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// TestPlainCUE copies each example out of the repository, vendors the schemas, and has cue check, export and format it.
func TestPlainCUE(t *testing.T) {
	for _, dir := range dirs(t) {
		t.Run(dir, func(t *testing.T) {
			away := t.TempDir()
			if err := os.CopyFS(away, committed(t, dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := pipelines.Vendor(away); err != nil {
				t.Fatal(err)
			}
			t.Chdir(away)
			cue(t, "vet", "-c", "./...")
			cue(t, "fmt", "--check", "./...")
			var p struct {
				Name   string
				Stages map[string]struct{ Kind string }
			}
			exported := cue(t, "export", ".")
			if err := json.Unmarshal(exported, &p); err != nil || p.Name == "" || len(p.Stages) == 0 {
				t.Errorf("export gives %+v, %v", p, err)
			}
			byJSONSchema(t, exported)
		})
	}
}

// byJSONSchema holds what cue exports against what hone schema json prints: it is valid, and with any field of a stage misspelt it is not.
func byJSONSchema(t *testing.T, exported []byte) {
	t.Helper()
	schema := compiled(t)
	pipeline, err := jsonschema.UnmarshalJSON(bytes.NewReader(exported))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(pipeline); err != nil {
		t.Error(err)
	}
	misspell(pipeline.(map[string]any)["stages"], "stages", true, func(path string) {
		if schema.Validate(pipeline) == nil {
			t.Errorf("%s: another letter is valid", path)
		}
	})
}

// misspell gives each field of stages another letter in turn, for as long as wrong looks at it. What users name themselves stays.
func misspell(v any, path string, named bool, wrong func(path string)) {
	if list, ok := v.([]any); ok {
		for _, each := range list {
			misspell(each, path+"[]", false, wrong)
		}
	}
	fields, _ := v.(map[string]any)
	for _, field := range slices.Collect(maps.Keys(fields)) {
		below := path + "." + field
		if !named {
			fields[field+"x"] = fields[field]
			delete(fields, field)
			wrong(below)
			fields[field] = fields[field+"x"]
			delete(fields, field+"x")
		}
		switch {
		case named:
			misspell(fields[field], below, false, wrong)
		case slices.Contains([]string{"parts", "suites", "gate", "graders", "rewards", "inputs", "env"}, field):
			misspell(fields[field], below, true, wrong)
		case !slices.Contains([]string{"out", "config", "generation", "schema", "base"}, field): // those take any field
			misspell(fields[field], below, false, wrong)
		}
	}
}

// compiled is the JSON Schema of a pipeline. Its own schema, of draft 2020-12, has held it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := honeschema.Pipeline()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	meta, err := c.Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Validate(doc); err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("hone.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("hone.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func cue(t *testing.T, args ...string) []byte {
	t.Helper()
	c, err := cuecmd.New(args)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.SetOut(&out)
	if err := c.Run(context.Background()); err != nil {
		t.Errorf("cue %s: %v\n%s", strings.Join(args, " "), err, &out)
	}
	return out.Bytes()
}

// committed is an example without what hone and set-up put beside it.
func committed(t *testing.T, dir string) fs.FS {
	t.Helper()
	if f, err := Template(dir); err == nil {
		return f
	}
	return os.DirFS(dir)
}

// TestCompiles holds each example against the schemas. A model that set-up fetches may not be there yet.
func TestCompiles(t *testing.T) {
	for _, dir := range dirs(t) {
		t.Run(dir, func(t *testing.T) {
			var opts pipelines.Options
			if b, err := os.ReadFile(filepath.Join(dir, "pipeline.cue")); err == nil && bytes.Contains(b, []byte("@tag(model)")) {
				opts.Tags = []string{"model=hf://org/name"}
			}
			p, err := pipelines.Load(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			g, err := pipelines.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Advice) != 0 {
				t.Errorf("advice: %v", g.Advice)
			}
		})
	}
}

// TestDataIsMade runs the scripts that wrote the committed data: the same bytes come out.
func TestDataIsMade(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	scripts, err := filepath.Glob("*/make_data.py")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	made := map[string]string{"grpo": "dpo/make_data.py"} // by folder
	for _, script := range scripts {
		made[filepath.Dir(script)] = script
	}
	for dir, script := range made {
		files, err := filepath.Glob(filepath.Join(dir, "data", "*.jsonl"))
		if err != nil || len(files) == 0 {
			t.Fatal("no data", err)
		}
		for _, file := range files {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{script}
			if name := strings.TrimSuffix(filepath.Base(file), ".jsonl"); name != "train" {
				args = append(args, name)
			}
			got, err := exec.Command(python, args...).Output()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v writes other rows than %s: %v", args, file, err)
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, "data", "text.txt"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if got, err := exec.Command(python, script, "text").Output(); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s text writes another text than %s/data/text.txt: %v", script, dir, err)
		}
	}
}

// The tiny models of other templates have the tokenizer that make_tokenizer.py wrote for tiny.
func TestOneTokenizer(t *testing.T) {
	for _, dir := range []string{"dpo", "grpo"} {
		for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
			want, err := os.ReadFile(filepath.Join("tiny/tokenizer", name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "tokenizer", name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s/tokenizer/%s is not tiny's: %v", dir, name, err)
			}
		}
	}
}

// The README lists every example, a row each.
func TestREADMEListsAll(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("*/pipeline.cue")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		if dir := filepath.Dir(file); !strings.Contains(string(readme), "| ["+dir+"]("+dir+"/") {
			t.Errorf("README.md does not list %s", dir)
		}
	}
}

func TestTemplatesHaveAPipeline(t *testing.T) {
	for name := range Templates {
		f, err := Template(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(f, "pipeline.cue"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Template("none"); err == nil {
		t.Error("a template that is not there")
	}
}
