package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path"
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
	invalid   []*broken
}

// located is a pipeline with its folder from the repository's root.
type located struct {
	*pipelines.Graph
	path string
}

// broken is a package that is no valid pipeline, with its folder from the repository's root.
type broken struct {
	path, pkg string
	errors    pipelines.Errors // placed
	embeds    bool             // #Pipeline
}

// revisions are the commits to compare; head is empty for the work tree.
func revisions(ctx context.Context, repo *git.Repository, args []string) (base, head string, err error) {
	base = args[0]
	parted := false
	if len(args) > 1 {
		if strings.Contains(base, "..") {
			return "", "", usage("%s names two revisions, and %s is a third", base, args[1])
		}
		head = args[1]
	} else if a, b, ok := strings.Cut(base, "..."); ok {
		base, head, parted = a, b, true
	} else if a, b, ok := strings.Cut(base, ".."); ok {
		base, head = a, b
	}
	// As git reads main.. and ..main, what is left out is HEAD.
	if base, err = repo.Commit(ctx, cmp.Or(base, "HEAD")); err != nil {
		return "", "", noRevision(ctx, err, args[0])
	}
	if head == "" && !strings.Contains(args[0], "..") {
		return base, "", nil
	}
	if head, err = repo.Commit(ctx, cmp.Or(head, "HEAD")); err != nil {
		return "", "", noRevision(ctx, err, args[len(args)-1])
	}
	if parted {
		if base, err = repo.MergeBase(ctx, base, head); err != nil {
			return "", "", noRevision(ctx, err, args[0])
		}
	}
	return base, head, nil
}

// noRevision is the error of an argument that names none; it may be a path.
func noRevision(ctx context.Context, err error, arg string) error {
	if _, none := os.Stat(arg); none == nil && ctx.Err() == nil {
		return usage("%w\na path stands behind --: hone diff BASE -- %s", err, word(arg))
	}
	return usageUnless(ctx, err)
}

func usageUnless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return usage("%w", err)
}

// side reads the pipelines of a commit, or of the work tree; those in and below folders of the repository alone where
// there are any. Those in same are the same as in another. What it wrote for that is removed by drop.
func (f *flags) side(ctx context.Context, repo *git.Repository, commit string, below []string, same ...*located) (s *side, drop func(), err error) {
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
	if err := f.read(ctx, repo, s, below, same); err != nil {
		drop()
		return nil, nil, err
	}
	return s, drop, nil
}

func (f *flags) read(ctx context.Context, repo *git.Repository, s *side, below []string, same []*located) error {
	opts := pipelines.Options{Tags: f.tags, Absent: true}
	for _, p := range same {
		opts.Except = append(opts.Except, filepath.Join(s.root, filepath.FromSlash(p.path)))
	}
	for _, path := range below {
		opts.Below = append(opts.Below, filepath.Join(s.root, filepath.FromSlash(path)))
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
	var out map[string]bool
	if s.commit == "" {
		var dirs []string
		for _, g := range all.Graphs {
			dirs = append(dirs, g.Dir)
		}
		for _, x := range all.Invalid {
			dirs = append(dirs, x.Dir)
		}
		if out, err = s.notUnderReview(ctx, repo, dirs); err != nil {
			return err
		}
	}
	for _, g := range all.Graphs {
		if !out[g.Dir] {
			s.pipelines = append(s.pipelines, &located{g, s.rel(g.Dir)})
		}
	}
	if err := follow(ctx, repo, s.pipelines); err != nil {
		return err
	}
	for _, x := range all.Invalid {
		if !out[x.Dir] {
			s.invalid = append(s.invalid, &broken{s.rel(x.Dir), x.Package, s.placed(x.Errors), x.Embeds})
		}
	}
	return nil
}

// notUnderReview is the folders that are not the work tree's own: what is built or copied there and ignored, and what lies in submodules.
func (s *side) notUnderReview(ctx context.Context, repo *git.Repository, dirs []string) (map[string]bool, error) {
	modules, err := repo.Submodules(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, dir := range dirs {
		out[dir] = slices.ContainsFunc(modules, func(module string) bool { return isIn(module, s.rel(dir)) })
	}
	ignored, err := repo.Ignored(ctx, slices.DeleteFunc(dirs, func(dir string) bool { return out[dir] }))
	for _, dir := range ignored {
		out[dir] = true
	}
	return out, err
}

// isIn says whether a path is a folder or lies below it, both from the repository's root.
func isIn(folder, path string) bool {
	return folder == "." || path == folder || strings.HasPrefix(path, folder+"/")
}

// errors is what is wrong with the packages in wanted folders, once where several import it.
func (s *side) errors(wanted func(path string) bool) (all pipelines.Errors) {
	for _, x := range s.invalid {
		if !wanted(x.path) {
			continue
		}
		for _, e := range x.errors {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// has says whether a pipeline, or what may be one, lies in a folder or below it.
func (s *side) has(folder string) bool {
	return slices.ContainsFunc(s.pipelines, func(p *located) bool { return isIn(folder, p.path) }) ||
		slices.ContainsFunc(s.invalid, func(x *broken) bool { return isIn(folder, x.path) })
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
		errs[i].Msg = strings.ReplaceAll(errs[i].Msg, s.root+string(filepath.Separator), "")
		if errs[i].Pos.Filename != "" {
			errs[i].Pos.Filename = s.rel(errs[i].Pos.Filename)
		}
	}
	return errs
}

// pair is a pipeline in both revisions: old and now, or was and is where it is invalid there; nil where a side does not have it.
type pair struct {
	old, now *located
	was, is  *broken
}

// paired puts the pipelines of both sides together: of one folder and package, else of one name. Those that are invalid on both sides
// or on one are among them; rest is those of before that are in no pair.
func paired(before, after *side) (pairs []pair, rest []*broken) {
	valid := slices.Clone(before.pipelines)
	rest = slices.Clone(before.invalid)
	same := func(a, b string) bool { return a == b || a == "" || b == "" } // of files without a package clause it is not known
	isAt := func(path, pkg string) func(*located) bool {
		return func(a *located) bool { return a.path == path && same(a.Package, pkg) }
	}
	brokenAt := func(path, pkg string) func(*broken) bool {
		return func(x *broken) bool { return x.path == path && same(x.pkg, pkg) }
	}
	for _, b := range after.pipelines {
		p := pair{now: b, old: take(&valid, isAt(b.path, b.Package))}
		if p.old == nil {
			p.was = take(&rest, brokenAt(b.path, b.Package))
		}
		pairs = append(pairs, p)
	}
	for _, x := range after.invalid {
		p := pair{is: x, old: take(&valid, isAt(x.path, x.pkg)), was: take(&rest, brokenAt(x.path, x.pkg))}
		if x.embeds || p.old != nil { // else it is what pipelines import
			pairs = append(pairs, p)
		}
	}
	for _, moved := range []bool{true, false} { // several may have one name: first those whose folder is called as it was
		for i := range pairs {
			if p := &pairs[i]; p.now != nil && p.old == nil && p.was == nil {
				p.old = take(&valid, func(a *located) bool {
					return a.Name == p.now.Name && (!moved || path.Base(a.path) == path.Base(p.now.path))
				})
			}
		}
	}
	for _, a := range valid {
		pairs = append(pairs, pair{old: a})
	}
	return pairs, rest
}

// take is the first that is wanted, which all then has no longer.
func take[T any](all *[]*T, wanted func(*T) bool) *T {
	i := slices.IndexFunc(*all, wanted)
	if i < 0 {
		return nil
	}
	found := (*all)[i]
	*all = slices.Delete(*all, i, i+1)
	return found
}
