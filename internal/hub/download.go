package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// remote is a file of a commit as the hub describes it.
type remote struct {
	name    string
	etag    string // names the blob
	size    int64  // -1 where the hub does not say
	lfs     bool   // etag is the content's SHA-256
	address string // on the hub; a redirect from there is signed and soon expires
}

var etags = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// head asks for a file's description: the hub answers itself, or names another host for a large file.
func (c *Client) head(ctx context.Context, repository, commit, name string) (*remote, error) {
	what := fmt.Sprintf("hf://%s@%.8s: %s", repository, commit, name)
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	address := c.Endpoint + "/" + repository + "/resolve/" + commit + "/" + strings.Join(parts, "/")
	var r *remote
	err := c.retry(ctx, func() error {
		response, err := c.send(ctx, http.MethodHead, address, repository, nil, true)
		if err != nil {
			return err
		}
		response.Body.Close()
		if err := c.check(response, repository, what, 200, 301, 302, 303, 307, 308); err != nil {
			return err
		}
		if r, err = describe(response, name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		r.address = address
		if got := response.Header.Get("X-Repo-Commit"); got != "" && got != commit {
			return fmt.Errorf("%s: the hub answers for commit %s", what, got)
		}
		return nil
	})
	return r, err
}

func describe(response *http.Response, name string) (*remote, error) {
	r := &remote{name: name, size: -1}
	linked := response.Header.Get("X-Linked-Etag")
	r.etag = strings.Trim(strings.TrimPrefix(first(linked, response.Header.Get("ETag")), "W/"), `"`)
	if len(r.etag) > 128 || !etags.MatchString(r.etag) || strings.Trim(r.etag, ".") == "" {
		return nil, fmt.Errorf("the hub gives no usable ETag (%q)", r.etag)
	}
	_, err := hex.DecodeString(r.etag)
	r.lfs = linked != "" && len(r.etag) == 64 && err == nil
	size := response.Header.Get("X-Linked-Size")
	if size == "" && response.StatusCode == http.StatusOK {
		size = response.Header.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		r.size = n
	}
	return r, nil
}

// fetch brings the blob of a file into the cache and links it into the snapshot. add is told the bytes as they come;
// what is there already counts at once.
func (c *Client) fetch(ctx context.Context, repository, commit string, r *remote, add func(int64)) error {
	folder := c.folder(repository)
	blob := filepath.Join(folder, "blobs", r.etag)
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	unlock, err := c.lock(ctx, repository, r.etag)
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := os.Stat(blob); err == nil && (r.size < 0 || info.Size() == r.size) {
		add(info.Size())
		return link(folder, commit, r.name, r.etag)
	}
	what := fmt.Sprintf("hf://%s@%.8s: %s", repository, commit, r.name)
	partial := blob + ".incomplete"
	err = c.retry(ctx, func() error { return c.download(ctx, repository, what, r, partial, add) })
	if err != nil {
		return err
	}
	if err := verify(partial, r, what); err != nil {
		os.Remove(partial) // bytes that are wrong must not be built upon
		return err
	}
	if err := os.Rename(partial, blob); err != nil {
		return err
	}
	return link(folder, commit, r.name, r.etag)
}

// download appends to the partial file what it lacks.
func (c *Client) download(ctx context.Context, repository, what string, r *remote, partial string, add func(int64)) error {
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if r.size >= 0 && have > r.size {
		have = 0
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	if have > 0 && have == r.size {
		add(have)
		return nil
	}
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	// A connection that gives nothing for a while is dropped, and tried again.
	request, drop := context.WithCancel(ctx)
	defer drop()
	idle := time.AfterFunc(maxIdle, drop)
	defer idle.Stop()
	response, err := c.send(request, http.MethodGet, r.address, repository, header, false)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		response.Body.Close()
		return errors.Join(f.Truncate(0), &networkError{response.Request.URL.Host, errors.New("cannot go on from where it stopped")})
	}
	if err := c.check(response, repository, what, http.StatusOK, http.StatusPartialContent); err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK && have > 0 {
		have = 0 // the server does not resume: it sends the whole file
		if err := f.Truncate(0); err != nil {
			return err
		}
	} else if have > 0 && !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
		return fmt.Errorf("%s: the server resumes at %q, not at byte %d", what, response.Header.Get("Content-Range"), have)
	}
	add(have)
	limit := int64(1) << 62
	if r.size >= 0 {
		limit = r.size - have + 1 // one more, to notice a file that is too long
	}
	n, err := io.Copy(f, io.LimitReader(&counting{response.Body, add, idle}, limit))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !isDisk(err):
		add(-have - n)
		return &networkError{response.Request.URL.Host, err}
	case err != nil:
		return err
	case r.size >= 0 && have+n < r.size:
		add(-have - n)
		return &networkError{response.Request.URL.Host, io.ErrUnexpectedEOF}
	}
	return nil
}

// isDisk tells a failure to write from one to read.
func isDisk(err error) bool {
	var p *os.PathError
	return errors.As(err, &p)
}

// maxIdle is how long a connection may give nothing.
const maxIdle = 2 * time.Minute

type counting struct {
	r    io.Reader
	add  func(int64)
	idle *time.Timer
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.idle.Reset(maxIdle)
	c.add(int64(n))
	return n, err
}

// verify checks a download against what the hub said that it is.
func verify(path string, r *remote, what string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if r.size >= 0 && info.Size() != r.size {
		return fmt.Errorf("%s: %d bytes came, the hub says %d", what, info.Size(), r.size)
	}
	if !r.lfs {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != strings.ToLower(r.etag) {
		return fmt.Errorf("%s: SHA-256 %s, the hub says %s: the download is damaged, run again", what, got, r.etag)
	}
	return nil
}

// link makes snapshots/COMMIT/NAME a link to the blob, relative, as huggingface_hub makes it.
func link(folder, commit, name, etag string) error {
	path := filepath.Join(folder, "snapshots", commit, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(path), filepath.Join(folder, "blobs", etag))
	if err != nil {
		return err
	}
	if have, err := os.Readlink(path); err == nil && have == target {
		return nil
	}
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	os.Remove(tmp)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// lock keeps two processes from fetching one blob, in the file that huggingface_hub locks for it.
func (c *Client) lock(ctx context.Context, repository, etag string) (func(), error) {
	path := filepath.Join(c.Cache, ".locks", filepath.Base(c.folder(repository)), etag+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		if err := sleep(ctx, lockPoll); err != nil {
			f.Close()
			return nil, err
		}
	}
	return func() { f.Close() }, nil
}
