package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"

	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// content knows what source files of both sides hash to.
type content struct {
	sources *store.Sources
	known   map[string]string // by path: of files that are not there, by the records of their stages
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
		var hashes map[string]string
		for _, src := range s.Sources {
			if !src.Absent || src.Path == "" { // of an object of Git LFS it is known which it is
				continue
			}
			if hashes == nil {
				hashes = runner.Recorded(g, s, records())
			}
			if hash := hashes[src.Field]; hash != "" {
				c.known[src.Path] = hash
			}
		}
	}
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
