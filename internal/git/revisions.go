package git

import (
	"context"
	"path/filepath"
	"strings"
)

// Revisions names branches, tags and remote branches, those of the newest commits first, a hundred at most.
func (r *Repository) Revisions(ctx context.Context) ([]string, error) {
	out, err := run(ctx, r.Root, nil, nil, "for-each-ref", "--format=%(refname:short)", "--sort=-committerdate", "--count=100",
		"refs/heads", "refs/tags", "refs/remotes")
	return strings.Fields(string(out)), err
}

// Tracked is the paths of a commit's files, or of the index where it is empty, from the root with slashes.
func (r *Repository) Tracked(ctx context.Context, commit string) (map[string]bool, error) {
	args := []string{"ls-files", "-z"}
	if commit != "" {
		args = []string{"ls-tree", "-r", "-z", "--name-only", "--full-tree", commit}
	}
	return r.paths(ctx, args...)
}

// Changed is the paths whose files differ between a commit and another, or the work tree where head is empty; there those count too
// that are new to git.
func (r *Repository) Changed(ctx context.Context, base, head string) (map[string]bool, error) {
	args := []string{"diff", "--name-only", "--no-renames", "-z", "--end-of-options", base}
	if head != "" {
		return r.paths(ctx, append(args, head)...)
	}
	changed, err := r.paths(ctx, args...)
	if err != nil {
		return nil, err
	}
	untracked, err := r.paths(ctx, "ls-files", "--others", "--exclude-standard", "-z")
	for path := range untracked {
		changed[path] = true
	}
	return changed, err
}

// paths is what a command prints, each ended by a NUL.
func (r *Repository) paths(ctx context.Context, args ...string) (map[string]bool, error) {
	out, err := run(ctx, r.Root, nil, nil, args...)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for path := range strings.SplitSeq(string(out), "\x00") {
		if path != "" {
			all[path] = true
		}
	}
	return all, nil
}

// Submodules is the folders in which other repositories are, of which a commit of this one is no more than a name.
func (r *Repository) Submodules(ctx context.Context) (folders []string, err error) {
	staged, err := r.paths(ctx, "ls-files", "--stage", "-z")
	for entry := range staged {
		if at, path, ok := strings.Cut(entry, "\t"); ok && strings.HasPrefix(at, "160000 ") {
			folders = append(folders, path)
		}
	}
	return folders, err
}

// Common is the folder of what all work trees of the repository share.
func (r *Repository) Common(ctx context.Context) (string, error) {
	out, err := run(ctx, r.Root, nil, nil, "rev-parse", "--path-format=absolute", "--git-common-dir")
	return filepath.FromSlash(line(out)), err
}
