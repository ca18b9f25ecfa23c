package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-ml/hone/schemas"
)

// schemaOf is what hone schema KIND prints.
func schemaOf(t *testing.T, kind string) string {
	t.Helper()
	var out, errs strings.Builder
	if code := hone([]string{"schema", kind}, &out, &errs); code != 0 {
		t.Fatalf("hone schema %s: exit %d\n%s", kind, code, &errs)
	}
	return out.String()
}

// Every kind is said in words: no error of CUE's stands where a type should, each field has a meaning, and what must be there has no
// default.
func TestSchemaOfKinds(t *testing.T) {
	for _, kind := range schemas.Kinds() {
		text := schemaOf(t, kind)
		for _, wrong := range []string{"_|_", "required, ", ", required,", "struct.", "matchN", "<nil>"} {
			if strings.Contains(text, wrong) {
				t.Errorf("hone schema %s has %s in it", kind, wrong)
			}
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if field := strings.HasPrefix(line, "  ") && line[2] != ' ' && strings.Contains(line, ": "); field && lines[i-1] == "" && lines[i+1] == "" {
				t.Errorf("hone schema %s does not say what this is: %s", kind, line)
			}
		}
	}
}

// The example of exec that hone schema prints is the one of the documentation, and hone takes it.
func TestExecExample(t *testing.T) {
	_, example, _ := strings.Cut(schemaOf(t, "exec"), "\n\n")
	example, _, _ = strings.Cut(example, "\n\n")
	example = strings.ReplaceAll(strings.TrimPrefix(strings.ReplaceAll(example, "\n    ", "\n"), "    "), "    ", "\t")
	docs, err := os.ReadFile("../../docs/stages/exec.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docs), "```cue\n"+example+"\n") {
		t.Errorf("docs/stages/exec.md does not have\n%s", example)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"shorten.py": "", "rows.jsonl": "",
		"p.cue": "package p\n\nimport \"github.com/hone-ml/hone/schemas\"\n\nschemas.#Pipeline\n\nname: \"p\"\n" +
			"stages: rows: {kind: \"data.load\", source: \"rows.jsonl\"}\nstages: {\n" + example + "\n}\n" +
			"stages: more: {kind: \"curate.filter\", data: stages.short.out.data, steps: [{exact: {}}]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	if code := hone([]string{"vet", dir}, &out, &errs); code != 0 {
		t.Errorf("exit %d\n%s", code, &errs)
	}
}
