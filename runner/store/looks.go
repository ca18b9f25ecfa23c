package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Looks is what files and folders of the store look like: their identities, beside their paths in the store.
type Looks struct {
	Paths []string
	Of    []identity
}

// Look adds what a record and its artifacts look like. Of an artifact's files that is how they looked when they were last hashed.
func (s *Store) Look(l *Looks, r *Record) error {
	add := func(path string) error {
		id, _, _, err := lstat(s.path(path))
		l.add(path, id)
		return err
	}
	dir, err := filepath.Rel(s.Dir, s.recordDir(r))
	if err != nil {
		return err
	}
	if err := errors.Join(add(filepath.Dir(dir)), add(filepath.Join(dir, "record.json"))); err != nil {
		return err
	}
	for _, out := range r.Outputs {
		if err := add(filepath.Join("objects", out.Hash)); err != nil {
			return err
		}
		ids := s.readStat(out.Hash)
		entries, err := s.manifest(out.Hash)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, ok := ids[e.path]
			if !ok {
				return fmt.Errorf("artifact %.12s: %s has not been looked at", out.Hash, e.path)
			}
			l.add(filepath.Join("trees", out.Hash, filepath.FromSlash(e.path)), id)
		}
	}
	return nil
}

// LookRef adds what the ref of a folder looks like.
func (s *Store) LookRef(l *Looks, id string) error {
	look, _, _, err := lstat(s.path("refs", id))
	l.add(filepath.Join("refs", id), look)
	return err
}

// Add appends others.
func (l *Looks) Add(o Looks) { l.Paths, l.Of = append(l.Paths, o.Paths...), append(l.Of, o.Of...) }

func (l *Looks) add(path string, id identity) {
	l.Paths, l.Of = append(l.Paths, path), append(l.Of, id)
}

// Still says whether all of it looks the same now.
func (s *Store) Still(l *Looks) bool {
	if len(l.Paths) != len(l.Of) {
		return false
	}
	root, err := os.Open(s.Dir) // paths from here are short: the kernel walks each of their folders
	if err != nil {
		return false
	}
	defer root.Close()
	shares := runtime.GOMAXPROCS(0)
	same := make([]bool, shares)
	var group sync.WaitGroup
	for share := range shares {
		group.Go(func() {
			from, to := len(l.Paths)*share/shares, len(l.Paths)*(share+1)/shares
			for i := from; i < to; i++ {
				var st unix.Stat_t
				if unix.Fstatat(int(root.Fd()), l.Paths[i], &st, unix.AT_SYMLINK_NOFOLLOW) != nil || identityOf(&st) != l.Of[i] {
					return
				}
			}
			same[share] = true
		})
	}
	group.Wait()
	return !slices.Contains(same, false)
}

// memos is how the names of memos in the stat cache begin.
const memos = "run-"

// Remember keeps a memo under a name until the next gc. It may be gone at any time.
func (s *Store) Remember(name string, memo []byte) error {
	return s.writeFile(s.path("stat", memos+name), memo, 0o644)
}

// Memo is what was kept under a name, nil where there is nothing.
func (s *Store) Memo(name string) []byte {
	b, err := os.ReadFile(s.path("stat", memos+name))
	if err != nil {
		return nil
	}
	return b
}

// sweepMemos forgets all memos: what they tell of may be gone.
func (s *Store) sweepMemos(dryRun bool) error {
	names, err := s.list("stat")
	if err != nil || dryRun {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, memos) {
			if err := os.Remove(s.path("stat", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
