package store

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Ref is what the last run of the pipeline in a folder used. GC keeps it, as long as the folder is there.
type Ref struct {
	Dir      string            `json:"dir"` // absolute
	Package  string            `json:"package"`
	Pipeline string            `json:"pipeline"`
	Stages   map[string]string `json:"stages"`          // stage → key
	Moved    []string          `json:"moved,omitempty"` // refs of the folders that it lay in before
}

// RefID names a pipeline's folder and package.
func RefID(dir, pkg string) string { return Sum([]byte(dir + "\x00" + pkg)) }

// ChangeRef changes the ref of a folder, and writes it where change says that it did. Runs of one folder may be under way at once:
// none sees a ref that another is about to replace.
func (s *Store) ChangeRef(dir, pkg string, change func(*Ref) bool) error {
	id := RefID(dir, pkg)
	lock, err := s.Lock(context.Background(), "ref-"+id, nil) // held for moments; an interrupted run has a ref too
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := s.Ref(dir, pkg)
	if err != nil || !change(&r) {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return s.writeFile(s.path("refs", id), b, 0o644)
}

// Ref reads the ref of a folder; an empty one where there is none.
func (s *Store) Ref(dir, pkg string) (Ref, error) {
	r := Ref{Dir: dir, Package: pkg, Stages: map[string]string{}}
	b, err := os.ReadFile(s.path("refs", RefID(dir, pkg)))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	var read Ref
	if err := json.Unmarshal(b, &read); err != nil || read.Stages == nil {
		return r, nil //nolint:nilerr // torn by a power cut: the next run writes it anew
	}
	return read, nil
}

// Former is the ids of the refs of a pipeline of that name whose folders are there no longer, sorted.
func (s *Store) Former(pipeline string) ([]string, error) {
	_, dead, err := s.refs()
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, ref := range dead {
		if ref.Pipeline == pipeline {
			ids = append(append(ids, id), ref.Moved...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Users is the folders of the pipelines whose last run used or made an artifact, sorted.
func (s *Store) Users(hash string) ([]string, error) {
	live, _, err := s.refs()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, ref := range live {
		for _, key := range ref.Stages {
			records, err := s.Records(key)
			if err != nil {
				return nil, err
			}
			for _, r := range records {
				for _, out := range r.Outputs {
					if out.Hash == hash {
						dirs = append(dirs, ref.Dir)
					}
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// refs reads all refs, apart by whether their folder is still there; those of folders that are gone by their ids.
func (s *Store) refs() (live []Ref, dead map[string]Ref, err error) {
	dead = map[string]Ref{}
	names, err := s.list("refs")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(s.path("refs", name))
		if err != nil {
			return nil, nil, err
		}
		var r Ref
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, nil, &fs.PathError{Op: "read ref", Path: filepath.Join("refs", name), Err: err}
		}
		if info, err := os.Stat(r.Dir); err == nil && info.IsDir() {
			live = append(live, r)
		} else {
			dead[name] = r
		}
	}
	return live, dead, nil
}
