package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Damage is an artifact whose bytes are not what its name says, or are not all there.
type Damage struct {
	Tree  string
	Files []string // the files that are missing or have changed; empty where the whole artifact is gone
}

func (d *Damage) Error() string {
	if len(d.Files) == 0 {
		return fmt.Sprintf("artifact %.12s is gone", d.Tree)
	}
	return fmt.Sprintf("artifact %.12s is damaged: %s", d.Tree, strings.Join(d.Files, ", "))
}

// Check looks an artifact over without reading it: a file whose device, inode, size and mtime are those of its last
// hashing is taken for sound, any other is hashed. A *Damage says what is wrong.
func (s *Store) Check(hash string) error { return s.verify(hash, s.readStat(hash)) }

// Verify reads every byte of an artifact, once a process, and links a damaged file anew where a sound object of its
// hash is there. A *Damage says what is wrong. It comes before anything uses the artifact.
func (s *Store) Verify(hash string) error { return s.verify(hash, nil) }

func (s *Store) verify(hash string, trusted map[string]identity) error {
	entries, err := s.manifest(hash)
	if err != nil {
		return &Damage{Tree: hash}
	}
	var bad []string
	changed := false
	for _, e := range entries {
		path := filepath.Join(s.Tree(hash), filepath.FromSlash(e.path))
		if id, _, _, err := lstat(path); err == nil && trusted[e.path] == id {
			continue
		}
		changed = true
		if err := s.sound(path, e); err == nil {
			continue
		}
		if err := s.relink(path, e); err != nil {
			bad = append(bad, e.path)
		}
	}
	if len(bad) > 0 {
		s.distrust(hash)
		return &Damage{Tree: hash, Files: bad}
	}
	if changed {
		_ = s.writeStat(hash, entries) // a cache: where it cannot be written the files are hashed again
	}
	return nil
}

// distrust forgets what a damaged artifact's files looked like: every Check from now on hashes them, and finds the damage
// whoever looks next. A store that cannot be written to cannot be run in either.
func (s *Store) distrust(hash string) {
	_ = os.Remove(s.path("stat", hash))
	_ = s.sweepMemos(false) // nor do they know of it
}

// sound hashes the file at path and compares.
func (s *Store) sound(path string, e entry) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || e.exec != (info.Mode()&0o111 != 0) {
		return fmt.Errorf("%s: its mode has changed", e.path)
	}
	got, err := s.hashOnce(path)
	if err != nil {
		return err
	}
	if got != e.hash {
		return fmt.Errorf("%s: its bytes have changed", e.path)
	}
	return nil
}

// relink replaces the file at path by the object that it should be, if that one is sound.
func (s *Store) relink(path string, e entry) error {
	if err := s.sound(s.path("objects", e.object()), e); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "relink-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "file")
	if err := s.linkObject(e, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Discard removes a damaged artifact, and those of its objects that are damaged, so that it can be made again.
func (s *Store) Discard(hash string) error {
	entries, err := s.manifest(hash)
	if err != nil { // without its list nothing says which objects were its own; they are content-addressed, and stay
		if err := os.Remove(s.path("objects", hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, e := range entries {
		object := s.path("objects", e.object())
		if err := s.sound(object, e); err != nil {
			if err := os.Remove(object); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return s.dropTree(hash)
}

// dropTree takes a tree out of sight by one rename and then removes it.
func (s *Store) dropTree(hash string) error {
	if err := os.Remove(s.path("stat", hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "drop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Rename(s.Tree(hash), filepath.Join(dir, "tree")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readStat is the stat cache of a tree; nil, and so everything is hashed, where it cannot be read.
func (s *Store) readStat(hash string) map[string]identity {
	b, err := os.ReadFile(s.path("stat", hash))
	if err != nil {
		return nil
	}
	var ids map[string]identity
	if err := json.Unmarshal(b, &ids); err != nil {
		return nil
	}
	return ids
}

// writeStat notes what the files of a tree look like now that they have been hashed.
func (s *Store) writeStat(hash string, entries []entry) error {
	ids := make(map[string]identity, len(entries))
	for _, e := range entries {
		id, _, _, err := lstat(filepath.Join(s.Tree(hash), filepath.FromSlash(e.path)))
		if err != nil {
			return err
		}
		ids[e.path] = id
	}
	b, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	return s.writeFile(s.path("stat", hash), b, 0o644)
}
