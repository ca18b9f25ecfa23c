// Package hub fetches models from the Hugging Face hub, or a server that speaks its protocol, into the hub's own cache.
//
//	repository  org/name on the hub, a git repository with a web API
//	revision    a branch, tag or commit of it; a commit is 40 hex digits and never changes
//	blob        a file's content, named by its ETag: SHA-256 for large files (LFS), the git id for small ones
//	snapshot    the files of one commit, as links to blobs
//	cache       models--org--name/{blobs,refs,snapshots}, shared with huggingface_hub and all that is built on it
//
// The environment is read as huggingface_hub reads it: HF_ENDPOINT, HF_TOKEN or the token that `hf auth login` left,
// HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE. The token goes to the endpoint's host alone, never to where it redirects,
// and never into a message.
package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/atomicfile"
)

// Client is access to one hub and one cache. Its fields may be changed before the first call.
type Client struct {
	Endpoint string        // scheme and host, https://huggingface.co by default
	Cache    string        // folder, shared by processes
	Offline  bool          // use what the cache has and nothing else
	Wait     time.Duration // before the first of the retries; each waits twice as long
	Retries  int

	// Progress, if any, is told the bytes done of all that are fetched by a call. Calls do not overlap.
	Progress func(done, total int64)

	token string
	http  *http.Client
}

// New returns a client for the environment.
func New() (*Client, error) {
	home, err := cacheHome()
	if err != nil {
		return nil, err
	}
	c := &Client{
		Endpoint: strings.TrimRight(first(os.Getenv("HF_ENDPOINT"), "https://huggingface.co"), "/"),
		Cache:    first(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub")),
		Offline:  truth(os.Getenv("HF_HUB_OFFLINE")) || truth(os.Getenv("TRANSFORMERS_OFFLINE")),
		Wait:     time.Second,
		Retries:  4,
		token:    token(home),
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
				TLSHandshakeTimeout:   30 * time.Second,
				ResponseHeaderTimeout: time.Minute,
				MaxIdleConnsPerHost:   8,
				ForceAttemptHTTP2:     true,
			},
			// Every redirect is looked at: a token must not follow one to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("HF_ENDPOINT: %q is not a URL", c.Endpoint)
	}
	return c, nil
}

func cacheHome() (string, error) {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("hub cache: %w: set HF_HOME", err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

func token(home string) string {
	if t := first(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")); t != "" {
		return strings.TrimSpace(t)
	}
	if truth(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return ""
	}
	b, err := os.ReadFile(first(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func truth(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

var (
	repositories = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?$`)
	commits      = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Parse splits hf://org/name[@revision]. The revision is main where none is given.
func Parse(source string) (repository, revision string, err error) {
	name, ok := strings.CutPrefix(source, "hf://")
	if !ok {
		return "", "", fmt.Errorf("%s: does not begin with hf://", source)
	}
	repository, revision, ok = strings.Cut(name, "@")
	if !ok {
		revision = "main"
	}
	long := func(part string) bool { return len(part) > 96 }
	if !repositories.MatchString(repository) || slices.ContainsFunc(strings.Split(repository, "/"), long) || strings.Contains(repository, "--") || strings.Contains(repository, "..") {
		return "", "", fmt.Errorf("%s: want hf://org/name or hf://org/name@revision", source)
	}
	if revision == "" || len(revision) > 255 || strings.Contains(revision, "..") || strings.ContainsAny(revision, "\\ \x00?#") || strings.HasPrefix(revision, "/") {
		return "", "", fmt.Errorf("%s: %q is not a revision", source, revision)
	}
	return repository, revision, nil
}

// IsCommit tells whether a revision is a commit, which needs no resolving.
func IsCommit(revision string) bool { return commits.MatchString(revision) }

// Resolve returns the commit that a revision is now. Offline, and where the hub does not answer, it is what the cache
// saw last.
func (c *Client) Resolve(ctx context.Context, repository, revision string) (string, error) {
	if IsCommit(revision) {
		return revision, nil
	}
	ref := filepath.Join(c.folder(repository), "refs", filepath.FromSlash(revision))
	if !c.Offline {
		info, err := c.info(ctx, repository, revision)
		if err == nil {
			return info.SHA, writeFile(ref, info.SHA)
		}
		if !unreachable(ctx, err) {
			return "", err
		}
		if b, readErr := os.ReadFile(ref); readErr == nil && IsCommit(string(b)) {
			return string(b), nil
		}
		return "", err
	}
	b, err := os.ReadFile(ref)
	if err != nil || !IsCommit(strings.TrimSpace(string(b))) {
		return "", fmt.Errorf("hf://%s@%s: not in the cache %s, and HF_HUB_OFFLINE is set: unset it once", repository, revision, c.Cache)
	}
	return strings.TrimSpace(string(b)), nil
}

// Cached is the folder of a commit where the cache has the tokenizer and configuration of it, whatever it has of the weights.
func (c *Client) Cached(repository, commit string) (string, bool) {
	dir := filepath.Join(c.folder(repository), "snapshots", commit)
	for _, name := range []string{"config.json", "tokenizer.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", false
		}
	}
	return dir, true
}

func (c *Client) folder(repository string) string {
	return filepath.Join(c.Cache, "models--"+strings.ReplaceAll(repository, "/", "--"))
}

// writeFile writes a small file of the cache, whose folder it makes.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(text), 0o644)
}
