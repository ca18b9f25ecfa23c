package remote

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/hone-ml/hone/runner/store"
)

// private is what of a log stays where it was written: what a program said on standard error may be anything.
var private = []string{"stderr.txt"}

// Push sends a record with all that it promises, as far as it is missing: objects first, the record last. It says whether
// the remote had it already.
func (r *Remote) Push(ctx context.Context, rec *store.Record) (had bool, err error) {
	name := recordName(rec.Key, r.store.RecordID(rec))
	if !r.Again {
		switch _, err := r.bucket.Size(ctx, name); {
		case err == nil:
			return true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		tree := rec.Outputs[port].Hash
		manifest, files, err := r.store.Manifest(tree)
		if err != nil {
			return false, err
		}
		send := func(ctx context.Context, i int) error {
			path := r.store.ObjectPath(files[i].Object)
			if _, err := os.Lstat(path); err != nil {
				return &store.Damage{Tree: tree, Files: []string{files[i].Path}}
			}
			err := r.put(ctx, files[i].Object, path)
			var other *store.OtherBytesError
			if errors.As(err, &other) {
				return cmp.Or(r.store.Verify(tree), error(&store.Damage{Tree: tree, Files: []string{files[i].Path}})) // so that the next run sees it
			}
			return err
		}
		if err := each(ctx, len(files), transfers, send); err != nil {
			return false, err
		}
		if err := r.write(ctx, "trees/"+tree, manifest); err != nil {
			return false, err
		}
	}
	s := sent{Format: format, Record: rec}
	if s.Log, err = r.pushLog(ctx, r.store.LogDir(rec)); err != nil {
		return false, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return false, err
	}
	return false, r.write(ctx, name, b)
}

// pushLog sends what the run logged, but for what is private, and gives the hash of its tree; none where there is nothing.
func (r *Remote) pushLog(ctx context.Context, dir string) (tree string, err error) {
	var files []store.File
	var paths []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || slices.Contains(private, rel) {
			return err
		}
		hash, err := store.HashFile(path)
		files = append(files, store.File{Path: filepath.ToSlash(rel), Object: hash})
		paths = append(paths, path)
		return err
	})
	if err != nil || len(files) == 0 {
		return "", err
	}
	if err := each(ctx, len(files), transfers, func(ctx context.Context, i int) error {
		return r.put(ctx, files[i].Object, paths[i])
	}); err != nil {
		return "", err
	}
	tree, manifest := store.EncodeManifest(files)
	return tree, r.write(ctx, "trees/"+tree, manifest)
}

// put sends the file at path as an object, unless one of its size is there. Its bytes are hashed on their way: where they are
// others than its name says, the object does not come to be.
func (r *Remote) put(ctx context.Context, object, path string) error {
	r.mu.Lock()
	o, ok := r.objects[object]
	if !ok {
		o = &once[bool]{}
		r.objects[object] = o
	}
	r.mu.Unlock()
	_, err := o.do(func() (bool, error) {
		free, err := r.slot(ctx)
		if err != nil {
			return false, err
		}
		defer free()
		name := "objects/" + object
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return false, err
		}
		if !r.Again {
			switch there, err := r.bucket.Size(ctx, name); {
			case err == nil && there == info.Size():
				return false, nil
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return false, err
			}
		}
		r.total.Add(info.Size())
		in := &hashed{Reader: counted{f, r}, hash: blake3.New(), object: object}
		if info.Size() == 0 { // nobody may read it
			if _, err := in.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				return false, err
			}
		}
		if err := r.bucket.Write(ctx, name, info.Size(), in); err != nil {
			return false, err
		}
		if !in.whole {
			return false, fmt.Errorf("%s: %s: %w", r.name, name, &store.OtherBytesError{Object: object})
		}
		r.files.Add(1)
		r.tell()
		return true, r.arrived(ctx, name, info.Size())
	})
	return err
}

// arrived asks the remote for the size of what it was given.
func (r *Remote) arrived(ctx context.Context, name string, size int64) error {
	there, err := r.bucket.Size(ctx, name)
	if err == nil && there != size {
		err = fmt.Errorf("%s: %s has %d bytes there; %d were sent", r.name, name, there, size)
	}
	return err
}

func (r *Remote) write(ctx context.Context, name string, b []byte) error {
	if err := r.bucket.Write(ctx, name, int64(len(b)), readerOf(b)); err != nil {
		return err
	}
	return r.arrived(ctx, name, int64(len(b)))
}

// hashed reads a file whose end is an error where its bytes are not those of the object's name.
type hashed struct {
	io.Reader
	hash   *blake3.Hasher
	object string
	whole  bool
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	_, _ = h.hash.Write(p[:n]) // never fails
	if errors.Is(err, io.EOF) {
		if hex.EncodeToString(h.hash.Sum(nil)) != store.ObjectHash(h.object) {
			return n, &store.OtherBytesError{Object: h.object}
		}
		h.whole = true
	}
	return n, err
}
