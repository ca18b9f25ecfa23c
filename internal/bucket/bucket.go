// Package bucket reads and writes objects by name where several machines reach them: in a folder, or in the buckets of S3 and Google
// Cloud Storage, whose libraries are a program of their own (hone-remote): linked into hone they would double its size and its start.
//
//	hone ──HTTP/2 on a socket, its standard input──▶ hone-remote ──gocloud.dev/blob──▶ S3, GCS
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Bucket is a set of named objects. Names have slashes. One that is not there is fs.ErrNotExist.
type Bucket interface {
	// Size is that of an object in bytes.
	Size(ctx context.Context, name string) (int64, error)
	// Read gives the bytes of an object from an offset on, and the size of the whole.
	Read(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error)
	// Write makes an object of size bytes, or replaces it. It is there whole or not at all; an error of r leaves none.
	Write(ctx context.Context, name string, size int64, r io.Reader) error
	// List calls each for every object whose name begins so, in no order.
	List(ctx context.Context, prefix string, each func(name string, size int64) error) error
	Close() error
}

// URLError is a remote's URL that cannot be one (exit code 2).
type URLError struct{ URL, Why string }

func (e *URLError) Error() string { return e.URL + ": " + e.Why }

const forms = "s3://BUCKET/PREFIX?region=…, gs://BUCKET/PREFIX, or a folder: file:///DIR, /DIR, ./DIR"

// Open opens what a URL names: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///DIR or the path of a folder. With make a folder that is not
// there is made.
func Open(ctx context.Context, at string, make bool) (Bucket, error) {
	scheme, rest, ok := strings.Cut(at, "://")
	switch {
	case at == "":
		return nil, &URLError{`""`, "no remote named: " + forms}
	case !ok:
		return openFolder(at, make)
	case scheme == "file":
		dir, err := url.PathUnescape(rest)
		if err != nil || !filepath.IsAbs(dir) {
			return nil, &URLError{at, "a folder's URL is file:///DIR"}
		}
		return openFolder(dir, make)
	case scheme == "s3", scheme == "gs":
		u, err := url.Parse(at)
		if err != nil {
			return nil, &URLError{Shown(at), "not a URL; one is " + forms}
		}
		if u.Host == "" {
			return nil, &URLError{at, "no bucket: " + scheme + "://BUCKET/PREFIX"}
		}
		if u.User != nil || u.Port() != "" {
			return nil, &URLError{Shown(at), "only the bucket's name stands before the prefix; credentials come from the environment (docs/remote.md)"}
		}
		if strings.Contains("/"+u.Path+"/", "/../") {
			return nil, &URLError{at, "a prefix without .."}
		}
		return start(ctx, at)
	}
	return nil, &URLError{Shown(at), "no such kind of remote: " + forms}
}

// Shown is a URL for people: without what stands in a query, and without what should not have stood there.
func Shown(at string) string {
	scheme, rest, ok := strings.Cut(at, "://")
	if !ok {
		return at
	}
	rest, _, _ = strings.Cut(rest, "?")
	host, path, slash := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + "://" + host + path
}

// folder is a Bucket in a folder of a disk, which several machines may share.
type folder struct{ dir string }

func openFolder(dir string, make bool) (Bucket, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	switch {
	case err == nil && !info.IsDir():
		return nil, &URLError{dir, "not a folder"}
	case errors.Is(err, os.ErrNotExist) && !make:
		return nil, &URLError{dir, "no such folder; a remote is " + forms}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(abs, "hone-store")); err == nil {
		return nil, &URLError{dir, "a store, not a remote: --store names it"}
	}
	if make {
		if err := os.MkdirAll(abs, 0o777); err != nil {
			return nil, err
		}
	}
	return folder{abs}, nil
}

func (f folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }
func (f folder) Close() error            { return nil }

func (f folder) Size(_ context.Context, name string) (int64, error) {
	info, err := os.Stat(f.path(name))
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: not a file", f.path(name))
	}
	return info.Size(), nil
}

func (f folder) Read(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	size, err := f.Size(ctx, name) // before opening: a named pipe never opens
	if err != nil {
		return nil, 0, err
	}
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, 0, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{cancelled{ctx, file}, file}, size, nil
}

// Write writes beside the objects first, in tmp, and renames once the bytes are on the disk. What a killed writer left there is nobody's.
func (f folder) Write(ctx context.Context, name string, size int64, r io.Reader) (err error) {
	path, tmp := f.path(name), f.path("tmp")
	for _, dir := range []string{tmp, filepath.Dir(path)} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	out, err := os.CreateTemp(tmp, "push-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	n, err := io.Copy(out, cancelled{ctx, r})
	if err == nil && n != size {
		err = fmt.Errorf("%s: %d bytes instead of %d", name, n, size)
	}
	if err == nil {
		err = errors.Join(out.Chmod(0o644), out.Sync())
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}

func (f folder) List(ctx context.Context, prefix string, each func(string, int64) error) error {
	root := f.path(prefix[:strings.LastIndexByte(prefix, '/')+1])
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(f.dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(filepath.ToSlash(rel), prefix) {
			return nil //nolint:nilerr // gone meanwhile
		}
		return each(filepath.ToSlash(rel), info.Size())
	})
}

// cancelled reads until ctx ends.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
