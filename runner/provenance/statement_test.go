package provenance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/hone-ml/hone/runner/store"
)

var exported = &Exported{
	Files:      []Resource{{Name: "adapter_model.safetensors", Digest: map[string]string{"sha256": strings.Repeat("ab", 32)}}},
	Parameters: map[string]any{"format": "peft"}, Version: "v1.2.3",
	Started: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Finished: time.Date(2026, 2, 3, 4, 5, 7, 0, time.UTC),
}

// indented is statements as a person reads them.
func indented(t *testing.T, all []Statement) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	for _, s := range all {
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestStatements(t *testing.T) {
	h, made := tuned(t)
	golden(t, "statements.json", indented(t, traced(t, h, made).Statements(nil, exported)))
}

// The reader of in-toto's own library takes every line for what it is, field by field: it refuses those that it does not know.
func TestStatementsAreInToto(t *testing.T) {
	h, made := tuned(t)
	l := traced(t, h, made)
	for _, e := range []*Exported{nil, exported} {
		lines, err := Lines(l.Statements(exported.Files, e))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range lines {
			var s intoto.Statement
			if err := protojson.Unmarshal(line, &s); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			if err := s.Validate(); err != nil {
				t.Errorf("%d: %v", i, err)
			}
			b, err := protojson.Marshal(s.GetPredicate())
			if err != nil {
				t.Fatal(err)
			}
			var p slsa.Provenance
			if err := protojson.Unmarshal(b, &p); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			if err := p.Validate(); err != nil {
				t.Errorf("%d: %v", i, err)
			}
			if s.GetType() != intoto.StatementTypeUri || p.GetBuildDefinition().GetBuildType() != BuildType {
				t.Errorf("%d: %s, %s", i, s.GetType(), p.GetBuildDefinition().GetBuildType())
			}
		}
	}
}

// A program's environment may hold a token, and provenance is published.
func TestStatementsKeepSecrets(t *testing.T) {
	h := begin(t)
	made := h.did("make", "exec", nil, map[string]string{"model": h.put("config.json:{}")}, set("env.HF_TOKEN", `"hf_secret"`), set("command[0]", `"make"`))
	l := traced(t, h, made)
	got := indented(t, l.Statements(nil, nil))
	card, err := l.Facts(h.Store, "", nil).Card()
	if err != nil {
		t.Fatal(err)
	}
	if both := string(got) + string(card); strings.Contains(both, "hf_secret") || !strings.Contains(both, "HF_TOKEN") {
		t.Errorf("%s", both)
	}
}

func TestBOM(t *testing.T) {
	h, made := tuned(t)
	b, err := traced(t, h, made).Facts(h.Store, "peft", func(string, string) string { return "apache-2.0" }).BOM(exported.Files, exported.Finished, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "bom.json", b)
	conforms(t, b)
}

// What is no model has a BOM too, and so has a model of which little is known.
func TestBOMOfOthers(t *testing.T) {
	h := begin(t)
	rows := h.put("data.parquet:rows")
	data := h.did("rows", "data.load", nil, map[string]string{"data": rows}, from("source", "data/", store.Sum([]byte("x"))))
	fresh := h.did("fresh", "model.load", nil, map[string]string{"model": h.put(`config.json:{"model_type": "llama"}`)}, from("tokenizer", "tokenizer/", store.Sum([]byte("y"))), set("config.hidden_size", "64"))
	bare := h.did("bare", "train.grpo", map[string]string{"model": store.Sum([]byte("nobody knows"))}, map[string]string{"model": h.put("config.json:not JSON")})
	old := h.did("old", "model.load", nil, map[string]string{"model": h.put("config.json:{}")}, from("source", "", commit))
	after := h.did("after", "train.dpo", map[string]string{"model": old.Outputs["model"].Hash}, map[string]string{"model": h.put("config.json:{} ")})
	answers := h.put("data.parquet:answers")
	teacher := h.did("teacher", "model.load", nil, map[string]string{"model": h.put("config.json:{}  ")}, from("source", "hf://org/teacher", commit))
	h.did("distilled", "curate.distill", map[string]string{"data": rows, "teacher": teacher.Outputs["model"].Hash}, map[string]string{"data": answers})
	pupil := h.did("pupil", "train.sft", map[string]string{"data": answers, "model": old.Outputs["model"].Hash}, map[string]string{"model": h.put("config.json:{}   ")})
	if b, err := traced(t, h, pupil).Facts(h.Store, "", nil).BOM(nil, exported.Finished, ""); err != nil || !strings.Contains(string(b), "pkg:huggingface/org/teacher@"+commit) {
		t.Errorf("%v: no teacher in %s", err, b)
	}
	for _, made := range []*store.Record{data, fresh, bare, old, after, pupil} {
		b, err := traced(t, h, made).Facts(h.Store, "", func(string, string) string { return "a licence of its own" }).BOM(nil, exported.Finished, "v1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, b)
	}
}

// conforms holds a BOM against CycloneDX's own schema, which comes with its library.
func conforms(t *testing.T, bom []byte) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schemax.json"} {
		f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		doc, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+strings.Replace(name, "schemax", "schema", 1), doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(bom))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, bom)
	}
}

