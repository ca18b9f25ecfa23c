package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/runner/store/storetest"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storetest.Store, func() storetest.Store) {
		dir := filepath.Join(t.TempDir(), "store")
		return open(t, dir), func() storetest.Store { return open(t, dir) }
	})
}

// put makes an artifact, its record, and the ref of a pipeline in dir that leads there.
func put(t *testing.T, s *store.Store, dir, stage, text string, refer bool) string {
	t.Helper()
	out := t.TempDir()
	write(t, filepath.Join(out, "t"), text)
	hash, err := s.Put(out)
	if err != nil {
		t.Fatal(err)
	}
	r := &store.Record{
		Key: store.Sum([]byte(stage + text)), Kind: "exec", Pipeline: "p", Stage: stage, Started: time.Now(),
		Outputs: map[string]store.Output{"out": {Kind: "files", Hash: hash}},
	}
	if err := s.Commit(r, ""); err != nil {
		t.Fatal(err)
	}
	if refer {
		err := s.ChangeRef(dir, "p", func(ref *store.Ref) bool { ref.Stages[stage] = r.Key; return true })
		if err != nil {
			t.Fatal(err)
		}
	}
	return hash
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGC(t *testing.T) {
	s, pipeline := open(t, t.TempDir()), t.TempDir()
	kept := put(t, s, pipeline, "a", "kept", true)
	loose := put(t, s, pipeline, "b", strings.Repeat("loose", 1000), false)
	goneDir := filepath.Join(t.TempDir(), "gone")
	orphan := put(t, s, goneDir, "c", "orphan", true) // its folder never was
	write(t, filepath.Join(s.Dir, "tmp", "left"), "by a crash")
	if err := os.MkdirAll(filepath.Join(s.Checkpoints(store.Sum([]byte("old")), job.Numerics{Device: "cpu", Threads: 2}), "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	dry, err := s.GC(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{kept, loose, orphan} {
		if err := s.Check(hash); err != nil {
			t.Fatalf("a dry run freed something: %v", err)
		}
	}
	freed, err := s.GC(false)
	if err != nil {
		t.Fatal(err)
	}
	if freed.Bytes != dry.Bytes || len(freed.Trees) != 2 || len(dry.Trees) != 2 || len(freed.Checkpoints) != 1 || freed.Refs != 1 {
		t.Fatalf("freed %+v, promised %+v", freed, dry)
	}
	if freed.Trees[0].Stage != "b" || freed.Bytes < 5000 {
		t.Fatalf("freed %+v", freed)
	}
	if err := s.Verify(kept); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{loose, orphan} {
		var damage *store.Damage
		if err := s.Check(hash); !errors.As(err, &damage) {
			t.Fatalf("not freed: %v", err)
		}
	}
	again, err := s.GC(false)
	if err != nil || again.Bytes != 0 || len(again.Trees) != 0 {
		t.Fatalf("a second time freed %+v, %v", again, err)
	}
	if found, err := s.Fsck(); err != nil || len(found.Problems) != 0 {
		t.Fatalf("fsck after gc: %v %v", found, err)
	}
}

func TestGCKeepsAwayFromWork(t *testing.T) {
	s := open(t, t.TempDir())
	use, err := s.Use()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GC(false); err == nil || !strings.Contains(err.Error(), "a run is using") {
		t.Fatalf("gc under a run: %v", err)
	}
	use.Close()
	lock, err := s.Lock(context.Background(), store.Sum(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GC(false); err == nil || !strings.Contains(err.Error(), "a worker is still using") {
		t.Fatalf("gc under a worker: %v", err)
	}
	lock.Close()
	if _, err := s.GC(false); err != nil {
		t.Fatal(err)
	}
}

// What a killed run leaves is removed by the next one, but not from under a worker that is still at it.
func TestUseTidies(t *testing.T) {
	s := open(t, t.TempDir())
	done, busy := store.Sum([]byte("done")), store.Sum([]byte("busy"))
	n := job.Numerics{Device: "cpu", Threads: 2}
	lock, err := s.Lock(context.Background(), busy, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, key := range []string{done, busy} {
		if err := s.Commit(&store.Record{Key: key, Numerics: &n}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Job(key); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(s.Checkpoints(key, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(s.Dir, "tmp", "write-1"), "half")
	use, err := s.Use()
	if err != nil {
		t.Fatal(err)
	}
	use.Close()
	for _, folder := range []string{"tmp", "checkpoints"} {
		left, err := os.ReadDir(filepath.Join(s.Dir, folder))
		if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), busy) {
			t.Errorf("left in %s: %v, %v", folder, left, err)
		}
	}
}

func TestLockWaits(t *testing.T) {
	s := open(t, t.TempDir())
	first, err := s.Lock(context.Background(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
	defer cancel()
	holder := 0
	if _, err := s.Lock(ctx, "k", func(pid int) { holder = pid }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a held lock gives %v", err)
	}
	if holder != os.Getpid() {
		t.Fatalf("held by %d, said %d", os.Getpid(), holder)
	}
	first.Close()
	second, err := s.Lock(context.Background(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

// Runs of one folder that add their stages to its ref at once all find theirs there: gc would take the others' artifacts.
func TestRefOfManyRuns(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"))
	const runs = 4
	errs := make(chan error, runs)
	for i := range runs {
		go func() {
			own, err := store.Open(s.Dir) // as a process of its own has it
			if err == nil {
				err = own.ChangeRef(dir, "p", func(ref *store.Ref) bool {
					time.Sleep(20 * time.Millisecond) // all have read what there was
					ref.Stages[fmt.Sprint("stage", i)] = "key"
					return true
				})
			}
			errs <- err
		}()
	}
	for range runs {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	ref, err := s.Ref(dir, "p")
	if err != nil || len(ref.Stages) != runs {
		t.Fatalf("%d of %d runs' stages are left: %v, %v", len(ref.Stages), runs, ref.Stages, err)
	}
}

func TestFsck(t *testing.T) {
	s := open(t, t.TempDir())
	hash := put(t, s, t.TempDir(), "a", "text", true)
	put(t, s, t.TempDir(), "b", "fine", true)
	path := filepath.Join(s.Tree(hash), "t")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, path, "TEXT")
	os.Chmod(path, 0o444)
	found, err := s.Fsck()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range found.Problems {
		paths = append(paths, p.Path)
	}
	want := "objects/" + store.Sum([]byte("text")) + " trees/" + hash + "/t"
	if got := strings.Join(paths, " "); got != want || found.Trees != 2 || found.Records != 2 {
		t.Fatalf("found %s, want %s; %+v", got, want, found)
	}
}

func TestSources(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	file := filepath.Join(dir, "a.txt")
	write(t, file, "one")
	hash := func() string {
		t.Helper()
		c := s.Sources() // as another process
		h, err := c.Hash(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		return h
	}
	one := hash()
	if one != store.Sum([]byte("one")) {
		t.Fatal("a file's hash is not of its bytes")
	}
	// Changed within the clock's grain, size and mtime as they were: a racy entry is read again.
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "two")
	os.Chtimes(file, info.ModTime(), info.ModTime())
	if hash() == one {
		t.Fatal("a change within the clock's grain went unseen")
	}
	folder, err := s.Sources().Hash(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.Symlink(file, filepath.Join(other, "a.txt")); err != nil { // as a hub's cache has its snapshots
		t.Fatal(err)
	}
	if linked, err := s.Sources().Hash(other); err != nil || linked != folder {
		t.Fatalf("a folder of links hashes to %s, %v; the files to %s", linked, err, folder)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "round")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sources().Hash(dir); err == nil || !strings.Contains(err.Error(), "a folder that it lies in") {
		t.Fatalf("a folder in itself gives %v", err)
	}
}

func TestFind(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	t.Setenv("HONE_STORE", "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(top, "cache"))
	t.Setenv("HOME", filepath.Join(top, "home"))
	want := func(flag, want string) {
		t.Helper()
		if got, _, err := store.Find(flag); err != nil || got != want {
			t.Errorf("found %s, %v; want %s", got, err, want)
		}
	}
	if got, _, err := store.Find(""); err != nil || filepath.Base(got) != "hone" || !strings.HasPrefix(got, top) {
		t.Errorf("no store anywhere: %s, %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(top, ".hone"), 0o755); err != nil {
		t.Fatal(err)
	}
	want("", filepath.Join(top, ".hone"))
	t.Setenv("HONE_STORE", filepath.Join(top, "env"))
	want("", filepath.Join(top, "env"))
	want("here", filepath.Join(below, "here"))
}
