package runner

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/pipelines"
)

// A record names sources as the pipeline does, and nothing of this machine.
func TestSourceNames(t *testing.T) {
	dir := t.TempDir()
	got := sourceNames(&pipelines.Stage{Sources: []pipelines.Source{
		{Field: "source", Written: "hf://org/name@main", Hub: "hf://org/name@main"},
		{Field: "files[0]", Written: "data/rows.jsonl", Path: filepath.Join(dir, "data/rows.jsonl")},
		{Field: "files[1]", Written: "code/", Path: dir},
		{Field: "files[2]", Written: dir, Path: dir},
		{Field: "files[3]", Written: "/home/someone/rows.jsonl", Path: "/home/someone/rows.jsonl"},
	}})
	want := map[string]string{
		"source": "hf://org/name@main", "files[0]": "data/rows.jsonl", "files[1]": "code/", "files[2]": filepath.Base(dir) + "/", "files[3]": "rows.jsonl",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
