package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/internal/git"
	"github.com/hone-ml/hone/pipelines"
)

// side is one of the two states that are compared.
type side struct {
	root      string // of the repository's files
	commit    string // empty of the work tree
	pipelines []*located
	invalid   pipelines.Errors
}

// located is a pipeline with its folder from the repository's root.
type located struct {
	*pipelines.Graph
	path string
}

// revisions are the commits to compare; head is empty for the work tree.
func revisions(ctx context.Context, repo *git.Repository, args []string) (base, head string, err error) {
	base = args[0]
	parted := false
	if len(args) > 1 {
		head = args[1]
	} else if a, b, ok := strings.Cut(base, "..."); ok {
		base, head, parted = a, b, true
	} else if a, b, ok := strings.Cut(base, ".."); ok {
		base, head = a, b
	}
	// As git reads main.. and ..main, what is left out is HEAD.
	if base, err = repo.Commit(ctx, cmp.Or(base, "HEAD")); err != nil {
		return "", "", usageUnless(ctx, err)
	}
	if head == "" && !strings.Contains(args[0], "..") {
		return base, "", nil
	}
	if head, err = repo.Commit(ctx, cmp.Or(head, "HEAD")); err != nil {
		return "", "", usageUnless(ctx, err)
	}
	if parted {
		if base, err = repo.MergeBase(ctx, base, head); err != nil {
			return "", "", usageUnless(ctx, err)
		}
	}
	return base, head, nil
}

func usageUnless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return usage("%w", err)
}

// side reads the pipelines of a commit, or of the work tree; those in same are the same as in another. What it wrote for that is
// removed by drop.
func (f *flags) side(ctx context.Context, repo *git.Repository, commit string, same ...*located) (s *side, drop func(), err error) {
	s, drop = &side{root: repo.Root, commit: commit}, func() {}
	if commit != "" {
		if s.root, err = os.MkdirTemp("", "hone-diff-"); err != nil {
			return nil, nil, err
		}
		drop = func() { _ = os.RemoveAll(s.root) }
		if s.root, err = filepath.Abs(s.root); err != nil { // TMPDIR may be relative
			drop()
			return nil, nil, err
		}
		if err := repo.Checkout(ctx, commit, s.root); err != nil {
			drop()
			return nil, nil, err
		}
	}
	if err := f.read(ctx, repo, s, same); err != nil {
		drop()
		return nil, nil, err
	}
	return s, drop, nil
}

func (f *flags) read(ctx context.Context, repo *git.Repository, s *side, same []*located) error {
	opts := pipelines.Options{Tags: f.tags, Absent: true}
	for _, p := range same {
		opts.Except = append(opts.Except, filepath.Join(s.root, filepath.FromSlash(p.path)))
	}
	if s.commit != "" {
		opts.Within = s.root
	}
	s.pipelines = same
	all, err := evaluate(s.root+"/...", opts)
	var none *pipelines.NoPipelineError
	if errors.As(err, &none) {
		return nil
	} else if err != nil {
		return usage("%s", strings.ReplaceAll(err.Error(), s.root, s.name()))
	}
	var ignored []string
	if s.commit == "" { // what is built or copied there is not under review
		var dirs []string
		for _, g := range all.Graphs {
			dirs = append(dirs, g.Dir)
		}
		for _, e := range all.Errors {
			if dir := folder(e); filepath.IsLocal(s.rel(dir)) {
				dirs = append(dirs, dir)
			}
		}
		if ignored, err = repo.Ignored(ctx, dirs); err != nil {
			return err
		}
	}
	for _, g := range all.Graphs {
		if !slices.Contains(ignored, g.Dir) {
			s.pipelines = append(s.pipelines, &located{g, s.rel(g.Dir)})
		}
	}
	if err := follow(ctx, repo, s.pipelines); err != nil {
		return err
	}
	s.invalid = slices.DeleteFunc(all.Errors, func(e pipelines.Error) bool { return slices.Contains(ignored, folder(e)) })
	return nil
}

// folder is where the file of an error lies.
func folder(e pipelines.Error) string {
	abs, err := filepath.Abs(e.Pos.Filename)
	if err != nil {
		return "."
	}
	return filepath.Dir(abs)
}

// name is what a side is called.
func (s *side) name() string {
	if s.commit == "" {
		return "the work tree"
	}
	return s.commit[:12]
}

// rel is a path from the repository's root.
func (s *side) rel(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(s.root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return path
	}
	return filepath.ToSlash(rel)
}

// pos is a place from the repository's root, empty where there is none.
func (s *side) pos(p token.Position) string {
	if p.Filename == "" {
		return ""
	}
	p.Filename = s.rel(p.Filename)
	return p.String()
}

func (s *side) placed(errs pipelines.Errors) pipelines.Errors {
	errs = slices.Clone(errs)
	for i := range errs {
		if errs[i].Pos.Filename != "" {
			errs[i].Pos.Filename = s.rel(errs[i].Pos.Filename)
		}
	}
	return errs
}

// paired puts the pipelines of both sides together: of one folder and package, else of one name.
func paired(before, after []*located) (pairs [][2]*located) {
	rest := slices.Clone(before)
	take := func(same func(*located) bool) *located {
		i := slices.IndexFunc(rest, same)
		if i < 0 {
			return nil
		}
		found := rest[i]
		rest = slices.Delete(rest, i, i+1)
		return found
	}
	was := map[*located]*located{}
	for _, b := range after {
		was[b] = take(func(a *located) bool { return a.path == b.path && a.Package == b.Package })
	}
	for _, b := range after {
		if was[b] == nil {
			was[b] = take(func(a *located) bool { return a.Name == b.Name })
		}
		pairs = append(pairs, [2]*located{was[b], b})
	}
	for _, a := range rest {
		pairs = append(pairs, [2]*located{a, nil})
	}
	return pairs
}
