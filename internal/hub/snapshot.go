package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/safetensors"
)

const (
	lockPoll = 100 * time.Millisecond
	parallel = 4 // files at once
)

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Model fetches what a model folder needs of a commit (config, tokenizer, templates and safetensors; no pickles, no
// code), and the model's card, which names its licence, and returns the snapshot's folder. Offline, and where the hub does not answer, it is what the cache has.
func (c *Client) Model(ctx context.Context, repository, commit string) (string, error) {
	dir := filepath.Join(c.folder(repository), "snapshots", commit)
	if c.Offline {
		return dir, c.cached(dir, repository, commit, "HF_HUB_OFFLINE is set")
	}
	info, err := c.info(ctx, repository, commit)
	if unreachable(ctx, err) && c.cached(dir, repository, commit, "") == nil {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	var small, weights []string
	indexed := false
	for _, s := range info.Siblings {
		switch name := s.Name; {
		case !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\\x00"):
			// Such a name would leave the cache; no model needs it.
		case name == "model.safetensors.index.json":
			indexed = true
			small = append(small, name)
		case strings.HasSuffix(name, ".safetensors") && path.Dir(name) == ".":
			weights = append(weights, name)
		case side(name):
			small = append(small, name)
		}
	}
	if err := c.Snapshot(ctx, repository, commit, small); err != nil {
		return "", err
	}
	what := fmt.Sprintf("hf://%s@%.8s", repository, commit)
	wanted := []string{"model.safetensors"}
	if indexed && !slices.Contains(weights, "model.safetensors") {
		index, err := safetensors.ReadIndex(filepath.Join(dir, "model.safetensors.index.json"))
		if err != nil {
			return "", err
		}
		wanted = index.Shards()
	}
	for _, name := range wanted {
		if !slices.Contains(weights, name) {
			return "", fmt.Errorf("%s: no %s: only models in safetensors are read, pickles never", what, name)
		}
	}
	return dir, c.Snapshot(ctx, repository, commit, wanted)
}

// side tells whether a file beside the weights belongs to a model folder.
func side(name string) bool {
	if ok, _ := path.Match("additional_chat_templates/*.jinja", name); ok {
		return true
	}
	if path.Dir(name) != "." {
		return false
	}
	switch path.Ext(name) {
	case ".json", ".jinja":
		return !strings.HasSuffix(name, ".index.json")
	}
	return name == "README.md" || name == "tokenizer.model" || name == "merges.txt" || name == "vocab.txt"
}

// cached tells whether the cache has a whole model at dir.
func (c *Client) cached(dir, repository, commit, why string) error {
	_, err := os.Stat(filepath.Join(dir, "config.json"))
	if err == nil {
		var weights *safetensors.Checkpoint
		if weights, err = safetensors.OpenDir(dir); err == nil {
			return weights.Close()
		}
	}
	return fmt.Errorf("hf://%s@%.8s: not whole in the cache %s, and %s: unset it once", repository, commit, c.Cache, why)
}

// Card is the README.md of a commit that the cache has; nil where it has none. Nothing is fetched.
func (c *Client) Card(repository, commit string) []byte {
	b, err := bounded.ReadFile(filepath.Join(c.folder(repository), "snapshots", commit, "README.md"), 16<<20)
	if err != nil {
		return nil
	}
	return b
}

// Snapshot fetches the named files of a commit, some at once. What is in the cache is not fetched again, and a
// download that broke off goes on where it stopped.
func (c *Client) Snapshot(ctx context.Context, repository, commit string, names []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir := filepath.Join(c.folder(repository), "snapshots", commit)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err == nil // a commit's files never change, and a blob is linked when it is whole
	})
	remotes := make([]*remote, len(names))
	err := c.each(len(names), func(i int) (err error) {
		remotes[i], err = c.head(ctx, repository, commit, names[i])
		return err
	}, cancel)
	if err != nil {
		return err
	}
	progress := c.meter(remotes)
	return c.each(len(names), func(i int) error {
		return c.fetch(ctx, repository, commit, remotes[i], progress)
	}, cancel)
}

// meter returns a function that adds up bytes and reports them.
func (c *Client) meter(remotes []*remote) func(int64) {
	var mu sync.Mutex
	var done, total int64
	for _, r := range remotes {
		total += max(r.size, 0)
	}
	return func(n int64) {
		if c.Progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		done += n
		c.Progress(done, total)
	}
}

// each calls f for 0 to n-1, some at once. The first failure cancels the others and is what is returned.
func (c *Client) each(n int, f func(int) error, cancel func()) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		mu.Lock()
		stop := failed != nil
		mu.Unlock()
		if stop {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(i); err != nil {
				mu.Lock()
				if failed == nil || errors.Is(failed, context.Canceled) {
					failed = err
				}
				mu.Unlock()
				cancel()
			}
		})
	}
	wg.Wait()
	return failed
}
