package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/git"
)

// unchanged is the pipelines of a side of which nothing that they are made of differs in the other revision: neither a file that their
// evaluation read, nor one beside those, nor a source. They need not be evaluated there.
func (s *side) unchanged(ctx context.Context, repo *git.Repository, base string) (same []*located, err error) {
	changed, err := repo.Changed(ctx, base, s.commit)
	if err != nil {
		return nil, err
	}
	tracked, err := repo.Tracked(ctx, s.commit)
	if err != nil {
		return nil, err
	}
	folders := map[string]bool{} // in which CUE or a module changed
	for path := range changed {
		if strings.HasSuffix(path, ".cue") {
			folders[filepath.ToSlash(filepath.Dir(path))] = true
		}
		if strings.HasSuffix("/"+path, "/cue.mod/module.cue") {
			folders[filepath.ToSlash(filepath.Dir(filepath.Dir(path)))] = true
		}
	}
	mixed := map[string]bool{} // folders of which another pipeline is to be evaluated
	for _, p := range s.pipelines {
		if s.stands(p, changed, tracked, folders) {
			same = append(same, p)
		} else {
			mixed[p.path] = true
		}
	}
	return slices.DeleteFunc(same, func(p *located) bool { return mixed[p.path] }), nil
}

// stands says that of one pipeline. What git does not have may be anything in the other revision.
func (s *side) stands(p *located, changed, tracked, folders map[string]bool) bool {
	if p.Reads == nil || p.Reads.Unknown {
		return false
	}
	is := func(path string) bool {
		rel := s.rel(path)
		return filepath.IsLocal(rel) && tracked[rel] && !changed[rel]
	}
	for _, f := range p.Reads.Files {
		if !is(f.Path) {
			return false
		}
	}
	for _, f := range p.Reads.Folders {
		if folders[s.rel(f.Path)] { // those above the repository are not of it
			return false
		}
	}
	for _, stage := range p.Stages {
		for _, src := range stage.Sources {
			if src.Path != "" && !is(src.Path) && !s.folderStands(src.Path, changed, tracked) {
				return false
			}
		}
	}
	return true
}

// folderStands says of a source that is a folder that git has all of it, unchanged.
func (s *side) folderStands(path string, changed, tracked map[string]bool) bool {
	rel := s.rel(path)
	if info, err := os.Stat(path); err != nil || !info.IsDir() || !filepath.IsLocal(rel) {
		return false
	}
	for at := range changed {
		if strings.HasPrefix(at, rel+"/") {
			return false
		}
	}
	files, all := 0, true
	err := filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
			all = all && tracked[s.rel(at)]
		}
		return err
	})
	return err == nil && files > 0 && all
}
