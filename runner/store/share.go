package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// File is a file of an artifact: its path, and the name of its bytes among the objects.
type File struct {
	Path   string // relative, with slashes
	Object string
}

// partPrefix begins the names of objects in tmp that have come in half.
const partPrefix = "part-"

// partKept is how long a half object waits for the next attempt to go on with it.
const partKept = 24 * time.Hour

// OtherBytesError is an object that came in with bytes that are not those of its name.
type OtherBytesError struct{ Object string }

func (e *OtherBytesError) Error() string {
	return "objects/" + e.Object + ": its bytes are not those of its name"
}

// Manifest is the list of an artifact's files, as it is kept and as it is read.
func (s *Store) Manifest(tree string) ([]byte, []File, error) {
	b, err := os.ReadFile(s.path("objects", tree))
	if err != nil {
		return nil, nil, &Damage{Tree: tree}
	}
	files, err := ParseManifest(tree, b)
	if err != nil {
		return nil, nil, &Damage{Tree: tree}
	}
	return b, files, nil
}

// ParseManifest reads the manifest of a tree that came from elsewhere: it must have the tree's hash, be written as this package
// writes it, and lead nowhere outside the tree.
func ParseManifest(tree string, manifest []byte) ([]File, error) {
	entries, err := parse(tree, manifest)
	files := make([]File, len(entries))
	for i, e := range entries {
		files[i] = File{e.path, e.object()}
	}
	return files, err
}

func parse(tree string, manifest []byte) ([]entry, error) {
	if Sum(manifest) != tree {
		return nil, fmt.Errorf("trees/%s: its bytes are not those of its name", tree)
	}
	entries, err := decode(manifest)
	if err == nil && !bytes.Equal(encode(entries), manifest) {
		err = errors.New("its files are not listed as hone lists them")
	}
	files := map[string]bool{}
	for _, e := range entries { // sorted: a file comes before what would lie in it
		within := false
		for dir := path.Dir(e.path); dir != "."; dir = path.Dir(dir) {
			within = within || files[dir]
		}
		if err == nil && (e.path != path.Clean(e.path) || e.path == "." || files[e.path] || within) {
			err = fmt.Errorf("not a path of its own: %q", e.path)
		}
		files[e.path] = true
	}
	if err == nil && len(entries) == 0 {
		err = ErrEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("trees/%s: %w", tree, err)
	}
	return entries, nil
}

// EncodeManifest is the manifest of files and the hash of the tree that they make.
func EncodeManifest(files []File) (tree string, manifest []byte) {
	entries := make([]entry, len(files))
	for i, f := range files {
		hash, exec := strings.CutSuffix(f.Object, ".x")
		entries[i] = entry{path: f.Path, exec: exec, hash: hash}
	}
	manifest = encode(entries)
	return Sum(manifest), manifest
}

// IsObject says whether a name is one that objects have.
func IsObject(name string) bool { return IsHash(strings.TrimSuffix(name, ".x")) }

// ObjectHash is what the bytes of an object of that name hash to.
func ObjectHash(name string) string { return strings.TrimSuffix(name, ".x") }

// ObjectPath is the file of an object.
func (s *Store) ObjectPath(name string) string { return s.path("objects", name) }

// HasObject says whether an object is there with the bytes of its name, which it reads once a process.
func (s *Store) HasObject(name string) bool {
	hash, exec := strings.CutSuffix(name, ".x")
	return s.sound(s.path("objects", name), entry{path: name, exec: exec, hash: hash}) == nil
}

// Receive takes in an object of size bytes from elsewhere; from gives its bytes from an offset on. It goes on with what an earlier
// attempt left half, in this process or another. The object enters the store once its bytes are those of its name.
func (s *Store) Receive(ctx context.Context, object string, size int64, from func(offset int64) (io.ReadCloser, error)) error {
	path := s.path("tmp", partPrefix+object)
	f, err := lockedPart(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	if s.HasObject(object) { // another has brought it meanwhile
		return os.Remove(path)
	}
	resumed, err := receive(f, object, size, from)
	var other *OtherBytesError
	if errors.As(err, &other) && resumed { // what was there was no beginning of it
		_, err = receive(f, object, size, from)
	}
	if err != nil {
		return err
	}
	hash, exec := strings.CutSuffix(object, ".x")
	mode := fs.FileMode(0o444)
	if exec {
		mode = 0o555
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	id, _, _, err := lstat(path)
	if err != nil {
		return err
	}
	if err := s.adopt(path, id, entry{path: object, exec: exec, hash: hash}); err != nil {
		return err
	}
	return os.Remove(path)
}

// receive fills a half object up and hashes it. One with other bytes is left empty.
func receive(f *os.File, object string, size int64, from func(offset int64) (io.ReadCloser, error)) (resumed bool, err error) {
	h := blake3.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	have, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20))
	if err != nil {
		return false, err
	}
	empty := func() error {
		_, err := f.Seek(0, io.SeekStart)
		return errors.Join(err, f.Truncate(0))
	}
	if have > size {
		if err := empty(); err != nil {
			return false, err
		}
		h.Reset()
		have = 0
	}
	if have < size {
		body, err := from(have)
		if err != nil {
			return false, err
		}
		defer body.Close()
		got, err := io.CopyBuffer(io.MultiWriter(f, h), io.LimitReader(body, size-have), make([]byte, 1<<20))
		if err != nil {
			return false, err
		}
		if have+got < size {
			return false, fmt.Errorf("objects/%s: %w: %d of %d bytes", object, io.ErrUnexpectedEOF, have+got, size)
		}
	}
	if hex.EncodeToString(h.Sum(nil)) != ObjectHash(object) {
		return have > 0, errors.Join(&OtherBytesError{object}, empty())
	}
	return have > 0, nil
}

// lockedPart opens a half object that no other process is filling.
func lockedPart(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			mine, err := f.Stat()
			if there, gone := os.Stat(path); err == nil && gone == nil && os.SameFile(mine, there) {
				return f, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Assemble makes the tree of a manifest that came from elsewhere; its objects are there.
func (s *Store) Assemble(tree string, manifest []byte) error {
	entries, err := parse(tree, manifest)
	if err != nil {
		return err
	}
	if err := s.putBytes(tree, manifest); err != nil {
		return err
	}
	return s.link(tree, entries)
}

// Adopt commits a record that came from elsewhere; the files of its log are objects that are there. A record of its own that gave
// the same stays, with its log.
func (s *Store) Adopt(r *Record, log []File) error {
	own, err := s.Records(r.Key)
	if err != nil {
		return err
	}
	for _, o := range own {
		if s.recordDir(o) == s.recordDir(r) && reflect.DeepEqual(o.Outputs, r.Outputs) {
			return nil
		}
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "log-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, f := range log {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := s.linkObject(entry{hash: f.Object}, path); err != nil {
			return err
		}
	}
	return s.Commit(r, dir)
}

// RecordID tells the records of a key apart: by the numerics.
func (s *Store) RecordID(r *Record) string { return filepath.Base(s.recordDir(r)) }

// HashFile is the BLAKE3-256 of a file's bytes.
func HashFile(path string) (string, error) {
	hash, _, err := hashFile(path)
	return hash, err
}
