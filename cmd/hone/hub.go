package main

import (
	"context"

	"github.com/hone-ml/hone/internal/hub"
)

// resolveHub asks the hub which commit a revision means now.
func resolveHub(ctx context.Context, repo, revision string) (string, error) {
	c, err := hub.New()
	if err != nil {
		return "", err
	}
	return c.Resolve(ctx, repo, revision)
}
