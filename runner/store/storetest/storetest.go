// Package storetest is the suite that any store of artifacts must pass.
package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/runner/store"
)

// Store is what the suite asks of a store.
type Store interface {
	Put(dir string) (hash string, err error)
	Tree(hash string) string
	Check(hash string) error
	Verify(hash string) error
	Discard(hash string) error
	Commit(r *store.Record, log string) error
	Records(key string) ([]*store.Record, error)
	LogDir(r *store.Record) string
}

// Run tries a store. open returns one over an empty folder, and again opens what an earlier one wrote, as another
// process would.
func Run(t *testing.T, open func(t *testing.T) (st Store, again func() Store)) {
	for name, test := range map[string]func(*testing.T, Store, func() Store){
		"an artifact is its files, modes and paths": content,
		"the hash is of the content alone":          contentAlone,
		"links that stay inside become files":       insideLinks,
		"what is no file is refused":                refused,
		"a file of the user's stays the user's":     users,
		"damage is found and mended":                damage,
		"a record comes back as it was":             records,
		"many may put at once":                      atOnce,
	} {
		t.Run(name, func(t *testing.T) {
			st, again := open(t)
			test(t, st, again)
		})
	}
}

// folder makes files from a list of path and text; a path that ends with * may be executed.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path, exec := strings.CutSuffix(filepath.Join(dir, files[i]), "*")
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		mode := fs.FileMode(0o644)
		if exec {
			mode = 0o755
		}
		must(t, os.WriteFile(path, []byte(files[i+1]), mode))
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, st Store, files ...string) string {
	t.Helper()
	hash, err := st.Put(folder(t, files...))
	must(t, err)
	return hash
}

func read(t *testing.T, st Store, hash, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(st.Tree(hash), file))
	must(t, err)
	return string(b)
}

func content(t *testing.T, st Store, again func() Store) {
	hash := put(t, st, "config.json", "{}", "deep/er/run*", "#!/bin/sh\n", "empty", "", "odd \n name", "x")
	for _, st := range []Store{st, again()} {
		must(t, st.Check(hash))
		must(t, st.Verify(hash))
		for file, want := range map[string]string{"config.json": "{}", "deep/er/run": "#!/bin/sh\n", "empty": "", "odd \n name": "x"} {
			if got := read(t, st, hash, file); got != want {
				t.Errorf("%q has %q, want %q", file, got, want)
			}
			info, err := os.Stat(filepath.Join(st.Tree(hash), file))
			must(t, err)
			want := fs.FileMode(0o444)
			if strings.HasSuffix(file, "run") {
				want = 0o555
			}
			if info.Mode().Perm() != want {
				t.Errorf("%q has mode %v, want %v", file, info.Mode().Perm(), want)
			}
		}
	}
}

func contentAlone(t *testing.T, st Store, _ func() Store) {
	hash := put(t, st, "a", "1", "b", "2")
	if got := put(t, st, "b", "2", "a", "1"); got != hash {
		t.Error("the order of writing is in the hash")
	}
	dir := folder(t, "a", "1", "b", "2")
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o600))
	must(t, os.Chtimes(filepath.Join(dir, "a"), time.Unix(1, 0), time.Unix(1, 0)))
	if got, err := st.Put(dir); err != nil || got != hash {
		t.Error("times, read modes or empty folders are in the hash", err)
	}
	for name, other := range map[string]string{
		"bytes": put(t, st, "a", "1", "b", "3"), "a name": put(t, st, "a", "1", "c", "2"),
		"the mode": put(t, st, "a", "1", "b*", "2"), "a file more": put(t, st, "a", "1", "b", "2", "c", ""),
		"a folder": put(t, st, "x/a", "1", "x/b", "2"),
	} {
		if other == hash {
			t.Errorf("%s is not in the hash", name)
		}
	}
	if _, err := st.Put(folder(t)); !errors.Is(err, store.ErrEmpty) {
		t.Errorf("an empty folder gives %v", err)
	}
}

func insideLinks(t *testing.T, st Store, _ func() Store) {
	dir := folder(t, "blobs/1", "x")
	must(t, os.Symlink("blobs/1", filepath.Join(dir, "weights")))
	hash, err := st.Put(dir)
	must(t, err)
	if want := put(t, st, "blobs/1", "x", "weights", "x"); hash != want {
		t.Error("a link is not the file it leads to")
	}
}

