package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The licence of a base is what its card in the hub's cache says. No network is asked: there is none at that address.
func TestBaseLicense(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	if got := baseLicense("org/name", commit); got != "" {
		t.Errorf("%q without a card", got)
	}
	dir := filepath.Join(cache, "models--org--name", "snapshots", commit)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("---\nlicense: apache-2.0\n---\n# name\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := baseLicense("org/name", commit); got != "apache-2.0" {
		t.Errorf("%q", got)
	}
}
