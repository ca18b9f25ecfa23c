package store

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Freed is what GC frees, or would.
type Freed struct {
	DryRun      bool        `json:"dry_run"`
	Bytes       int64       `json:"bytes"` // freed on disk: what kept artifacts share is not counted
	Kept        int64       `json:"kept_bytes"`
	Trees       []FreedTree `json:"artifacts"`
	Checkpoints []string    `json:"checkpoints"`  // keys of unfinished stages
	Refs        int         `json:"refs"`         // of pipelines whose folder is gone
	Shared      int64       `json:"shared_bytes"` // of the artifacts' own sizes: what others have too, which stays or counts once
	Busy        bool        `json:"busy"`         // a run or a worker uses the store: only a dry run goes on then
}

// FreedTree is an artifact that GC frees, with the stage that made it last. Bytes are its own size: what it shares
// with others counts once in Freed.
type FreedTree struct {
	Hash     string `json:"hash"`
	Bytes    int64  `json:"bytes"`
	Pipeline string `json:"pipeline,omitempty"`
	Stage    string `json:"stage,omitempty"`
	Smoke    bool   `json:"smoke,omitempty"`
}

// GC removes artifacts, objects and checkpoints that no ref leads to, and what crashed processes left in tmp. Records
// stay, but for those of smokes. It refuses while a run, or a worker that outlived its run, uses the store; a dry run, which only looks, does not.
func (s *Store) GC(dryRun bool) (*Freed, error) {
	freed := &Freed{DryRun: dryRun, Trees: []FreedTree{}, Checkpoints: []string{}}
	if _, err := os.Stat(s.Dir); errors.Is(err, os.ErrNotExist) {
		return freed, nil
	}
	if dryRun { // it writes nothing: the store may be a read-only one
		freed.Busy = s.held("store", unix.LOCK_EX)
	} else {
		if err := s.Init(); err != nil {
			return nil, err
		}
		lock, err := s.tryLock("store", unix.LOCK_EX)
		if err != nil {
			return nil, err
		}
		if lock == nil {
			return nil, errors.New("a run is using this store: try again when it has ended")
		}
		defer lock.Close()
	}
	worker, err := s.worked(dryRun)
	if err != nil {
		return nil, err
	}
	if worker && !dryRun {
		return nil, errors.New("a worker is still using this store: try again when it has ended")
	}
	freed.Busy = freed.Busy || worker
	live, dead, err := s.refs()
	if err != nil {
		return nil, err
	}
	freed.Refs = len(dead)
	keys := map[string]bool{}
	for _, ref := range live {
		for _, key := range ref.Stages {
			keys[key] = true
		}
	}
	records, err := s.AllRecords()
	if err != nil {
		return nil, err
	}
	smokes, err := s.allRecords(recordsOf(true))
	if err != nil {
		return nil, err
	}
	trees, maker := map[string]bool{}, map[string]*Record{}
	for _, r := range slices.Concat(smokes, records) {
		for _, out := range r.Outputs {
			maker[out.Hash] = r
			if keys[r.Key] && !r.Smoke {
				trees[out.Hash] = true
			}
		}
	}
	for _, r := range records {
		if keys[r.Key] && r.Prefix != "" {
			keys[r.Prefix] = true // its last state
		}
	}
	objects := s.reachable(trees)
	return freed, errors.Join(
		s.sweepTrees(freed, trees, objects, maker),
		s.sweepObjects(freed, objects),
		s.sweepCheckpoints(freed, keys),
		s.sweepSmokes(freed),
		s.sweepRefs(freed, dead),
		s.sweepTmp(freed),
		s.sweepMemos(dryRun),
	)
}

// worked says whether any key is locked, and drops the files of locks that nobody holds.
func (s *Store) worked(dryRun bool) (bool, error) {
	names, err := s.list("locks")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if name == "store" {
			continue
		}
		if dryRun {
			if s.Held(name) {
				return true, nil
			}
			continue
		}
		lock, err := s.tryLock(name, unix.LOCK_EX)
		if err != nil || lock == nil {
			return lock == nil, err
		}
		if err := errors.Join(os.Remove(s.path("locks", name)), lock.Close()); err != nil {
			return false, err
		}
	}
	return false, nil
}

// reachable is the objects of trees by name, the trees' manifests among them.
func (s *Store) reachable(trees map[string]bool) map[string]bool {
	objects := map[string]bool{}
	for hash := range trees {
		objects[hash] = true
		entries, err := s.manifest(hash)
		if err != nil {
			continue // freed before, or damaged: its objects are found when it is made again
		}
		for _, e := range entries {
			objects[e.object()] = true
		}
	}
	return objects
}

func (s *Store) sweepTrees(freed *Freed, keep, objects map[string]bool, maker map[string]*Record) error {
	names, err := s.list("trees")
	if err != nil {
		return err
	}
	counted := map[string]bool{}
	for _, hash := range names {
		if keep[hash] {
			continue
		}
		t := FreedTree{Hash: hash, Bytes: diskUse(s.Tree(hash))}
		if r := maker[hash]; r != nil {
			t.Pipeline, t.Stage, t.Smoke = r.Pipeline, r.Stage, r.Smoke
		}
		freed.Trees = append(freed.Trees, t)
		entries, _ := s.manifest(hash) // without it nothing says what is shared
		for _, e := range entries {
			if info, err := os.Lstat(s.path("objects", e.object())); err == nil && (objects[e.object()] || counted[e.object()]) {
				freed.Shared += info.Size()
			}
			counted[e.object()] = true
		}
		if !freed.DryRun {
			if err := s.dropTree(hash); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(freed.Trees, func(a, b FreedTree) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Hash, b.Hash))
	})
	return nil
}

func (s *Store) sweepObjects(freed *Freed, keep map[string]bool) error {
	names, err := s.list("objects")
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.path("objects", name)
		info, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) { // under a dry run another may be at work
			continue
		}
		if err != nil {
			return err
		}
		if keep[name] {
			freed.Kept += info.Size()
			continue
		}
		freed.Bytes += info.Size()
		if !freed.DryRun {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sweepCheckpoints(freed *Freed, keys map[string]bool) error {
	names, err := s.list("checkpoints")
	if err != nil {
		return err
	}
	for _, key := range names {
		dir := s.path("checkpoints", key)
		bytes := diskUse(dir)
		if keys[key] {
			freed.Kept += bytes
			continue
		}
		freed.Checkpoints = append(freed.Checkpoints, key)
		freed.Bytes += bytes
		if !freed.DryRun {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sweepRefs(freed *Freed, dead map[string]Ref) error {
	for name := range dead {
		if !freed.DryRun {
			if err := os.Remove(s.path("refs", name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sweepTmp(freed *Freed) error {
	names, err := s.list("tmp")
	if err != nil {
		return err
	}
	for _, name := range names {
		if key, _, _ := strings.Cut(name, "-"); freed.Busy && IsHash(key) && s.Held(key) {
			continue
		}
		freed.Bytes += diskUse(s.path("tmp", name))
		if !freed.DryRun {
			if err := os.RemoveAll(s.path("tmp", name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// diskUse is the size of the files below a path; those that have another name elsewhere count too.
func diskUse(path string) int64 {
	var sum int64
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				sum += info.Size()
			}
		}
		return nil // what cannot be read is not counted
	})
	return sum
}