func TestCard(t *testing.T) {
	h, made := tuned(t)
	card, err := traced(t, h, made).Facts(h.Store, "", func(r, at string) string {
		if r != repo || at != commit {
			t.Errorf("asked for the card of %s at %s", r, at)
		}
		return "apache-2.0"
	}).Card()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "card.md", card)
}

// What an export stage wrote is told by what it read: its own artifact is files.
func TestCardOfExport(t *testing.T) {
	h, made := tuned(t)
	in := map[string]string{"model": made.Outputs["model"].Hash, "model.base": made.Input("model")}
	ship := h.did("ship", "export", in, map[string]string{"files": h.put("adapter_model.safetensors:factors")})
	f := traced(t, h, ship).Facts(h.Store, "", nil)
	if !f.IsModel() || f.Format != "peft" || f.BaseName != repo || len(f.Trainings) != 1 || len(f.Evals) != 2 {
		t.Errorf("format %s of %s, %d trainings, %d evals", f.Format, f.BaseName, len(f.Trainings), len(f.Evals))
	}
	in = map[string]string{"model": made.Input("model")}
	ship = h.did("ship", "export", in, map[string]string{"files": h.put("model.gguf:weights")}, set("format", `"gguf"`))
	if y := traced(t, h, ship).Facts(h.Store, "", nil).front(); y.Relation != "quantized" || y.LibraryName != "" || y.BaseModel != repo {
		t.Errorf("%+v", y)
	}
}

// Names are the user's: none of them may become markup, or another row of a table.
func TestCardOfOddNames(t *testing.T) {
	h := begin(t)
	rows := h.put("data.parquet:rows")
	h.did("rows", "data.load", nil, map[string]string{"data": rows}, from("source", "a|b`c\n# d.jsonl", store.Sum([]byte("x"))))
	made := h.did("x<script>|", "train.sft", map[string]string{"data": rows}, map[string]string{"model": h.put("config.json:{}")},
		set("system", `"line one\nline | two `+strings.Repeat("long ", 100)+`"`), func(r *store.Record) { r.Pipeline = "---\nlicense: mit" })
	card, err := traced(t, h, made).Facts(h.Store, "", nil).Card()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(card), "<script") || strings.Contains(string(card), "\n# d") || License(card) != "" {
		t.Errorf("%s", card)
	}
	for line := range strings.Lines(string(card)) {
		if strings.HasPrefix(line, "|") && len(strings.Split(strings.ReplaceAll(line, `\|`, ""), "|")) > 6 || len(line) > 700 {
			t.Errorf("a row of the table: %s", line)
		}
	}
}

func TestLicense(t *testing.T) {
	for card, want := range map[string]string{
		"---\nlicense: apache-2.0\ntags: [a]\n---\n# x":      "apache-2.0",
		"\ufeff---\r\nlicense: mit\r\n---\r\n":               "mit",
		"---\nlicense: other\nlicense_name: llama3.2\n---\n": "llama3.2",
		"---\nlicense: [mit, apache-2.0]\n---\n":             "",
		"---\nlicense: mit\n":                                "",
		"# no front matter\nlicense: mit":                    "",
		"---\n{{\n---\n":                                     "",
		"---\na: &a [x]\nb: [*a, *a]\nlicense: mit\n---\n":   "mit",
		"": "",
	} {
		if got := License([]byte(card)); got != want {
			t.Errorf("%q: %q, want %q", card, got, want)
		}
	}
}
