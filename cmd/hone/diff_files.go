package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// content knows what source files of both sides hash to.
type content struct {
	sources *store.Sources
	known   map[string]string        // by path: of files that are not there, by the records of their stages
	records map[string]*store.Record // by path: those records
}

// of is a file's hash, nothing where that is not known.
func (c *content) of(s pipelines.Source) string {
	if hash := c.known[s.Path]; hash != "" {
		return hash
	}
	if s.Path == "" || s.Absent {
		return ""
	}
	hash, err := c.sources.Hash(s.Path)
	if err != nil {
		return ""
	}
	return hash
}

// recall looks up files of the past that are not in git.
func (c *content) recall(g *pipelines.Graph, records func() []*store.Record) {
	for _, s := range g.Stages {
		var rec *store.Record
		var hashes map[string]string
		for _, src := range s.Sources {
			if !src.Absent || src.Path == "" { // of an object of Git LFS it is known which it is
				continue
			}
			if rec == nil {
				rec, hashes = runner.Recorded(g, s, records())
			}
			if hash := hashes[src.Field]; hash != "" {
				c.known[src.Path], c.records[src.Path] = hash, rec
			}
		}
	}
}

// rows is the rows that a data.load made of its source, or makes of it where it is there; nil of a stage that has none, and of a source of
// which nothing is known.
func (c *content) rows(st *store.Store, s *pipelines.Stage) rowsAt {
	if now := rowsFrom(s); now != nil || s == nil || s.Kind != "data.load" || len(s.Sources) != 1 {
		return now
	}
	rec := c.records[s.Sources[0].Path]
	if rec == nil {
		return nil
	}
	read := rowsIn(st, rec.Outputs["data"].Hash)
	return func() (dataset.Side, func(), error) {
		side, done, err := read()
		if damage := (*store.Damage)(nil); errors.As(err, &damage) && len(damage.Files) == 0 {
			err = fmt.Errorf("of the %s before only the record is here", rowsOf(int64(rec.Metrics["rows"])))
		}
		return side, done, err
	}
}

// recordsOf is the records of the store and of --records, the oldest first.
func recordsOf(history func() []*store.Record, places []runner.Elsewhere) func() []*store.Record {
	return sync.OnceValue(func() []*store.Record {
		all := slices.Clone(history())
		for _, place := range places {
			if file, ok := place.(*runner.RecordsFile); ok {
				all = append(all, file.All()...)
			}
		}
		slices.SortStableFunc(all, func(a, b *store.Record) int { return a.Started.Compare(b.Started) })
		return all
	})
}

// pointer is what Git LFS commits in place of a file (its specification, version 1).
var pointer = regexp.MustCompile(`^version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize \d+\n$`)

// largest is the bytes of a pointer at most.
const largest = 1024

// follow puts the files that Git LFS has here in place of their pointers; others are not there.
func follow(ctx context.Context, repo *git.Repository, graphs []*located) error {
	objects := ""
	for _, g := range graphs {
		for _, s := range g.Stages {
			for i := range s.Sources {
				src := &s.Sources[i]
				if src.Absent {
					continue
				}
				oid := pointedAt(src.Path)
				if oid == "" {
					continue
				}
				if objects == "" {
					var err error
					if objects, err = repo.Common(ctx); err != nil {
						return err
					}
				}
				src.Path = filepath.Join(objects, "lfs", "objects", oid[:2], oid[2:4], oid)
				if _, err := os.Stat(src.Path); err != nil {
					src.Path, src.Absent = "", true
				}
			}
		}
	}
	return nil
}

// pointedAt is the id of the object that a pointer stands for; empty of any other file.
func pointedAt(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > largest {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if m := pointer.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}
