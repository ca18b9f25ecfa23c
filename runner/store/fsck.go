package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Findings is what Fsck found.
type Findings struct {
	Objects  int       `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Trees    int       `json:"artifacts"`
	Records  int       `json:"records"`
	Problems []Problem `json:"problems"`

	Pipelines []string `json:"pipelines"` // folders of those whose next run makes damaged artifacts again
	Unused    []string `json:"unused"`    // damaged artifacts that no pipeline's last run uses
}

// Problem is one thing that is not as its name says.
type Problem struct {
	Path string `json:"path"` // below the store's folder
	What string `json:"what"`
}

// Fsck reads every byte of the store. It mends nothing, but what it finds damaged is trusted no longer: the next run that
// wants it makes it again. An artifact that GC has freed is no problem, whatever records say of it.
func (s *Store) Fsck() (*Findings, error) {
	f := &Findings{Problems: []Problem{}, Pipelines: []string{}, Unused: []string{}}
	// Hash everything anew, whatever this process has seen.
	fresh, err := Open(s.Dir)
	if err != nil {
		return nil, err
	}
	damaged, err := fresh.fsckTrees(f)
	if err := errors.Join(err, fresh.fsckObjects(f), fresh.fsckRecords(f)); err != nil {
		return nil, err
	}
	if err := f.mends(s, damaged); err != nil {
		return nil, err
	}
	slices.SortFunc(f.Problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return f, nil
}

// mends finds whose next run makes damaged artifacts again.
func (f *Findings) mends(s *Store, damaged []string) error {
	for _, hash := range damaged {
		dirs, err := s.Users(hash)
		if err != nil {
			return err
		}
		if len(dirs) == 0 {
			f.Unused = append(f.Unused, hash)
		}
		f.Pipelines = append(f.Pipelines, dirs...)
	}
	slices.Sort(f.Pipelines)
	f.Pipelines = slices.Compact(f.Pipelines)
	return nil
}

func (s *Store) fsckObjects(f *Findings) error {
	names, err := s.list("objects")
	if err != nil {
		return err
	}
	f.Objects = len(names)
	problems := make([]*Problem, len(names))
	sizes := make([]int64, len(names))
	if err := Parallel(len(names), func(i int) error {
		path := filepath.Join("objects", names[i])
		want, exec := strings.CutSuffix(names[i], ".x")
		if !IsHash(want) {
			problems[i] = &Problem{path, "not an object's name"}
			return nil
		}
		if info, err := os.Lstat(s.path(path)); err == nil {
			sizes[i] = info.Size()
		}
		if err := s.sound(s.path(path), entry{path: path, exec: exec, hash: want}); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems[i] = &Problem{path, strings.TrimPrefix(err.Error(), path+": ")}
		}
		return nil
	}); err != nil {
		return err
	}
	for i, p := range problems {
		f.Bytes += sizes[i]
		if p != nil {
			f.Problems = append(f.Problems, *p)
		}
	}
	return nil
}

func (s *Store) fsckTrees(f *Findings) (damaged []string, err error) {
	names, err := s.list("trees")
	if err != nil {
		return nil, err
	}
	f.Trees = len(names)
	for _, hash := range names {
		entries, err := s.manifest(hash)
		if err != nil {
			f.Problems = append(f.Problems, Problem{filepath.Join("trees", hash), "no list of its files that can be read"})
			damaged = append(damaged, hash)
			continue
		}
		known, sound := map[string]bool{}, true
		for _, e := range entries {
			known[e.path] = true
			path := filepath.Join("trees", hash, filepath.FromSlash(e.path))
			if err := s.sound(s.path(path), e); err != nil {
				what := "its bytes or mode have changed"
				if errors.Is(err, os.ErrNotExist) {
					what = "is gone"
				}
				f.Problems = append(f.Problems, Problem{path, what})
				sound = false
			}
		}
		if !sound {
			s.distrust(hash)
			damaged = append(damaged, hash)
		}
		if err := filepath.WalkDir(s.Tree(hash), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if rel, _ := filepath.Rel(s.Tree(hash), path); !known[filepath.ToSlash(rel)] {
				f.Problems = append(f.Problems, Problem{filepath.Join("trees", hash, rel), "is not part of the artifact"})
			}
			return nil
		}); err != nil && !errors.Is(err, os.ErrNotExist) { // what is gone is named above
			f.Problems = append(f.Problems, Problem{filepath.Join("trees", hash), "cannot be listed"})
		}
	}
	return damaged, nil
}

func (s *Store) fsckRecords(f *Findings) error {
	keys, err := s.list("records")
	if err != nil {
		return err
	}
	for _, key := range keys {
		names, err := s.list(filepath.Join("records", key))
		if err != nil {
			return err
		}
		for _, name := range names {
			f.Records++
			path := filepath.Join("records", key, name, "record.json")
			var r Record
			b, err := os.ReadFile(s.path(path))
			if err == nil {
				err = json.Unmarshal(b, &r)
			}
			if err != nil || r.Key != key {
				f.Problems = append(f.Problems, Problem{path, "cannot be read as a record of its key"})
			}
		}
	}
	return nil
}
