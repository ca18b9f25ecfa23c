// Package git reads revisions of the repository around a folder, by the git program: it knows worktrees, partial clones and whatever
// else a repository may be.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/near"
)

// Repository is a work tree of a repository.
type Repository struct {
	Root string // absolute, without links
}

// ErrNone is a folder that lies in no work tree, or a machine without git.
var ErrNone = errors.New("no git repository here")

// Open finds the work tree that dir lies in.
func Open(ctx context.Context, dir string) (*Repository, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("%w: no program git on PATH", ErrNone)
	}
	out, err := run(ctx, dir, nil, nil, "rev-parse", "--show-toplevel")
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && strings.Contains(err.Error(), "not a git repository") {
		return nil, fmt.Errorf("%w: cd to one, or begin one with git init, git add and git commit", ErrNone)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return &Repository{filepath.FromSlash(line(out))}, nil
}

// UnknownRevisionError is a revision that the repository does not have.
type UnknownRevisionError struct {
	Revision string
	Near     string // the name that was probably meant; empty where none is near
	Next     string // what to do about a repository that has less than all; empty where it has
}

func (e *UnknownRevisionError) Error() string {
	said := e.Revision + ": no such revision"
	switch {
	case e.Next != "":
		return said + "\n" + e.Next
	case e.Near != "":
		return said + " (did you mean " + e.Near + "?)"
	}
	return said + "; git branch --all and git tag list what there is"
}

// Commit is the commit that a revision names (gitrevisions(7)), in full; else an UnknownRevisionError.
func (r *Repository) Commit(ctx context.Context, revision string) (string, error) {
	out, err := run(ctx, r.Root, nil, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil && ctx.Err() == nil {
		return "", r.unknown(ctx, revision)
	}
	return line(out), err
}

// MergeBase is the commit at which two histories parted.
func (r *Repository) MergeBase(ctx context.Context, a, b string) (string, error) {
	out, err := run(ctx, r.Root, nil, nil, "merge-base", a, b)
	if err != nil && ctx.Err() == nil {
		if r.shallow(ctx) {
			return "", fmt.Errorf("%s and %s have no commit in common here\n%s", a, b, deepen)
		}
		return "", fmt.Errorf("%s and %s have no commit in common", a, b)
	}
	return line(out), err
}

// deepen is what to do about a shallow clone.
const deepen = "the clone is shallow: git fetch --unshallow gets the rest of its history"

func (r *Repository) shallow(ctx context.Context) bool {
	out, err := run(ctx, r.Root, nil, nil, "rev-parse", "--is-shallow-repository")
	return err == nil && line(out) == "true"
}

// unknown says why there is no such revision. What git does not tell is left out.
func (r *Repository) unknown(ctx context.Context, revision string) error {
	e := &UnknownRevisionError{Revision: revision}
	any, err := run(ctx, r.Root, nil, nil, "rev-list", "--all", "--max-count=1")
	switch names, _ := r.Revisions(ctx); {
	case err == nil && len(any) == 0:
		e.Next = "the repository has no commit yet: git add and git commit make the first"
	case r.shallow(ctx):
		e.Next = deepen
	default:
		e.Near = near.Name(revision, names)
		if i := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "/"+revision) }); i >= 0 {
			e.Near = names[i] // the branch of a remote
		}
	}
	return e
}

// Checkout writes the files of a commit into dir, an empty folder, as git would check them out; the repository's own index and work
// tree stay as they are. Files of Git LFS are left as the pointers that were committed: fetching them would need the network. Relative
// links out of the repository are left out, since from dir they lead to something else.
func (r *Repository) Checkout(ctx context.Context, commit, dir string) error {
	aside, err := os.MkdirTemp("", "hone-index-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if aside, err = filepath.Abs(aside); err != nil { // git runs elsewhere
		return err
	}
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(aside, "index")}
	if _, err := run(ctx, r.Root, index, nil, "read-tree", commit); err != nil {
		return err
	}
	if _, err = run(ctx, r.Root, index, nil, "-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false",
		"checkout-index", "--all", "--quiet", "--prefix="+dir+string(filepath.Separator)); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil || filepath.IsAbs(target) {
			return err
		}
		if rel, err := filepath.Rel(dir, filepath.Join(filepath.Dir(path), target)); err != nil || !filepath.IsLocal(rel) {
			return os.Remove(path)
		}
		return nil
	})
}

// Ignored is those of the paths that the repository's ignore rules leave out.
func (r *Repository) Ignored(ctx context.Context, paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	out, err := run(ctx, r.Root, nil, []byte(strings.Join(paths, "\x00")), "check-ignore", "-z", "--stdin")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // none
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ignored := strings.Split(string(out), "\x00")
	return slices.DeleteFunc(ignored, func(path string) bool { return path == "" }), nil
}

func line(out []byte) string { return strings.TrimSuffix(string(out), "\n") }

// failure is what git said before it ended as err says.
type failure struct {
	said string
	err  error
}

func (f *failure) Error() string { return f.said }
func (f *failure) Unwrap() error { return f.err }

// run is one git command in dir. The error has what git said.
func run(ctx context.Context, dir string, env []string, stdin []byte, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir, c.Env, c.Stdin = dir, append(os.Environ(), append(env, "LC_ALL=C")...), bytes.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if text := strings.TrimSpace(stderr.String()); err != nil && text != "" {
		first, _, _ := strings.Cut(text, "\n")
		return out, &failure{fmt.Sprintf("git %s: %s", args[0], strings.TrimPrefix(first, "fatal: ")), err}
	} else if err != nil {
		return out, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}
