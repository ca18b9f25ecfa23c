package git

import (
	"context"
	"strings"
)

// Revisions names branches, tags and remote branches, those of the newest commits first, a hundred at most.
func (r *Repository) Revisions(ctx context.Context) ([]string, error) {
	out, err := run(ctx, r.Root, nil, nil, "for-each-ref", "--format=%(refname:short)", "--sort=-committerdate", "--count=100",
		"refs/heads", "refs/tags", "refs/remotes")
	return strings.Fields(string(out)), err
}