func refused(t *testing.T, st Store, _ func() Store) {
	outside := filepath.Join(folder(t, "secret", "x"), "secret")
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"outside": {func(p string) error { return os.Symlink(outside, p) }, "outside the artifact"},
		"nowhere": {func(p string) error { return os.Symlink("none", p) }, "leads nowhere"},
		"round":   {func(p string) error { return os.Symlink(filepath.Base(p), p) }, "leads nowhere"},
		"pipe":    {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "named pipe"},
	} {
		dir := folder(t, "a", "1")
		must(t, c.make(filepath.Join(dir, "odd")))
		if _, err := st.Put(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "odd: ") {
			t.Errorf("%s: %v, want odd: … %s", name, err, c.want)
		}
	}
}

func users(t *testing.T, st Store, _ func() Store) {
	mine := filepath.Join(folder(t, "mine", "1"), "mine")
	dir := folder(t)
	if err := os.Link(mine, filepath.Join(dir, "a")); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	hash, err := st.Put(dir)
	must(t, err)
	must(t, os.WriteFile(mine, []byte("2"), 0o644))
	if got := read(t, st, hash, "a"); got != "1" {
		t.Errorf("the artifact changed with the user's file: %q", got)
	}
}

func damage(t *testing.T, st Store, again func() Store) {
	hash := put(t, st, "a", "1", "b", "2")
	path := filepath.Join(st.Tree(hash), "a")
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Chmod(path, 0o644))
	must(t, os.WriteFile(path, []byte("X"), 0o644))
	must(t, os.Chmod(path, 0o444))
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	other := again()
	must(t, other.Check(hash)) // size and time are as they were: only reading tells
	var found *store.Damage
	if err := other.Verify(hash); !errors.As(err, &found) || fmt.Sprint(found.Files) != "[a]" {
		t.Fatalf("changed bytes give %v", err)
	}
	must(t, other.Discard(hash))
	if err := other.Check(hash); !errors.As(err, &found) {
		t.Fatalf("a discarded artifact gives %v", err)
	}
	if got := put(t, other, "a", "1", "b", "2"); got != hash {
		t.Error("the same bytes have another hash")
	}
	must(t, again().Verify(hash))
	// A file that is gone is linked anew while its object is there.
	must(t, os.Remove(path))
	must(t, again().Check(hash))
	if got := read(t, st, hash, "a"); got != "1" {
		t.Errorf("linked anew to %q", got)
	}
}

func records(t *testing.T, st Store, again func() Store) {
	hash := put(t, st, "a", "1")
	key := store.Sum([]byte("key"))
	log := folder(t, "metrics.jsonl", "{}\n")
	if dir, err := os.MkdirTemp(filepath.Dir(st.Tree(hash)), "log"); err == nil { // on the store's own file system
		must(t, os.Rename(filepath.Join(log, "metrics.jsonl"), filepath.Join(dir, "metrics.jsonl")))
		log = dir
	}
	r := &store.Record{
		Key: key, Kind: "exec", Pipeline: "p", Stage: "s", Numerics: &job.Numerics{Threads: 2},
		Outputs: map[string]store.Output{"out": {Kind: "files", Hash: hash}},
		Metrics: map[string]float64{"loss": 0.1}, Started: time.Now().UTC(), Seconds: 1.5,
	}
	must(t, st.Commit(r, log))
	other := again()
	got, err := other.Records(key)
	must(t, err)
	if len(got) != 1 || fmt.Sprint(got[0].Outputs, got[0].Metrics, got[0].Started) != fmt.Sprint(r.Outputs, r.Metrics, r.Started) {
		t.Fatalf("got %+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(other.LogDir(got[0]), "metrics.jsonl")); err != nil || string(b) != "{}\n" {
		t.Fatalf("log %q %v", b, err)
	}
	r.Seconds = 2
	must(t, st.Commit(r, "")) // the same numerics: replaced
	r.Numerics = &job.Numerics{Threads: 4}
	must(t, st.Commit(r, "")) // others: beside it
	if got, err = again().Records(key); err != nil || len(got) != 2 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	if got, err = again().Records(store.Sum(nil)); err != nil || len(got) != 0 {
		t.Fatalf("an unknown key has %v, %v", got, err)
	}
}

func atOnce(t *testing.T, st Store, again func() Store) {
	other := again()
	var wg sync.WaitGroup
	hashes := make([]string, 8)
	for i := range hashes {
		dir := folder(t, "shared", strings.Repeat("x", 1<<16), "also", "y")
		wg.Go(func() {
			var err error
			if hashes[i], err = []Store{st, other}[i%2].Put(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, hash := range hashes {
		if hash != hashes[0] {
			t.Fatal("one content, two hashes")
		}
	}
	must(t, again().Verify(hashes[0]))
}
