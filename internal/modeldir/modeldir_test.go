package modeldir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/ordjson"
)

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o444); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An edit keeps the order of keys and the spelling of numbers, leaves alone what does not change, and makes a file only
// to put something into it.
func TestEdit(t *testing.T) {
	dir := t.TempDir()
	set := func(o *ordjson.Object) { o.Set("b", ordjson.Number("2")) }
	const odd = `{ "z":1e-05,"b" : 2, "a":[] }`
	write(t, dir, "same.json", odd)
	write(t, dir, "other.json", `{"z": 1e-05, "b": 1.0, "a": {"y": "ü<"}}`)
	if err := os.Chmod(filepath.Join(dir, "other.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"same.json", "other.json", "new.json"} {
		if err := Edit(dir, name, set); err != nil {
			t.Fatal(err)
		}
	}
	if err := Edit(dir, "none.json", func(o *ordjson.Object) { o.Delete("b") }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"same.json":  odd,
		"other.json": "{\n  \"z\": 1e-05,\n  \"b\": 2,\n  \"a\": {\n    \"y\": \"ü<\"\n  }\n}\n",
		"new.json":   "{\n  \"b\": 2\n}\n",
	} {
		if d := cmp.Diff(want, read(t, dir, name)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.json")); err == nil {
		t.Error("an edit that puts nothing in made a file")
	}
	write(t, dir, "broken.json", "[1]")
	if err := Edit(dir, "broken.json", set); err == nil || !strings.Contains(err.Error(), "broken.json: no JSON object") {
		t.Errorf("broken: %v", err)
	}
}

// A linked file is the same file, a copied one is not, and a copy can be written to though its source cannot.
func TestLinkAndCopy(t *testing.T) {
	dir := t.TempDir()
	from := write(t, dir, "from", "x")
	linked, copied := filepath.Join(dir, "linked"), filepath.Join(dir, "copied")
	if err := Link(t.Context(), linked, from); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), copied, from, nil); err != nil {
		t.Fatal(err)
	}
	a, _ := os.Stat(from)
	b, _ := os.Stat(linked)
	c, err := os.Stat(copied)
	if err != nil || !os.SameFile(a, b) || os.SameFile(a, c) || c.Mode().Perm() != 0o644 {
		t.Errorf("link %v, copy %v, %v", os.SameFile(a, b), c.Mode(), err)
	}
	// A copy onto a link replaces the link: the file that it led to keeps its bytes.
	if err := Copy(t.Context(), linked, write(t, dir, "other", "y"), nil); err != nil {
		t.Fatal(err)
	}
	if read(t, from) != "x" || read(t, linked) != "y" {
		t.Errorf("the source became %q", read(t, from))
	}
}

func TestWeights(t *testing.T) {
	dir := t.TempDir()
	if _, err := Weights(dir); err == nil || !strings.Contains(err.Error(), "no model.safetensors and no model.safetensors.index.json") {
		t.Errorf("empty folder: %v", err)
	}
	write(t, dir, "model.safetensors.index.json", `{"weight_map": {"b": "2.safetensors", "a": "1.safetensors", "c": "2.safetensors"}}`)
	got, err := Weights(dir)
	if d := cmp.Diff([]string{"1.safetensors", "2.safetensors", "model.safetensors.index.json"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	write(t, dir, "model.safetensors", "")
	if got, err = Weights(dir); len(got) != 1 || err != nil {
		t.Errorf("with a single file beside them: %v, %v", got, err)
	}
}
