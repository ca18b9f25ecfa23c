package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// holds fails unless the folder has that one file with that content.
func holds(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != content {
		t.Errorf("%s: %q, %v; want %q", path, b, err, content)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are there (%v), want the one: %v", len(entries), err, entries)
	}
}

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for _, content := range []string{"long at first", "short"} {
		if err := Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		holds(t, path, content)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// An error of the filler leaves what was there, and nothing beside it.
func TestAFailureLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := Write(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no more")
	err := Stream(path, 0o644, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 3<<20)); err != nil { // beyond the buffer
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) || err.Error() != "no more" {
		t.Errorf("error %v", err)
	}
	holds(t, path, "old")
}

// The error names the file that was asked for and keeps its cause, wherever it comes up: no folder, a folder in the place, a full disk.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "full")
	for path, got := range map[string]error{
		filepath.Join(dir, "none", "a"): Write(filepath.Join(dir, "none", "a"), nil, 0o644),
		filepath.Join(dir, "folder"):    Write(filepath.Join(dir, "folder"), nil, 0o644),
		full:                            of(full, errors.Join(nil, &fs.PathError{Op: "sync", Path: "temporary", Err: syscall.ENOSPC})),
	} {
		var named *fs.PathError
		if !errors.As(got, &named) || named.Path != path || named.Op != "write" {
			t.Errorf("%s: %v", path, got)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if err := of(full, &fs.PathError{Err: syscall.ENOSPC}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v is no full disk", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "a"), []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.CreateTemp(dir, unfinished); err != nil { // of a process that was killed
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dir, "a"), "whole")
}
